import { ClientSocket } from '@rookery/wire/client-socket.ts';
import { GATEWAY_SECRET_HEADER, subgraphPath } from '@rookery/wire/endpoints.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import { mapIterator, PushIterator } from '@rookery/wire/push-iterator.ts';
import { ReceiveWindow, type WindowExtensions } from '@rookery/wire/stream-window.ts';
import { print, type DocumentNode, type FormattedExecutionResult } from 'graphql';
import { createClient, type Client } from 'graphql-ws';
import { randomUUID } from 'node:crypto';
import type { SubgraphRequest, SubgraphResponse, SubgraphTransport } from './transport.ts';

/** How long control may take for a query or mutation, in ms. Above the longest command (240 s) plus a sandbox's start. */
const REQUEST_TIMEOUT_MS = 280_000;

/** How often a quiet connection to control is tried, in ms, and how long control may take to answer. */
const PING_MS = 10_000;
const PONG_MS = 5_000;

/**
 * Messages of one stream that may be under way from control without a viewer having taken them. The
 * connection is shared, so it cannot be held back for one that reads slowly; its stream is instead.
 */
const STREAM_WINDOW_MESSAGES = 32;

/** How long control may take to say that it is there, in ms. */
const READY_TIMEOUT_MS = 2_000;

/**
 * Reaches control over the network: HTTP for queries and mutations, one graphql-ws connection per
 * subgraph for all subscriptions. The caller's credentials travel with each operation, never with the
 * connection, which many viewers share.
 *
 * @param controlUrl where control serves the subgraphs.
 * @param secret     by which control knows a gateway.
 */
export function networkTransport(controlUrl: string, secret: string): SubgraphTransport {
  const base = controlUrl.replace(/\/+$/, '');
  const headers = { [GATEWAY_SECRET_HEADER]: secret };
  const clients = new Map<string, Client>();

  const clientOf = (subgraph: string): Client => {
    const known = clients.get(subgraph);
    if (known) return known;
    class GatewaySocket extends ClientSocket {
      constructor(url: string, protocols: string) {
        super(url, protocols, { headers });
      }
    }
    let pong: NodeJS.Timeout | undefined;
    const client: Client = createClient({
      url: `${base.replace(/^http/, 'ws')}${subgraphPath(subgraph)}`,
      webSocketImpl: GatewaySocket,
      // A stream is not resubscribed here: it would silently lose what happened in between. Its
      // browser comes back with its cursor instead.
      retryAttempts: 0,
      keepAlive: PING_MS,
      connectionAckWaitTimeout: PONG_MS,
      on: {
        // A link that is dead without saying so would leave every browser "live" and silent.
        ping: (received) => {
          if (!received) pong = setTimeout(() => client.terminate(), PONG_MS);
        },
        pong: (received) => {
          if (received) clearTimeout(pong);
        },
        closed: () => clearTimeout(pong),
      },
    });
    clients.set(subgraph, client);
    return client;
  };

  return {
    execute: (subgraph, request) =>
      request.operationType === 'subscription'
        ? Promise.resolve(subscribe(clientOf(subgraph), request))
        : post(`${base}${subgraphPath(subgraph)}`, headers, request),
    async isReady() {
      try {
        return (await fetch(`${base}/readyz`, { signal: AbortSignal.timeout(READY_TIMEOUT_MS) })).ok;
      } catch {
        return false;
      }
    },
    async [Symbol.asyncDispose]() {
      // Rejects when it comes while a client is connecting; nobody waits for that.
      await Promise.allSettled([...clients.values()].map(async (client) => client.dispose()));
    },
  };
}

async function post(url: string, headers: Record<string, string>, request: SubgraphRequest): Promise<SubgraphResponse> {
  let response: Response;
  try {
    response = await fetch(url, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify(toMessage(request)),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    return (await response.json()) as FormattedExecutionResult;
  } catch (cause) {
    throw new RookeryError('UNAVAILABLE', 'The control plane cannot be reached at the moment.', { cause });
  }
}

function subscribe(client: Client, request: SubgraphRequest): AsyncIterableIterator<FormattedExecutionResult> {
  let unsubscribe = (): void => {};
  const results = new PushIterator<FormattedExecutionResult>(() => unsubscribe());
  const stream = randomUUID();
  const window = { stream, messages: STREAM_WINDOW_MESSAGES };
  unsubscribe = client.subscribe<Record<string, unknown>>(toMessage(request, { window }), {
    next: (result) => results.push(result as FormattedExecutionResult),
    error: (error) => {
      if (Array.isArray(error)) {
        // The operation was refused before it began.
        results.push({ errors: error } as FormattedExecutionResult);
        results.close();
      } else
        results.close(new RookeryError('UNAVAILABLE', 'The connection to the control plane broke.', { cause: error }));
    },
    complete: () => results.close(),
  });
  const credit = new ReceiveWindow(STREAM_WINDOW_MESSAGES, (messages) => acknowledge(client, { stream, messages }));
  return mapIterator(results, (result) => {
    if (!results.closed) credit.consumed(1);
    return result;
  });
}

function acknowledge(client: Client, acknowledged: Required<WindowExtensions>['acknowledged']): void {
  // Its answer says nothing; that the connection broke is told by the stream itself.
  const ignore = (): void => {};
  client.subscribe(
    { query: '{ __typename }', extensions: { acknowledged } },
    { next: ignore, error: ignore, complete: ignore },
  );
}

/** The planner hands out the same document again and again; it is printed once. */
const printed = new WeakMap<DocumentNode, string>();

function toMessage({ document, variables, operationName, caller }: SubgraphRequest, extensions: WindowExtensions = {}) {
  let query = printed.get(document);
  if (query === undefined) printed.set(document, (query = print(document)));
  return {
    query,
    variables: { ...variables },
    operationName: operationName ?? null,
    extensions: { ...extensions, caller },
  };
}
