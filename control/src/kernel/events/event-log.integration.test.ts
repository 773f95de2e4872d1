import { silentLogger } from '@rookery/wire/log.ts';
import { insertHost, openTestDatabase } from '../../../test/harness.ts';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { DatabaseConnection } from '../../database/database.ts';
import type { FleetDatabase, FleetEvents, FleetTables, HostRow } from '../../fleet/tables.ts';
import { ChangeStream, fromCursor, toCursor, withDates, type StreamItem } from './change-stream.ts';
import { EventHub } from './event-hub.ts';
import { EventLog, type Record } from './event-log.ts';

let connection: DatabaseConnection;
let database: FleetDatabase;
let log: FleetEvents;
let hub: EventHub;

beforeAll(async () => {
  connection = await openTestDatabase();
  database = connection.as<FleetTables>();
});
beforeEach(async () => {
  log = new EventLog(connection, silentLogger()).as();
  hub = new EventHub(connection, silentLogger());
  await hub.start();
  return async () => {
    await log.idle();
    await hub[Symbol.asyncDispose]();
  };
});
afterAll(() => connection[Symbol.asyncDispose]());

const stream = (after?: string, snapshot: () => Promise<HostRow[]> = async () => []) =>
  new ChangeStream<HostRow>({
    hub,
    after,
    wants: ({ subject }) => subject === 'HOST',
    revive: (state) => withDates<HostRow>(state, ['createdAt']),
    snapshot,
  });

async function take(source: ChangeStream<HostRow>, count: number): Promise<StreamItem<HostRow>[]> {
  const items: StreamItem<HostRow>[] = [];
  while (items.length < count) {
    const step = await source.next();
    if (step.done) break;
    items.push(step.value);
  }
  return items;
}

/** Renames a host, as every change is made: under its lock, with its event. */
async function rename(id: string, name: string, hold: Promise<void> = Promise.resolve()): Promise<void> {
  await log.transaction('control', async (tx, record) => {
    const row = await tx
      .updateTable('Host')
      .set(({ eb }) => ({ name, revision: eb('revision', '+', 1) }))
      .where('id', '=', id)
      .returningAll()
      .executeTakeFirstOrThrow();
    await record([{ subject: 'HOST', change: 'UPDATED', type: 'host.renamed', row }]);
    await hold;
  });
}

const updated = (row: HostRow) =>
  [{ subject: 'HOST', change: 'UPDATED', type: 'host.renamed', row }] as const satisfies Parameters<Record>[0];

test('a transaction that commits late is read after the ones that overtook it, and is not lost', async () => {
  const [slow, fast] = [await insertHost(connection), await insertHost(connection)];
  const live = stream();
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  // Its event row has the lower id, and is committed last.
  const late = rename(slow.id, `slow-${slow.id}`, held);
  await rename(fast.id, `fast-${fast.id}`);
  expect((await take(live, 1)).map(({ id }) => id)).toEqual([fast.id]);
  release();
  await late;
  expect((await take(live, 1)).map(({ id }) => id)).toEqual([slow.id]);
});

test('of many writers at once every event arrives, once, and each object’s in the order of its revisions', async () => {
  const hosts = await Promise.all(Array.from({ length: 5 }, () => insertHost(connection)));
  const live = stream();
  const writes = hosts.flatMap((host) => Array.from({ length: 20 }, (_, n) => rename(host.id, `${host.id}-${n}`)));
  const [items] = await Promise.all([take(live, writes.length), ...writes]);
  expect(new Set(items.map(({ cursor }) => cursor)).size).toBe(writes.length);
  for (const { id } of hosts) {
    expect(items.filter((item) => item.id === id).map(({ row }) => row?.revision)).toEqual(
      Array.from({ length: 20 }, (_, n) => n + 2),
    );
  }
});

test('positions are dense and follow each other without gaps', async () => {
  const host = await insertHost(connection);
  const before = hub.position;
  await Promise.all(Array.from({ length: 10 }, (_, n) => rename(host.id, `${host.id}-${n}`)));
  await vi.waitFor(() => expect(hub.position).toBe(before + 10));
});

test('a rolled back change leaves no event', async () => {
  const host = await insertHost(connection);
  const before = hub.position;
  const failing = log.transaction('control', async (_tx, record) => {
    await record(updated(host));
    throw new Error('changed my mind');
  });
  await expect(failing).rejects.toThrow('changed my mind');
  await rename(host.id, `${host.id}-kept`);
  await vi.waitFor(() => expect(hub.position).toBe(before + 1));
});

test('events of a process that died before it could sequence them are sequenced by the next pass', async () => {
  const host = await insertHost(connection);
  const live = stream();
  // As written by a transaction whose process did not live to nudge.
  await database.query
    .insertInto('Event')
    .values({
      subject: 'HOST',
      subjectId: host.id,
      change: 'UPDATED',
      revision: 2,
      hostId: host.id,
      type: 'host.renamed',
      actor: 'control',
      state: { ...host },
    } as never)
    .execute();
  expect(await log.sequence()).toBe(1);
  expect((await take(live, 1)).map(({ id }) => id)).toEqual([host.id]);
});

describe('resuming', () => {
  test('after a cursor gives exactly what came after it, then what comes', async () => {
    const host = await insertHost(connection);
    const first = stream();
    await rename(host.id, 'one');
    await rename(host.id, 'two');
    await rename(host.id, 'three');
    const [one] = await take(first, 1);
    const resumed = stream(one?.cursor);
    expect((await take(resumed, 2)).map(({ row }) => row?.name)).toEqual(['two', 'three']);
    await rename(host.id, 'four');
    expect((await take(resumed, 1)).map(({ row }) => row?.name)).toEqual(['four']);
  });

  test('by a reader so far behind that memory no longer holds it reads the table', async () => {
    const host = await insertHost(connection);
    const cursor = toCursor(hub.position);
    await rename(host.id, 'old');
    await vi.waitFor(() => expect(hub.position).toBeGreaterThan(fromCursor(cursor)));
    // A process that has just started holds nothing in memory.
    await using fresh = new EventHub(connection, silentLogger());
    await fresh.start();
    const late = new ChangeStream<HostRow>({
      hub: fresh,
      after: cursor,
      wants: () => true,
      revive: (state) => state as never,
      snapshot: async () => [],
    });
    expect((await take(late, 1)).map(({ row }) => row?.name)).toEqual(['old']);
  });

  test('past retention says so, and then shows everything there is', async () => {
    const host = await insertHost(connection);
    const cursor = toCursor(hub.position);
    await rename(host.id, 'pruned');
    await rename(host.id, 'kept');
    await vi.waitFor(() => expect(hub.position).toBe(fromCursor(cursor) + 2));
    await database.query
      .deleteFrom('Event')
      .where('position', '<=', fromCursor(cursor) + 1)
      .execute();
    const items = await take(
      stream(cursor, async () => [host]),
      3,
    );
    expect(items.map(({ kind }) => kind)).toEqual(['RESET', 'SNAPSHOT', 'SNAPSHOT_COMPLETE']);
    expect(items[1]?.id).toBe(host.id);
  });

  test('with a cursor of another database starts over too', async () => {
    const items = await take(stream(toCursor(hub.position + 1_000_000)), 2);
    expect(items.map(({ kind }) => kind)).toEqual(['RESET', 'SNAPSHOT_COMPLETE']);
  });

  test.each(['', 'garbage', Buffer.from('e1:-1').toString('base64url'), Buffer.from('e1:1.5').toString('base64url')])(
    'with %o as a cursor is refused',
    (cursor) => {
      expect(() => stream(cursor)).toThrow('not an event cursor');
    },
  );
});

test('a stream that is left while it waits ends at once', async () => {
  const live = stream();
  const waiting = live.next();
  await live.return();
  expect(await waiting).toEqual({ done: true, value: undefined });
});

test('the stored dates are dates again', async () => {
  const host = await insertHost(connection, { id: randomUUID() });
  const live = stream();
  await rename(host.id, 'dated');
  const [item] = await take(live, 1);
  expect(item?.row?.createdAt).toEqual(host.createdAt);
});
