import type { ExecutionArgs, GraphQLError } from 'graphql';
import type { ServerOptions } from 'graphql-ws';
import { prepareOperation, publicError, type DocumentCache, type OperationRequest } from './graphql-operation.ts';
import type { Logger } from './log.ts';

/** Largest WebSocket message taken, in bytes (the `ws` default is 100 MiB). */
export const MAX_MESSAGE_BYTES = 2 * 1024 * 1024;

/** How often the server pings, in ms; a peer that misses one is cut. */
export const SOCKET_PING_MS = 15_000;

/** How long a client may take to send `connection_init`, in ms. */
const CONNECTION_INIT_WAIT_MS = 5_000;

/**
 * The part of every `graphql-ws` server's options that must not be forgotten: bad documents are
 * answered on their own operation instead of closing the socket, documents are parsed once, errors
 * are masked (`formatError` does not run on this path) and the first message has a deadline.
 *
 * @param context what resolvers get for one operation.
 */
export function guardedSocketOptions(
  documents: DocumentCache,
  log: Logger,
  context: (
    operation: OperationRequest,
    socket: { connectionParams: unknown; extra: unknown },
  ) => object | readonly GraphQLError[] | Promise<object | readonly GraphQLError[]>,
): Pick<
  ServerOptions<Record<string, unknown>, never>,
  'onSubscribe' | 'onError' | 'onNext' | 'connectionInitWaitTimeout'
> {
  return {
    connectionInitWaitTimeout: CONNECTION_INIT_WAIT_MS,
    async onSubscribe(socket, _id, payload): Promise<ExecutionArgs | readonly GraphQLError[]> {
      const args = prepareOperation(documents, payload);
      if (!('document' in args)) return args;
      const contextValue = await context(payload, { connectionParams: socket.connectionParams, extra: socket.extra });
      if (Array.isArray(contextValue)) return contextValue as readonly GraphQLError[];
      return { ...args, contextValue };
    },
    onError: (_socket, _id, _payload, errors) => errors.map((error) => publicError(error, log)),
    onNext(_socket, _id, _payload, _args, result) {
      if (!result.errors) return undefined;
      return { ...result, errors: result.errors.map((error) => publicError(error, log)) } as never;
    },
  };
}
