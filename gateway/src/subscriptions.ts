import { CloseCode } from '@rookery/wire/close-codes.ts';
import { DocumentCache } from '@rookery/wire/graphql-operation.ts';
import {
  closeSockets,
  forwardingSocketOptions,
  MAX_MESSAGE_BYTES,
  SOCKET_PING_MS,
  type SocketOperation,
} from '@rookery/wire/graphql-socket.ts';
import { bearerToken, refuseUpgrade } from '@rookery/wire/http.ts';
import type { Logger } from '@rookery/wire/log.ts';
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
  readonly log: Logger;
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
export function createSubscriptions({
  federation,
  sessions,
  isAllowedOrigin,
  log,
}: SubscriptionsOptions): Subscriptions {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES });
  const run = (args: ExecutionArgs, { extra }: SocketOperation) => {
    const { document, operationName, variableValues } = args;
    const operationType = getOperationAST(document, operationName)?.operation ?? 'query';
    const context = (extra as Extra).context ?? { caller: {} };
    return federation.execute({ document, operationName, operationType, variables: variableValues ?? {} }, context);
  };
  const admit = (id: string, extra: unknown): readonly GraphQLError[] => {
    const open = ((extra as Extra).open ??= new Set());
    if (open.size >= OPERATIONS_PER_SOCKET) return [tooMany()];
    open.add(id);
    return [];
  };
  const forwarding = forwardingSocketOptions(new DocumentCache(federation.schema), log, run, admit);
  useServer(
    {
      ...(forwarding as object),
      // Errors of ours stay out of close reasons.
      isProd: true,
      // A socket is for who is signed in; everyone else has HTTP.
      onConnect: async (socket) => {
        const extra = socket.extra as unknown as Extra;
        const given = (socket.connectionParams as { authorization?: unknown } | undefined)?.authorization;
        const token = typeof given === 'string' ? bearerToken(given) : undefined;
        extra.context = token === undefined ? sessions.contextOf(extra.request) : { caller: { token } };
        const signedIn = await sessions.isSignedIn(extra.context);
        if (signedIn === 'no') extra.socket.close(CloseCode.Unauthorized, 'sign in first');
        // Control or its database is away: that must not sign anybody out.
        if (signedIn === 'unknown') extra.socket.close(CloseCode.TryAgainLater, 'try again later');
        return signedIn === 'yes';
      },
      onComplete: (socket, id) => {
        (socket.extra as unknown as Extra).open?.delete(id);
      },
    },
    sockets,
    SOCKET_PING_MS,
  );
  return {
    upgrade(request, socket, head) {
      if (!isAllowedOrigin(request)) return refuseUpgrade(socket, 403);
      sockets.handleUpgrade(request, socket, head, (ws) => sockets.emit('connection', ws, request));
    },
    [Symbol.asyncDispose]: () => closeSockets(sockets, CloseCode.ServiceRestart, 'the gateway restarts'),
  };
}

function tooMany(): GraphQLError {
  return new GraphQLError(`At most ${OPERATIONS_PER_SOCKET} operations may be open on one socket.`, {
    extensions: { code: 'RATE_LIMITED' },
  });
}
