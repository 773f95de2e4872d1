import { stringifyDocument, type TypedDocumentNode } from '@urql/core';
import type { Client, SubscribePayload } from 'graphql-ws';
import { ApiError, isUnauthenticated, isUsable, type WireError } from '#lib/gql/errors.ts';
import { closeCode, CLOSED_UNAUTHORIZED, retryDelay } from './connection.ts';
import type { LiveCollection, LiveEvent, LiveNode } from './live-collection.ts';

export interface Page<T> {
  readonly nodes: readonly T[];
  readonly endCursor: string | null;
  readonly hasNextPage: boolean;
  readonly eventCursor: string;
}

/** A subscription that goes on from a cursor. */
export type CursorSubscription<TChange> = TypedDocumentNode<TChange, { after?: string | null | undefined }>;

export interface FeedSource<T extends LiveNode, TChange> {
  /** Reads one page of the list. */
  readonly page: (after: string | null) => Promise<Page<T>>;
  readonly subscription: CursorSubscription<TChange>;
  /** Of the subscription, besides `after`. */
  readonly variables?: Readonly<Record<string, unknown>>;
  readonly toEvent: (change: TChange) => LiveEvent<T>;
  /** A RESET makes the list be read again, instead of waiting for a snapshot that is not all of it. */
  readonly rereadOnReset?: boolean;
}

export interface FeedOptions<T extends LiveNode, TChange> {
  readonly collection: LiveCollection<T>;
  readonly source: FeedSource<T, TChange>;
  readonly socket: Client;
  /** The last failure to read or follow; null once it works again. */
  readonly onProblem: (problem: Error | null) => void;
  readonly onUnauthorized: () => void;
}

/** Reads a whole connection, with the event cursor of its first page. */
export async function readAll<T>(
  page: (after: string | null) => Promise<Page<T>>,
): Promise<{ nodes: T[]; eventCursor: string }> {
  const first = await page(null);
  const nodes = [...first.nodes];
  let last = first;
  while (last.hasNextPage) {
    last = await page(last.endCursor);
    nodes.push(...last.nodes);
  }
  return { nodes, eventCursor: first.eventCursor };
}

/**
 * Keeps a collection right: reads the list, then follows its events from that position. When the stream ends or the
 * read fails it starts over, for ever, until the signal aborts or the session is over.
 */
export async function follow<T extends LiveNode, TChange>(
  options: FeedOptions<T, TChange>,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      const { nodes, eventCursor } = await readAll(options.source.page);
      if (signal.aborted) return;
      options.collection.load(nodes, eventCursor);
      options.onProblem(null);
      await stream(options, signal, () => (attempt = 0));
    } catch (error) {
      if (signal.aborted) return;
      if (isUnauthenticated(error)) return options.onUnauthorized();
      options.onProblem(error instanceof Error ? error : new Error(String(error)));
    }
    await pause(retryDelay(attempt), signal);
  }
}

async function stream<T extends LiveNode, TChange>(
  { collection, source, socket }: FeedOptions<T, TChange>,
  signal: AbortSignal,
  onEvent: () => void,
): Promise<void> {
  await streamEvents(
    {
      socket,
      subscription: source.subscription,
      variables: source.variables ?? {},
      after: collection.cursor,
      onConnected: () => collection.resumed(),
      next: (change) => {
        const event = source.toEvent(change);
        if (event.kind === 'RESET' && source.rereadOnReset) return END;
        collection.apply(event);
        onEvent();
        return collection.cursor;
      },
    },
    signal,
  );
}

/** Leaves a stream. */
export const END = Symbol('end');

export interface StreamOptions<TChange> {
  readonly socket: Client;
  readonly subscription: CursorSubscription<TChange>;
  readonly variables?: Readonly<Record<string, unknown>>;
  readonly after: string | null;
  /** The socket is there again; the stream goes on from the last cursor. */
  readonly onConnected?: () => void;
  /** @returns where to go on from after a reconnect, or {@link END} to leave. */
  readonly next: (change: TChange) => string | null | typeof END;
}

/**
 * Follows one subscription across reconnects, from the last cursor each time.
 *
 * @returns when the server ends it, which it does when the viewer's rights have changed.
 * @throws ApiError
 */
export function streamEvents<TChange>(options: StreamOptions<TChange>, signal: AbortSignal): Promise<void> {
  // INVARIANT: graphql-ws serialises this very object again at each reconnect, so keeping `after` current in it is
  // what makes a reconnect gap-free.
  const variables: Record<string, unknown> & { after: string | null } = { ...options.variables, after: options.after };
  const payload: SubscribePayload = { query: stringifyDocument(options.subscription), variables };
  return new Promise((resolve, reject) => {
    const forget = options.socket.on('connected', () => options.onConnected?.());
    const end = options.socket.subscribe<TChange>(payload, {
      next: (result) => {
        const errors = (result.errors ?? []) as readonly WireError[];
        if (errors.length && !isUsable(result.data, errors)) return fail(ApiError.fromGraphQL(errors));
        if (!result.data) return;
        const cursor = options.next(result.data);
        if (cursor === END) return end();
        variables.after = cursor;
      },
      error: fail,
      complete: () => {
        release();
        resolve();
      },
    });
    signal.addEventListener('abort', end);
    if (signal.aborted) end();

    function fail(reason: unknown): void {
      // Before `end`, which completes the sink.
      reject(asError(reason));
      release();
      end();
    }
    function release(): void {
      forget();
      signal.removeEventListener('abort', end);
    }
  });
}

function asError(reason: unknown): Error {
  if (reason instanceof Error) return reason;
  if (Array.isArray(reason)) return ApiError.fromGraphQL(reason as WireError[]);
  if (closeCode(reason) === CLOSED_UNAUTHORIZED) return new ApiError('UNAUTHENTICATED', 'The session is over.');
  return new ApiError('UNAVAILABLE', 'The live connection failed.', { cause: reason });
}

/** Resolves after a while, or at once when the signal aborts. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });
}
