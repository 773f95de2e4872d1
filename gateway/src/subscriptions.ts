import type { Caller } from '@rookery/wire/caller.ts';
import { CloseCode } from '@rookery/wire/close-codes.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import {
  closeSockets,
  forwardingSocketOptions,
  SOCKET_PING_MS,
  type ForwardedResult,
  type PreparedOperation,
  type SocketOperation,
} from '@rookery/wire/graphql-socket.ts';
import { refuseUpgrade } from '@rookery/wire/http.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { getOperationAST, GraphQLError, type ExecutionArgs, type FormattedExecutionResult } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { refuseInternalHeaders, type Callers } from './callers.ts';
import type { Federation } from './federation.ts';
import type { LimitSettings } from './limits/limits.config.ts';
import type { OperationLimits } from './limits/limits.ts';
import { OpenCounts, type RequestRates } from './limits/rates.ts';
import { closeSignedOut, ViewerSockets, type SignedInCheck } from './viewer-sockets.ts';

export interface SubscriptionsOptions {
  readonly federation: Federation;
  readonly callers: Callers;
  readonly isSignedIn: SignedInCheck;
  readonly limits: OperationLimits;
  readonly rates: RequestRates;
  readonly settings: LimitSettings;
  /** Whether a browser page of this origin may connect. */
  readonly isAllowedOrigin: (request: IncomingMessage) => boolean;
  readonly log: Logger;
}

/** The public API over WebSocket. */
export interface Subscriptions extends AsyncDisposable {
  readonly sockets: ViewerSockets;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

interface Extra {
  readonly socket: WebSocket;
  readonly request: IncomingMessage;
  caller?: Caller;
  /** Operations that are under way. */
  running?: number;
}

/** Serves queries, mutations and subscriptions over `graphql-transport-ws` with the gateway's executor. */
export function createSubscriptions(options: SubscriptionsOptions): Subscriptions {
  const { federation, callers, isSignedIn, limits, rates, settings, isAllowedOrigin, log } = options;
  const server = new WebSocketServer({ noServer: true, maxPayload: settings.ROOKERY_MAX_BODY_BYTES });
  const viewers = new ViewerSockets(isSignedIn, settings.ROOKERY_SOCKETS_PER_VIEWER);
  const addresses = new OpenCounts(settings.ROOKERY_SOCKETS_PER_ADDRESS);
  const maxRunning = settings.ROOKERY_OPERATIONS_PER_SOCKET;

  async function prepare({ request, extra: untyped }: SocketOperation): Promise<PreparedOperation> {
    const extra = untyped as Extra;
    const running = extra.running ?? 0;
    if (running >= maxRunning) return [limited(`At most ${maxRunning} operations may be open on one socket.`)];
    // Its place is taken before anything is awaited.
    extra.running = running + 1;
    let args: PreparedOperation | undefined;
    try {
      await rates.count(extra.caller ?? {});
      args = limits.admit(request);
      return args;
    } catch (error) {
      if (error instanceof RookeryError) return [new GraphQLError(error.message, { extensions: error.extensions })];
      throw error;
    } finally {
      if (!args || !('document' in args)) finished(extra);
    }
  }

  async function run(args: ExecutionArgs, { extra: untyped }: SocketOperation): Promise<ForwardedResult> {
    const extra = untyped as Extra;
    const caller = extra.caller ?? {};
    const { document, operationName, variableValues } = args;
    const operationType = getOperationAST(document, operationName)?.operation ?? 'query';
    let result: ForwardedResult | undefined;
    try {
      result = await federation.execute(
        { document, operationName, operationType, variables: variableValues ?? {} },
        { caller },
      );
    } finally {
      if (!result || !(Symbol.asyncIterator in result)) finished(extra);
    }
    if (!(Symbol.asyncIterator in result)) {
      if (isUnauthenticated(result)) void viewers.recheck(caller);
      return result;
    }
    const streamEnded = viewers.streamOpened(caller);
    return watched(result, (byItself) => {
      streamEnded();
      finished(extra);
      // Control ends streams when rights change, and a session that has ended is the greatest change.
      if (byItself) void viewers.recheck(caller);
    });
  }

  useServer(
    {
      ...(forwardingSocketOptions(prepare, log, run) as object),
      // Errors of ours stay out of close reasons.
      isProd: true,
      // A socket is for who is signed in; everyone else has HTTP.
      onConnect: async (socket) => {
        const extra = socket.extra as unknown as Extra;
        const caller = callers.ofSocket(extra.request, socket.connectionParams);
        extra.caller = caller;
        const signedIn = await admit(caller);
        if (signedIn === 'no') closeSignedOut(extra.socket, caller);
        // Control or its database is away, say: that must not sign anybody out.
        if (signedIn === 'unknown') extra.socket.close(CloseCode.TryAgainLater, 'try again later');
        if (signedIn !== 'yes') return false;
        if (viewers.add(caller, extra.socket)) return true;
        extra.socket.close(CloseCode.TryAgainLater, 'too many sockets');
        return false;
      },
    },
    server,
    SOCKET_PING_MS,
  );

  async function admit(caller: Caller): Promise<'yes' | 'no' | 'unknown'> {
    try {
      await rates.count(caller);
    } catch (error) {
      if (error instanceof RookeryError) return 'unknown';
      throw error;
    }
    return isSignedIn(caller);
  }

  return {
    sockets: viewers,
    upgrade(request, socket, head) {
      if (!isAllowedOrigin(request)) return refuseUpgrade(socket, 403);
      try {
        refuseInternalHeaders(request);
      } catch {
        return refuseUpgrade(socket, 400);
      }
      const address = callers.origin(request).address ?? 'unknown';
      if (!addresses.take(address)) return refuseUpgrade(socket, 429);
      socket.once('close', () => addresses.release(address));
      server.handleUpgrade(request, socket, head, (ws) => server.emit('connection', ws, request));
    },
    async [Symbol.asyncDispose]() {
      viewers[Symbol.dispose]();
      await closeSockets(server, CloseCode.ServiceRestart, 'the gateway restarts');
    },
  };
}

function finished(extra: Extra): void {
  extra.running = (extra.running ?? 1) - 1;
}

const isUnauthenticated = ({ errors }: FormattedExecutionResult): boolean =>
  errors?.some(({ extensions }) => extensions?.['code'] === 'UNAUTHENTICATED') ?? false;

const limited = (message: string): GraphQLError => new GraphQLError(message, { extensions: { code: 'RATE_LIMITED' } });

/** Tells once when a stream is over, and whether it ended by itself or because its reader left. */
function watched<T>(source: AsyncIterableIterator<T>, onEnd: (byItself: boolean) => void): AsyncIterableIterator<T> {
  let over = false;
  const end = (byItself: boolean): void => {
    if (over) return;
    over = true;
    onEnd(byItself);
  };
  return {
    async next() {
      try {
        const step = await source.next();
        if (step.done) end(true);
        return step;
      } catch (error) {
        end(true);
        throw error;
      }
    },
    async return(value) {
      end(false);
      return (await source.return?.(value)) ?? { done: true, value };
    },
    async throw(error) {
      end(false);
      await source.return?.();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
