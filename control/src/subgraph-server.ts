import { CloseCode } from '@rookery/wire/close-codes.ts';
import { GATEWAY_SECRET_HEADER, subgraphPath } from '@rookery/wire/endpoints.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import {
  DocumentCache,
  prepareOperation,
  publicError,
  resultStatus,
  type OperationRequest,
} from '@rookery/wire/graphql-operation.ts';
import { MAX_MESSAGE_BYTES, SOCKET_PING_MS } from '@rookery/wire/graphql-socket.ts';
import { listen, readJsonBody, sendJson, type ListeningServer } from '@rookery/wire/http.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { secretsEqual } from '@rookery/wire/secrets.ts';
import type { ExecutionArgs, FormattedExecutionResult } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { WebSocketServer } from 'ws';
import { executeOnSubgraph, type Subgraph } from './kernel/subgraph.ts';
import type { Viewer } from './kernel/viewer.ts';

export interface SubgraphServerDeps {
  readonly host: string;
  readonly port: number;
  /** Only a caller that knows it is answered. */
  readonly gatewaySecret: string;
  readonly subgraphs: readonly Subgraph[];
  readonly viewer: (token: string | undefined) => Promise<Viewer | null>;
  readonly log: Logger;
}

/**
 * Serves the subgraphs to gateways (split mode): queries and mutations over HTTP, subscriptions over
 * graphql-ws. Who asks comes with each operation, as the viewer's own signed token in `extensions`:
 * a socket is shared by many viewers and must carry no identity.
 */
export async function startSubgraphServer(deps: SubgraphServerDeps): Promise<ListeningServer> {
  const { log, gatewaySecret } = deps;
  const served = new Map(
    deps.subgraphs.map((subgraph) => [
      subgraphPath(subgraph.name),
      { subgraph, documents: new DocumentCache(subgraph.schema) },
    ]),
  );
  const allowed = (request: IncomingMessage): boolean => {
    const given = request.headers[GATEWAY_SECRET_HEADER];
    return typeof given === 'string' && secretsEqual(given, gatewaySecret);
  };

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url === '/healthz') return sendJson(response, 200, { status: 'ok' });
    const target = served.get(request.url ?? '');
    if (!target) return sendJson(response, 404, { error: 'not found' });
    if (!allowed(request))
      return sendJson(response, 403, {
        errors: [{ message: 'Only a gateway is answered here.', extensions: { code: 'FORBIDDEN' } }],
      });
    const result = await answer(target, (await readJsonBody(request)) as OperationRequest);
    sendJson(response, resultStatus(result), result);
  }

  async function answer(
    { subgraph, documents }: { subgraph: Subgraph; documents: DocumentCache },
    operation: OperationRequest,
  ): Promise<FormattedExecutionResult> {
    const args = prepareOperation(documents, operation);
    if (!('document' in args)) return { errors: args.map((error) => publicError(error, log)) };
    return (await execute(subgraph, args, operation)) as FormattedExecutionResult;
  }

  function execute(subgraph: Subgraph, args: ExecutionArgs, operation: OperationRequest) {
    const { document, variableValues, operationName } = args;
    const token = viewerToken(operation);
    return executeOnSubgraph(
      subgraph,
      { document, variables: variableValues ?? {}, operationName: operationName ?? undefined },
      () => deps.viewer(token),
      log,
    );
  }

  const listening = await listen(
    (request, response) => {
      handle(request, response).catch((error: unknown) => {
        const code = error instanceof RookeryError ? error.code : 'INTERNAL';
        if (code === 'INTERNAL') log.error({ err: error }, 'a subgraph request failed');
        sendJson(response, code === 'INTERNAL' ? 500 : 400, {
          errors: [
            {
              message: error instanceof RookeryError ? error.message : 'Something went wrong on our side.',
              extensions: { code },
            },
          ],
        });
      });
    },
    deps.port,
    deps.host,
    'gateways',
    'ROOKERY_SUBGRAPH_PORT',
  );

  const servers = [...served].map(([path, { subgraph, documents }]) => {
    const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES });
    const operations = new WeakMap<ExecutionArgs, OperationRequest>();
    const run = (args: ExecutionArgs) => execute(subgraph, args, operations.get(args) ?? {}) as never;
    const disposable = useServer(
      {
        onSubscribe: (_socket, _id, payload) => {
          const args = prepareOperation(documents, payload);
          if (!('document' in args)) return args;
          operations.set(args, payload);
          return args;
        },
        execute: run,
        subscribe: run,
      },
      sockets,
      SOCKET_PING_MS,
    );
    return { path, sockets, disposable };
  });
  listening.server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    const target = servers.find(({ path }) => path === request.url);
    if (!target || !allowed(request)) {
      socket.end(
        `HTTP/1.1 ${target ? '403 Forbidden' : '404 Not Found'}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`,
      );
      return;
    }
    target.sockets.handleUpgrade(request, socket, head, (ws) => target.sockets.emit('connection', ws, request));
  });

  return {
    ...listening,
    async [Symbol.asyncDispose]() {
      for (const { sockets, disposable } of servers) {
        for (const client of sockets.clients) client.close(CloseCode.ServiceRestart, 'control restarts');
        await disposable.dispose();
      }
      await listening[Symbol.asyncDispose]();
    },
  };
}

function viewerToken({ extensions }: OperationRequest): string | undefined {
  const token = (extensions as { viewerToken?: unknown } | null | undefined)?.viewerToken;
  return typeof token === 'string' ? token : undefined;
}
