import { createClient, type Client } from 'graphql-ws';
import { WebSocket } from 'ws';

/** How long an expected event may take, in ms. */
const EVENT_DEADLINE_MS = 20_000;

interface Answer<T> {
  readonly data?: T | null;
  readonly errors?: readonly { message: string; extensions?: Record<string, unknown> }[];
}

const SIGN_IN = `mutation ($input: SignInInput!) {
  signIn(input: $input) { __typename ... on SignedIn { token viewer { isAdmin } } ... on UserError { message } }
}`;

/** A GraphQL client of the public API, as an automation would write it. */
export class Api implements AsyncDisposable {
  readonly #url: string;
  /** What it signs its requests with. */
  readonly token: string | undefined;
  readonly #headers: Readonly<Record<string, string>>;
  #socket: Client | undefined;

  /**
   * @param token   sent as a bearer token.
   * @param headers sent with every request, and as parameters of the socket's connection.
   */
  constructor(url: string, token?: string, headers: Readonly<Record<string, string>> = {}) {
    this.#url = `${url}/graphql`;
    this.token = token;
    this.#headers = token === undefined ? headers : { authorization: `Bearer ${token}`, ...headers };
  }

  /** For a story that speaks to the API by means of its own. */
  get socketUrl(): string {
    return this.#url.replace(/^http/, 'ws');
  }

  get authorization(): string {
    return `Bearer ${this.token}`;
  }

  static async signIn(url: string, email: string, password: string): Promise<Api> {
    const { signIn } = await new Api(url).request<{
      signIn: { __typename: 'SignedIn'; token: string } | { __typename: 'InvalidCredentials'; message: string };
    }>(SIGN_IN, { input: { email, password } });
    if (signIn.__typename !== 'SignedIn') throw new Error(`signing in failed: ${signIn.message}`);
    return new Api(url, signIn.token);
  }

  /** @throws when the answer has errors. */
  async request<T>(query: string, variables: object = {}): Promise<T> {
    const { data, errors } = await this.ask<T>(query, variables);
    if (errors || !data) throw new Error(`the API answered with errors: ${JSON.stringify(errors)}`);
    return data;
  }

  /** The answer as it is. */
  async ask<T>(query: string, variables: object = {}): Promise<Answer<T>> {
    const response = await fetch(this.#url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...this.#headers,
      },
      body: JSON.stringify({ query, variables }),
    });
    return (await response.json()) as Answer<T>;
  }

  /** Collects the events of a subscription with one root field. */
  subscribe<T>(query: string, variables: Record<string, unknown> = {}): EventStream<T> {
    this.#socket ??= createClient({
      url: this.#url.replace(/^http/, 'ws'),
      webSocketImpl: WebSocket,
      connectionParams: { ...this.#headers },
      // A connection that breaks is the story's to notice.
      retryAttempts: 0,
    });
    return new EventStream<T>(this.#socket, query, variables);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.resolve(this.#socket?.dispose()).catch(() => {});
  }
}

/** What one subscription has delivered, in order. */
export class EventStream<T> {
  readonly events: T[] = [];
  /** Resolves when the stream is over: with why, or with undefined when it was completed. */
  readonly ended: Promise<unknown>;
  readonly close: () => void;
  #onChange: (() => void)[] = [];

  constructor(client: Client, query: string, variables: Record<string, unknown>) {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    this.ended = promise;
    this.close = client.subscribe<Record<string, T>>(
      { query, variables },
      {
        next: ({ data, errors }) => {
          if (errors || !data) return resolve(errors);
          this.events.push(Object.values(data)[0] as T);
          for (const listener of this.#onChange) listener();
        },
        error: resolve,
        complete: () => resolve(undefined),
      },
    );
  }

  /**
   * The first event, past or to come, that fits.
   *
   * @throws when the stream ends before, or when none comes in time.
   */
  async waitFor(what: string, predicate: (event: T) => boolean, timeoutMs = EVENT_DEADLINE_MS): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const fail = (why: string): void =>
      reject(new Error(`no event "${what}": ${why}; heard so far: ${JSON.stringify(this.events)}`));
    const look = (): void => {
      const found = this.events.find(predicate);
      if (found) resolve(found);
    };
    const deadline = setTimeout(() => fail(`none in ${timeoutMs} ms`), timeoutMs);
    this.#onChange.push(look);
    look();
    void this.ended.then((why) => fail(`the stream ended (${JSON.stringify(why)})`));
    try {
      return await promise;
    } finally {
      clearTimeout(deadline);
      this.#onChange = this.#onChange.filter((listener) => listener !== look);
    }
  }
}
