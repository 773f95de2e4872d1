import { parseCaller, type Caller } from '@rookery/wire/caller.ts';
import { CloseCode } from '@rookery/wire/close-codes.ts';
import { GATEWAY_SECRET_HEADER, subgraphPath } from '@rookery/wire/endpoints.ts';
import { ERROR_STATUS, RookeryError } from '@rookery/wire/errors.ts';
import {
  DocumentCache,
  prepareOperation,
  publicError,
  resultStatus,
  type OperationRequest,
} from '@rookery/wire/graphql-operation.ts';
import {
  closeSockets,
  forwardingSocketOptions,
  MAX_MESSAGE_BYTES,
  SOCKET_PING_MS,
} from '@rookery/wire/graphql-socket.ts';
import { listen, readJsonBody, refuseUpgrade, sendJson, type ListeningServer } from '@rookery/wire/http.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { secretsEqual } from '@rookery/wire/secrets.ts';
import { SendWindow, windowed, type WindowExtensions } from '@rookery/wire/stream-window.ts';
import type { ExecutionArgs, FormattedExecutionResult } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { executeOnSubgraph, type Subgraph } from './kernel/subgraph.ts';
import type { Viewer } from './kernel/viewer.ts';

export interface SubgraphServerDeps {
  readonly host: string;
  readonly port: number;
  /** Only a caller that knows it is answered. */
  readonly gatewaySecret: string;
  readonly subgraphs: readonly Subgraph[];
  readonly identify: (caller: Caller) => Promise<Viewer | null>;
  readonly isReady: () => Promise<boolean>;
  /** What other control processes ask for on this port, which is as private. */
  readonly peers: { readonly path: string; upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void };
  readonly log: Logger;
}

/**
 * Serves the subgraphs to gateways (split mode): queries and mutations over HTTP, subscriptions over
 * graphql-ws. Who asks comes with each operation, with their own credentials, in `extensions`:
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
    if (request.url === '/readyz') {
      const ready = await deps.isReady();
      return sendJson(response, ready ? 200 : 503, { status: ready ? 'ready' : 'database unreachable' });
    }
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
    return executeOnSubgraph(
      subgraph,
      { document, variables: variableValues ?? {}, operationName: operationName ?? undefined },
      parseCaller((operation.extensions as { caller?: unknown } | null | undefined)?.caller),
      deps.identify,
      log,
    );
  }

  const listening = await listen(
    (request, response) => {
      handle(request, response).catch((error: unknown) => {
        if (!(error instanceof RookeryError)) log.warn({ err: error }, 'a subgraph request could not be answered');
        const known = error instanceof RookeryError ? error : UNANSWERED;
        sendJson(response, ERROR_STATUS[known.code], {
          errors: [{ message: known.message, extensions: known.extensions }],
        });
      });
    },
    deps.port,
    deps.host,
    'gateways',
    'ROOKERY_SUBGRAPH_PORT',
  );

  const streams = new WindowedStreams();
  const servers = [...served].map(([path, { subgraph, documents }]) => {
    const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES });
    const forwarding = forwardingSocketOptions(
      ({ request }) => prepareOperation(documents, request),
      log,
      (args, { request }) => streams.run(request, () => execute(subgraph, args, request)),
    );
    useServer({ ...(forwarding as object), isProd: true }, sockets, SOCKET_PING_MS);
    return { path, sockets };
  });
  listening.server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    if (request.url?.startsWith(deps.peers.path)) return deps.peers.upgrade(request, socket, head);
    const target = servers.find(({ path }) => path === request.url);
    if (!target) return refuseUpgrade(socket, 404);
    if (!allowed(request)) return refuseUpgrade(socket, 403);
    target.sockets.handleUpgrade(request, socket, head, (ws) => target.sockets.emit('connection', ws, request));
  });

  return {
    ...listening,
    async [Symbol.asyncDispose]() {
      await Promise.all(
        servers.map(({ sockets }) => closeSockets(sockets, CloseCode.ServiceRestart, 'control restarts')),
      );
      await listening[Symbol.asyncDispose]();
    },
  };
}

type SubgraphResult = Awaited<ReturnType<typeof executeOnSubgraph>>;

/** Largest window that a gateway is granted, in messages. */
const MAX_WINDOW_MESSAGES = 1_024;

/**
 * The streams that gateways read with a window. A gateway takes everything that its socket brings,
 * whoever of its viewers reads slowly: it is control that has to stop.
 */
class WindowedStreams {
  readonly #windows = new Map<string, SendWindow>();

  async run({ extensions }: OperationRequest, execute: () => Promise<SubgraphResult>): Promise<SubgraphResult> {
    const { window, acknowledged } = (extensions ?? {}) as WindowExtensions;
    if (acknowledged) this.#windows.get(acknowledged.stream)?.acknowledge(acknowledged.messages);
    const result = await execute();
    if (!window || !(Symbol.asyncIterator in result)) return result;
    const { stream, messages } = window;
    const credit = new SendWindow(Math.min(messages, MAX_WINDOW_MESSAGES));
    this.#windows.set(stream, credit);
    return windowed(
      result,
      credit,
      () => 1,
      () => this.#windows.delete(stream),
    );
  }
}

/** The database is away, say: nothing is known of the viewer, and nothing was done. */
const UNANSWERED = new RookeryError('UNAVAILABLE', 'The control plane cannot answer at the moment.');
