import { StartupError } from '@rookery/wire/errors.ts';
import { Backoff } from '../backoff.ts';

/** How long the API may take to answer, in ms. */
const ANSWER_TIMEOUT_MS = 30_000;

/** Longest wait between two attempts, in ms. */
const RETRY_CAP_MS = 10_000;

/** How often a call is tried when the control plane is busy or away. */
const ATTEMPTS = 12;

/** Codes of an answer after which the same call may succeed later. */
const PASSING = new Set(['RATE_LIMITED', 'UNAVAILABLE']);

interface Answer<T> {
  readonly data?: T | null;
  readonly errors?: readonly { readonly message: string; readonly extensions?: { readonly code?: string } }[];
}

/** A failure that a mutation's result names by its type. */
export interface UserError {
  readonly __typename: string;
  readonly message?: string;
}

/** The public GraphQL API, as any automation would use it. */
export class PublicApi {
  readonly #endpoint: string;
  readonly #token: string;
  readonly #signal: AbortSignal;

  /** @param url of the gateway. */
  constructor(url: string, token: string, signal: AbortSignal) {
    this.#endpoint = `${url}/graphql`;
    this.#token = token;
    this.#signal = signal;
  }

  /**
   * Runs one operation; waits and tries again while the control plane is busy or away.
   *
   * @throws {StartupError} in one sentence.
   */
  async run<T>(query: string, variables: object = {}): Promise<T> {
    const backoff = new Backoff(RETRY_CAP_MS);
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#post<T>(JSON.stringify({ query, variables }));
      const [error] = answer.errors ?? [];
      if (!error && answer.data) return answer.data;
      const code = error?.extensions?.code ?? '';
      if (!PASSING.has(code) || attempt === ATTEMPTS || this.#signal.aborted) {
        const hint = code === 'UNAUTHENTICATED' ? '; is the token valid?' : '';
        throw new StartupError(`The API at ${this.#endpoint} refused: ${error?.message ?? 'no answer'}${hint}`);
      }
      await backoff.wait(this.#signal);
    }
  }

  async #post<T>(body: string): Promise<Answer<T>> {
    try {
      const response = await fetch(this.#endpoint, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${this.#token}` },
        body,
        // A redirect would carry the token to wherever it points.
        redirect: 'manual',
        signal: AbortSignal.any([this.#signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]),
      });
      const answer: unknown = await response.json().catch(() => undefined);
      if (typeof answer === 'object' && answer !== null) return answer as Answer<T>;
      return failure('UNAVAILABLE', `HTTP ${response.status} without GraphQL`);
    } catch (error) {
      const { cause } = error as { cause?: { code?: string } };
      return failure('UNAVAILABLE', `no connection (${cause?.code ?? (error as Error).name})`);
    }
  }
}

const failure = (code: string, message: string): Answer<never> => ({ errors: [{ message, extensions: { code } }] });

/** Runs work on many things, some of them at a time, in order. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (const item of queue) await work(item);
    }),
  );
}
