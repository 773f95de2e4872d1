import { CloseCode } from '@rookery/wire/close-codes.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import { publicError, type OperationRequest } from '@rookery/wire/graphql-operation.ts';
import { closeSockets, MAX_MESSAGE_BYTES, SOCKET_PING_MS } from '@rookery/wire/graphql-socket.ts';
import { bearerToken, refuseUpgrade } from '@rookery/wire/http.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { endWith, PushIterator } from '@rookery/wire/push-iterator.ts';
import {
  buildSchema,
  getOperationAST,
  GraphQLError,
  parse,
  type ExecutionArgs,
  type ExecutionResult,
  type FormattedExecutionResult,
} from 'graphql';
import type { Client } from 'graphql-ws';
import { useServer } from 'graphql-ws/use/ws';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { isUuid } from '../../kernel/global-id.ts';
import type { SigningKeys } from '../../kernel/signing-keys.ts';
import type { HostClientPool } from './host-client-pool.ts';

/** Where a replica reaches the tunnels that another one holds; a host's id follows. */
export const PEER_PATH = '/peers/tunnels/';

/** The tokens by which replicas know each other: signed with the key that they share in the database, for one of them. */
export const PEER_TOKEN = { type: 'rookery-peer+jwt', audience: (replicaId: string) => `rookery-replica:${replicaId}` };

export interface PeerServerDeps {
  readonly replicaId: string;
  readonly keys: SigningKeys;
  readonly pool: HostClientPool;
  readonly log: Logger;
}

/**
 * Lets the other replicas use the tunnels that this process holds.
 *
 * On a peer's socket this process is what the agent is on its tunnel: a graphql-ws server of the
 * agent's private schema. Operations are handed on as they are, and results as they come; how much of
 * a stream is under way is between its two ends (see the credits of `wire/src/stream-window.ts`).
 */
export class PeerServer implements AsyncDisposable {
  readonly #deps: PeerServerDeps;
  readonly #sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES });
  /** The tunnel behind a peer's socket. */
  readonly #tunnels = new WeakMap<WebSocket, Client>();
  readonly #usersOf = new WeakMap<WebSocket, Set<WebSocket>>();

  constructor(deps: PeerServerDeps) {
    this.#deps = deps;
    this.#serve();
  }

  /** Takes over an upgrade request for {@link PEER_PATH}. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#accept(request, socket, head).catch((err: unknown) => {
      this.#deps.log.warn({ err }, 'a replica could not be let in');
      refuseUpgrade(socket, 503);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeSockets(this.#sockets, CloseCode.ServiceRestart, 'control restarts');
  }

  async #accept(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { replicaId, keys, pool } = this.#deps;
    const token = bearerToken(request.headers.authorization);
    const peer = token && (await keys.verify('HOST', PEER_TOKEN.type, PEER_TOKEN.audience(replicaId), token));
    if (!peer) return refuseUpgrade(socket, 401);
    const hostId = request.url?.slice(PEER_PATH.length) ?? '';
    const tunnel = isUuid(hostId) ? await pool.heldSoon(hostId) : undefined;
    if (!tunnel) return refuseUpgrade(socket, 404);
    this.#sockets.handleUpgrade(request, socket, head, (peerSocket) => {
      this.#users(tunnel.socket).add(peerSocket);
      peerSocket.once('close', () => this.#users(tunnel.socket).delete(peerSocket));
      this.#tunnels.set(peerSocket, tunnel.client);
      this.#sockets.emit('connection', peerSocket, request);
    });
  }

  /** The peers' sockets that use a tunnel; cut with it, so that their peers look for the next one. */
  #users(tunnel: WebSocket): Set<WebSocket> {
    const known = this.#usersOf.get(tunnel);
    if (known) return known;
    const users = new Set<WebSocket>();
    this.#usersOf.set(tunnel, users);
    tunnel.once('close', () => {
      for (const user of users) user.close(CloseCode.ServiceRestart, 'the tunnel is closed');
    });
    return users;
  }

  #serve(): void {
    const { log } = this.#deps;
    // graphql-ws wants a schema; operations are validated by the agent, whose schema it is.
    const schema = buildSchema('type Query { ignored: Boolean }');
    const operations = new WeakMap<ExecutionArgs, { payload: OperationRequest; tunnel: Client }>();
    const forward = (args: ExecutionArgs): unknown => {
      const { payload, tunnel } = operations.get(args) as { payload: OperationRequest; tunnel: Client };
      const isStream = getOperationAST(args.document, args.operationName)?.operation === 'subscription';
      return isStream ? relayed(tunnel, payload) : firstOf(relayed(tunnel, payload));
    };
    useServer(
      {
        isProd: true,
        onSubscribe: (context: { extra: unknown }, _id: string, payload: OperationRequest) => {
          const tunnel = this.#tunnels.get((context.extra as { socket: WebSocket }).socket);
          if (!tunnel || typeof payload.query !== 'string') return [new GraphQLError('There is no such tunnel.')];
          const operationName = (payload.operationName as string | null | undefined) ?? null;
          const args: ExecutionArgs = { schema, document: parse(payload.query), operationName };
          operations.set(args, { payload, tunnel });
          return args;
        },
        execute: forward,
        subscribe: forward,
        onError: (_context: unknown, _id: string, _payload: unknown, errors: readonly GraphQLError[]) =>
          errors.map((error) => publicError(error, log)),
      } as never,
      this.#sockets,
      SOCKET_PING_MS,
    );
  }
}

/** The results of an operation through a tunnel, as they come. A tunnel that breaks is a last result. */
function relayed(tunnel: Client, { query, variables, operationName }: OperationRequest) {
  let unsubscribe = (): void => {};
  const results = new PushIterator<ExecutionResult>(() => unsubscribe());
  unsubscribe = tunnel.subscribe<Record<string, unknown>>(
    {
      query: query as string,
      variables: variables as Record<string, unknown>,
      operationName: operationName as string | null,
    },
    {
      next: (result) => results.push(withGraphQLErrors(result as FormattedExecutionResult)),
      error: (error) => {
        if (!Array.isArray(error)) return results.close(error);
        results.push(withGraphQLErrors({ errors: error } as FormattedExecutionResult));
        results.close();
      },
      complete: () => results.close(),
    },
  );
  return endWith<ExecutionResult>(results, broken);
}

async function firstOf(results: AsyncIterableIterator<ExecutionResult>): Promise<ExecutionResult> {
  const { value, done } = await results.next();
  void results.return?.();
  return done ? broken(undefined) : (value as ExecutionResult);
}

function broken(cause: unknown): ExecutionResult {
  const originalError = new RookeryError('UNAVAILABLE', 'The host’s connection broke before it answered.', { cause });
  return { errors: [new GraphQLError(originalError.message, { originalError, extensions: originalError.extensions })] };
}

function withGraphQLErrors({ errors, ...rest }: FormattedExecutionResult): ExecutionResult {
  if (!errors) return rest as ExecutionResult;
  return {
    ...rest,
    errors: errors.map(({ message, extensions }) => new GraphQLError(message, { extensions: extensions ?? null })),
  } as ExecutionResult;
}
