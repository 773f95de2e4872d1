import { CloseCode } from '@rookery/wire/close-codes.ts';
import { DocumentCache, prepareOperation } from '@rookery/wire/graphql-operation.ts';
import { MAX_MESSAGE_BYTES, SOCKET_PING_MS } from '@rookery/wire/graphql-socket.ts';
import { bearerToken } from '@rookery/wire/http.ts';
import { getOperationAST, GraphQLError, type ExecutionArgs } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Federation, GatewayContext } from './federation.ts';
import type { Sessions } from './sessions.ts';

/** Operations that one socket may have open at once. */
const OPERATIONS_PER_SOCKET = 100;

export interface SubscriptionsOptions {
  readonly federation: Federation;
  readonly sessions: Sessions;
  /** Whether a browser page of this origin may connect. */
  readonly isAllowedOrigin: (request: IncomingMessage) => boolean;
}

/** The public API over WebSocket. */
export interface Subscriptions extends AsyncDisposable {
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

interface Extra {
  readonly socket: WebSocket;
  readonly request: IncomingMessage;
  context?: GatewayContext;
  open?: Set<string>;
}

/** Serves queries, mutations and subscriptions over `graphql-transport-ws` with the gateway's executor. */
export function createSubscriptions({ federation, sessions, isAllowedOrigin }: SubscriptionsOptions): Subscriptions {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES });
  const documents = new DocumentCache(federation.schema);
  const run = (args: ExecutionArgs) => {
    const operationType = getOperationAST(args.document, args.operationName)?.operation ?? 'query';
    const { document, operationName, variableValues } = args;
    return federation.execute(
      { document, operationName, operationType, variables: variableValues ?? {} },
      args.contextValue as GatewayContext,
    ) as never;
  };
  const disposable = useServer(
    {
      connectionInitWaitTimeout: 5_000,
      // A socket is for who is signed in; everyone else has HTTP.
      onConnect: async (socket) => {
        const extra = socket.extra as unknown as Extra;
        const given = (socket.connectionParams as { authorization?: unknown } | undefined)?.authorization;
        const token = typeof given === 'string' ? bearerToken(given) : undefined;
        extra.context = token === undefined ? sessions.contextOf(extra.request) : { token };
        if (!(await sessions.isSignedIn(extra.context))) extra.socket.close(CloseCode.Unauthorized, 'sign in first');
      },
      // Never throws for what a client sent: that would close the socket for all its operations.
      onSubscribe: (socket, id, payload) => {
        const extra = socket.extra as unknown as Extra;
        const open = (extra.open ??= new Set());
        if (open.size >= OPERATIONS_PER_SOCKET) return [tooMany()];
        const args = prepareOperation(documents, payload);
        if (!('document' in args)) return args;
        open.add(id);
        return { ...args, contextValue: extra.context };
      },
      onComplete: (socket, id) => {
        (socket.extra as unknown as Extra).open?.delete(id);
      },
      execute: run,
      subscribe: run,
    },
    sockets,
    SOCKET_PING_MS,
  );
  return {
    upgrade(request, socket, head) {
      if (!isAllowedOrigin(request)) {
        socket.end('HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
        return;
      }
      sockets.handleUpgrade(request, socket, head, (ws) => sockets.emit('connection', ws, request));
    },
    async [Symbol.asyncDispose]() {
      for (const client of sockets.clients) client.close(CloseCode.ServiceRestart, 'the gateway restarts');
      await disposable.dispose();
    },
  };
}

function tooMany(): GraphQLError {
  return new GraphQLError(`At most ${OPERATIONS_PER_SOCKET} operations may be open on one socket.`, {
    extensions: { code: 'RATE_LIMITED' },
  });
}
