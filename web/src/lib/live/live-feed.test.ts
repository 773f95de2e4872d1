import type { TypedDocumentNode } from '@urql/core';
import type { Client, Sink, SubscribePayload } from 'graphql-ws';
import { parse } from 'graphql';
import { describe, expect, it, vi } from 'vitest';
import { ApiError } from '#lib/gql/errors.ts';
import { LiveCollection, type LiveEvent, type LiveNode } from './live-collection.ts';
import { follow, readAll, type Page } from './live-feed.ts';

type Change = { change: LiveEvent<LiveNode> };

const subscription = parse('subscription ($after: String) { change(after: $after) }') as TypedDocumentNode<
  Change,
  { after?: string | null | undefined }
>;

const newNode = (id: string): LiveNode => ({ id, revision: 1, createdAt: '2026-01-01T00:00:00.000Z' });
const newPage = (overrides: Partial<Page<LiveNode>> = {}): Page<LiveNode> => ({
  nodes: [],
  endCursor: null,
  hasNextPage: false,
  eventCursor: 'c0',
  ...overrides,
});

/** Stands for graphql-ws: keeps what was subscribed, so that a test can be the server. */
function newSocket() {
  const streams: { payload: SubscribePayload; sink: Sink }[] = [];
  const listeners: (() => void)[] = [];
  const client = {
    subscribe(payload: SubscribePayload, sink: Sink) {
      streams.push({ payload, sink });
      return () => sink.complete();
    },
    on(_event: string, listener: () => void) {
      listeners.push(listener);
      return () => listeners.splice(listeners.indexOf(listener), 1);
    },
  } as unknown as Client;
  return { client, streams, reconnected: () => listeners.forEach((listener) => listener()) };
}

function newFeed(page = vi.fn(async () => newPage({ nodes: [newNode('a')] }))) {
  const socket = newSocket();
  const collection = new LiveCollection<LiveNode>();
  const onProblem = vi.fn();
  const onUnauthorized = vi.fn();
  const abort = new AbortController();
  const source = { page, subscription, toEvent: ({ change }: Change) => change };
  const ended = follow({ collection, source, socket: socket.client, onProblem, onUnauthorized }, abort.signal);
  return { socket, collection, onProblem, onUnauthorized, page, ended, abort };
}

describe('reading a list', () => {
  it('reads every page and keeps the event cursor of the first', async () => {
    const page = vi
      .fn<(after: string | null) => Promise<Page<LiveNode>>>()
      .mockResolvedValueOnce(newPage({ nodes: [newNode('a')], hasNextPage: true, endCursor: 'p1' }))
      .mockResolvedValueOnce(newPage({ nodes: [newNode('b')], eventCursor: 'c9' }));
    const { nodes, eventCursor } = await readAll(page);
    expect(nodes.map((node) => node.id)).toEqual(['a', 'b']);
    expect(eventCursor).toBe('c0');
    expect(page).toHaveBeenLastCalledWith('p1');
  });
});

describe('following a list', () => {
  it('subscribes from where the list was read and keeps the very payload at the last event', async () => {
    const { socket, collection, abort, ended } = newFeed();
    await vi.waitFor(() => expect(socket.streams).toHaveLength(1));
    const { payload, sink } = socket.streams[0]!;
    expect(payload.variables).toEqual({ after: 'c0' });
    sink.next({ data: { change: { kind: 'CREATED', cursor: 'c1', id: 'b', node: newNode('b') } } });
    expect(payload.variables).toEqual({ after: 'c1' });
    expect(collection.items).toHaveLength(2);
    abort.abort();
    await ended;
  });

  it('resumes from before a snapshot that a reconnect cut off', async () => {
    const { socket, abort, ended } = newFeed();
    await vi.waitFor(() => expect(socket.streams).toHaveLength(1));
    const { payload, sink } = socket.streams[0]!;
    sink.next({ data: { change: { kind: 'RESET', cursor: 'c5', id: null, node: null } } });
    sink.next({ data: { change: { kind: 'SNAPSHOT', cursor: 'c5', id: 'a', node: newNode('a') } } });
    socket.reconnected();
    expect(payload.variables).toEqual({ after: 'c0' });
    abort.abort();
    await ended;
  });

  it('reads the list again when the stream fails, and says what was wrong until it works', async () => {
    const { socket, page, onProblem, abort, ended } = newFeed();
    await vi.waitFor(() => expect(socket.streams).toHaveLength(1));
    socket.streams[0]!.sink.error([{ message: 'boom', extensions: { code: 'INTERNAL' } }] as never);
    await vi.waitFor(() => expect(socket.streams).toHaveLength(2), { timeout: 3_000 });
    expect(page).toHaveBeenCalledTimes(2);
    expect(onProblem.mock.calls.map(([problem]) => problem?.message ?? null)).toEqual([null, 'boom', null]);
    abort.abort();
    await ended;
  });

  it('ends when the session is over', async () => {
    const { ended, onUnauthorized } = newFeed(
      vi.fn(async () => {
        throw new ApiError('UNAUTHENTICATED', 'Please sign in.');
      }),
    );
    await ended;
    expect(onUnauthorized).toHaveBeenCalledOnce();
  });

  it('ends when the socket is closed as unauthorized', async () => {
    const { ended, onUnauthorized, socket } = newFeed();
    await vi.waitFor(() => expect(socket.streams).toHaveLength(1));
    socket.streams[0]!.sink.error({ code: 4401, reason: 'Unauthorized' });
    await ended;
    expect(onUnauthorized).toHaveBeenCalledOnce();
  });

  it('keeps a row whose joined field failed', async () => {
    const { socket, collection, abort, ended } = newFeed();
    await vi.waitFor(() => expect(socket.streams).toHaveLength(1));
    socket.streams[0]!.sink.next({
      data: { change: { kind: 'CREATED', cursor: 'c1', id: 'b', node: newNode('b') } },
      errors: [{ message: 'accounts is down', extensions: { code: 'UNAVAILABLE' } }] as never,
    });
    expect(collection.get('b')).toBeDefined();
    abort.abort();
    await ended;
  });
});
