import {
  GraphQLError,
  type ExecutionArgs,
  type ExecutionResult,
  type FormattedExecutionResult,
  type GraphQLFormattedError,
} from 'graphql';
import type { ServerOptions } from 'graphql-ws';
import type { WebSocketServer } from 'ws';
import { RookeryError } from './errors.ts';
import { prepareOperation, publicError, type DocumentCache, type OperationRequest } from './graphql-operation.ts';
import type { Logger } from './log.ts';
import { endWith, mapIterator } from './push-iterator.ts';

/** Largest WebSocket message taken, in bytes (the `ws` default is 100 MiB). */
export const MAX_MESSAGE_BYTES = 2 * 1024 * 1024;

/** How often the server pings, in ms; a peer that misses one is cut. */
export const SOCKET_PING_MS = 15_000;

/** How long a client may take to send `connection_init`, in ms. */
const CONNECTION_INIT_WAIT_MS = 5_000;

/** How long peers may take to answer a close before they are cut, in ms. A sleeping laptop never does. */
const CLOSE_DEADLINE_MS = 1_000;

/** One operation on one socket. */
export interface SocketOperation {
  readonly request: OperationRequest;
  readonly connectionParams: unknown;
  /** What `useServer` keeps with the socket: the socket, its upgrade request and what `onConnect` added. */
  readonly extra: unknown;
}

type Guarded = Pick<
  ServerOptions<Record<string, unknown>, never>,
  'onSubscribe' | 'onError' | 'onNext' | 'connectionInitWaitTimeout'
>;

/**
 * The options of a `graphql-ws` server over a schema of its own that must not be forgotten: bad
 * documents are answered on their own operation instead of closing the socket, documents are parsed
 * once, errors are masked (`formatError` does not run on this path) and the first message has a deadline.
 *
 * @param context what resolvers get for one operation, or the errors to answer it with.
 */
export function guardedSocketOptions(
  documents: DocumentCache,
  log: Logger,
  context: (operation: SocketOperation) => object | readonly GraphQLError[] | Promise<object | readonly GraphQLError[]>,
): Guarded {
  return {
    connectionInitWaitTimeout: CONNECTION_INIT_WAIT_MS,
    async onSubscribe(socket, _id, payload): Promise<ExecutionArgs | readonly GraphQLError[]> {
      const args = prepareOperation(documents, payload);
      if (!('document' in args)) return args;
      const contextValue = await context({
        request: payload,
        connectionParams: socket.connectionParams,
        extra: socket.extra,
      });
      if (Array.isArray(contextValue)) return contextValue as readonly GraphQLError[];
      return { ...args, contextValue };
    },
    onError: (_socket, _id, _payload, errors) => socketErrors(errors, log),
    onNext(_socket, _id, _payload, _args, result) {
      if (!result.errors) return undefined;
      return { ...result, errors: result.errors.map((error) => publicError(error, log)) } as never;
    },
  };
}

/** What is to be executed, or the errors to answer with. */
export type PreparedOperation = ExecutionArgs | readonly GraphQLError[];

/** What an executor that is not graphql-js answers with: formatted already. */
export type ForwardedResult = FormattedExecutionResult | AsyncIterableIterator<FormattedExecutionResult>;

/**
 * The same guard for a server that hands operations on to an executor elsewhere. Whatever that does,
 * one operation's failure stays with that operation: a throw, and a plain error object where
 * `graphql-ws` expects a `GraphQLError`, would close the socket for all of them.
 *
 * @param prepare turns a request into what is to be executed, or into the errors to answer with. Must not throw.
 * @param run     called once for each operation that was prepared.
 */
export function forwardingSocketOptions(
  prepare: (operation: SocketOperation) => PreparedOperation | Promise<PreparedOperation>,
  log: Logger,
  run: (args: ExecutionArgs, operation: SocketOperation) => Promise<ForwardedResult>,
): Pick<
  ServerOptions<Record<string, unknown>, never>,
  'onSubscribe' | 'onError' | 'execute' | 'subscribe' | 'connectionInitWaitTimeout'
> {
  const operations = new WeakMap<ExecutionArgs, SocketOperation>();
  const forward = async (args: ExecutionArgs): Promise<ExecutionResult | AsyncIterableIterator<ExecutionResult>> => {
    try {
      const result = await run(args, operations.get(args) as SocketOperation);
      if (!(Symbol.asyncIterator in result)) return withGraphQLErrors(result);
      return endWith(mapIterator(result, withGraphQLErrors), (error) => failed(error, log));
    } catch (error) {
      return failed(error, log);
    }
  };
  return {
    connectionInitWaitTimeout: CONNECTION_INIT_WAIT_MS,
    async onSubscribe(socket, _id, payload) {
      const { connectionParams, extra } = socket;
      const operation = { request: payload, connectionParams, extra };
      const args = await prepare(operation);
      if ('document' in args) operations.set(args, operation);
      return args;
    },
    onError: (_socket, _id, _payload, errors) => socketErrors(errors, log),
    execute: forward as never,
    subscribe: forward as never,
  };
}

/** Closes all sockets of a server: politely, and after a moment for good. */
export async function closeSockets(server: WebSocketServer, code: number, reason: string): Promise<void> {
  for (const client of server.clients) client.close(code, reason);
  const deadline = setTimeout(() => {
    for (const client of server.clients) client.terminate();
  }, CLOSE_DEADLINE_MS);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  clearTimeout(deadline);
}

/** Masked errors. That the peer has gone in the middle of a stream is no incident of ours. */
function socketErrors(errors: readonly GraphQLError[], log: Logger): readonly GraphQLFormattedError[] {
  return errors.map((error) =>
    (error.originalError as NodeJS.ErrnoException | null)?.syscall === 'write'
      ? { message: 'The connection broke.', extensions: { code: 'UNAVAILABLE' } }
      : publicError(error, log),
  );
}

function withGraphQLErrors(result: FormattedExecutionResult): ExecutionResult {
  if (!result.errors) return result as ExecutionResult;
  return {
    ...result,
    errors: result.errors.map(
      ({ message, path, extensions }) =>
        new GraphQLError(message, { path: path ?? null, extensions: extensions ?? null }),
    ),
  };
}

function failed(error: unknown, log: Logger): ExecutionResult {
  if (!(error instanceof RookeryError)) log.warn({ err: error }, 'an operation could not be executed');
  const known =
    error instanceof RookeryError ? error : new RookeryError('UNAVAILABLE', 'The server cannot answer at the moment.');
  return { errors: [new GraphQLError(known.message, { extensions: { ...known.extensions } })] };
}
