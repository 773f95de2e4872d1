import type { TypedDocumentNode } from '@urql/core';
import { parse } from 'graphql';
import { describe, expect, it, vi } from 'vitest';
import { ApiError } from '#lib/gql/errors.ts';
import { LiveCollection, type LiveEvent, type LiveNode } from './live-collection.ts';
import { follow, readAll, type FeedSource, type Page } from './live-feed.ts';
import { newSocket } from './socket.fixture.ts';

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

function newFeed(
  page = vi.fn(async () => newPage({ nodes: [newNode('a')] })),
  more: Partial<FeedSource<LiveNode, Change>> = {},
) {
  const socket = newSocket();
  const collection = new LiveCollection<LiveNode>();
  const onProblem = vi.fn();
  const onUnauthorized = vi.fn();
  const abort = new AbortController();
  const source = { page, subscription, toEvent: ({ change }: Change) => change, ...more };
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

  it('reads the list again after a RESET whose snapshot would not be all of it', async () => {
    const { socket, page, collection, abort, ended } = newFeed(undefined, { rereadOnReset: true });
    await vi.waitFor(() => expect(socket.streams).toHaveLength(1));
    socket.streams[0]!.sink.next({ data: { change: { kind: 'RESET', cursor: 'c5', id: null, node: null } } });
    await vi.waitFor(() => expect(socket.streams).toHaveLength(2), { timeout: 3_000 });
    expect(page).toHaveBeenCalledTimes(2);
    expect(collection.items.map(({ id }) => id)).toEqual(['a']);
    abort.abort();
    await ended;
  });

  it('keeps the other variables of the subscription across events', async () => {
    const { socket, abort, ended } = newFeed(undefined, { variables: { filter: { teamId: 't' } } });
    await vi.waitFor(() => expect(socket.streams).toHaveLength(1));
    const { payload, sink } = socket.streams[0]!;
    sink.next({ data: { change: { kind: 'CREATED', cursor: 'c1', id: 'b', node: newNode('b') } } });
    expect(payload.variables).toEqual({ filter: { teamId: 't' }, after: 'c1' });
    abort.abort();
    await ended;
  });
});
