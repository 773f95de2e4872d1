import type { Control } from '@rookery/control/app.ts';
import { createGateway, type Gateway } from '@rookery/gateway/app.ts';
import { gatewayConfigSchema } from '@rookery/gateway/config.ts';
import type { SubgraphRequest } from '@rookery/gateway/transports/transport.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { createClient, type Client } from 'graphql-ws';
import { WebSocket } from 'ws';

/** A gateway in this process, in front of a control in this process. */
export interface TestGateway extends Gateway {
  /** What control was asked, in order. */
  readonly asked: SubgraphRequest[];
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  /** The answer to a GraphQL request over HTTP. */
  ask(query: string, variables?: object, headers?: Record<string, string>): Promise<Answer>;
}

export interface Answer {
  readonly status: number;
  readonly data?: Record<string, unknown> | null;
  readonly errors?: readonly { readonly message: string; readonly extensions: Record<string, unknown> }[];
}

/** @param settings by environment variable, as an operator writes them. */
export async function startTestGateway(
  control: Control,
  settings: Readonly<Record<string, string>> = {},
): Promise<TestGateway> {
  const asked: SubgraphRequest[] = [];
  const gateway = await createGateway({
    config: gatewayConfigSchema.parse({ ROOKERY_PORT: '0', ...settings }),
    transport: {
      execute: (subgraph, request) => {
        asked.push(request);
        const { document, variables, operationName, caller } = request;
        return control.execute(subgraph, { document, variables, operationName }, caller);
      },
      isReady: () => control.isReady(),
      [Symbol.asyncDispose]: async () => {},
    },
    log: silentLogger(),
  });
  const post: TestGateway['post'] = (path, body, headers = {}) =>
    fetch(`${gateway.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      redirect: 'manual',
    });
  return {
    ...gateway,
    asked,
    post,
    async ask(query, variables = {}, headers = {}) {
      const response = await post('/graphql', { query, variables }, headers);
      return { status: response.status, ...((await response.json()) as object) };
    },
    [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose](),
  };
}

/** A WebSocket client as automations and browsers use it. */
export class TestSocket implements AsyncDisposable {
  readonly #client: Client;
  /** Resolves with the code when the socket closes. */
  readonly closed: Promise<number>;

  constructor(
    { url }: Pick<Gateway, 'url'>,
    connectionParams: Record<string, unknown> = {},
    headers: Record<string, string> = {},
  ) {
    const { promise, resolve } = Promise.withResolvers<number>();
    this.closed = promise;
    this.#client = createClient({
      url: `${url.replace(/^http/, 'ws')}/graphql`,
      webSocketImpl: class extends WebSocket {
        constructor(target: string, protocols: string) {
          super(target, protocols, { headers });
        }
      },
      connectionParams,
      lazy: false,
      retryAttempts: 0,
      onNonLazyError: () => {},
      on: { closed: (event) => resolve((event as { code: number }).code) },
    });
  }

  /** The first answer to an operation. */
  async ask(query: string, variables: Record<string, unknown> = {}): Promise<Omit<Answer, 'status'>> {
    return new Promise((resolve, reject) => {
      this.#client.subscribe<Record<string, unknown>>(
        { query, variables },
        {
          next: (result) => resolve(result as never),
          error: (error) => (Array.isArray(error) ? resolve({ errors: error as never }) : reject(error as Error)),
          complete: () => resolve({}),
        },
      );
    });
  }

  /** Opens a subscription; tells when it is over. */
  open(query: string): { readonly ended: Promise<unknown> } {
    const { promise: ended, resolve } = Promise.withResolvers<unknown>();
    this.#client.subscribe({ query }, { next: () => {}, error: resolve, complete: () => resolve(undefined) });
    return { ended };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.resolve(this.#client.dispose()).catch(() => {});
  }
}

/** HTTP status with which an upgrade to a WebSocket is answered; 101 when it is granted. */
export async function upgradeStatus(url: string, headers: Record<string, string> = {}): Promise<number> {
  const socket = new WebSocket(url.replace(/^http/, 'ws'), 'graphql-transport-ws', { headers });
  return new Promise((resolve, reject) => {
    socket.once('open', () => {
      socket.close();
      resolve(101);
    });
    socket.once('unexpected-response', (request, response) => {
      request.destroy();
      resolve(response.statusCode ?? 0);
    });
    socket.on('error', reject);
  });
}
