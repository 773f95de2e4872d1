import { silentLogger } from '@rookery/wire/log.ts';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { v7 as uuidv7 } from 'uuid';
import { insertHost, openTestDatabase } from '../../test/harness.ts';
import type { DatabaseConnection } from '../database/database.ts';
import type { AuditTables } from '../kernel/audit/audit.entity.ts';
import { ChangeStream } from '../kernel/events/change-stream.ts';
import { EventHub } from '../kernel/events/event-hub.ts';
import { EventLog } from '../kernel/events/event-log.ts';
import type { EventTables } from '../kernel/events/event.entity.ts';
import { FencedOff, type Term } from '../kernel/leadership.ts';
import { auditEventsBefore, eventsBefore, pruneInChunks } from '../kernel/retention.ts';
import { pruneFleet } from './fleet.retention.ts';
import type { FleetDatabase, FleetTables, HostRow } from './tables.ts';

const DAY_MS = 86_400_000;
const NOW = Date.now();
const daysAgo = (days: number): Date => new Date(NOW - days * DAY_MS);
const CUTOFF = daysAgo(30);
/** The fence itself has tests of its own. */
const leads: Term = { epoch: 1, fence: async () => {} };

let connection: DatabaseConnection;
let database: FleetDatabase;
let host: HostRow;

beforeAll(async () => {
  connection = await openTestDatabase();
  database = connection.as<FleetTables>();
  host = await insertHost(connection);
});
afterAll(() => connection[Symbol.asyncDispose]());

async function write(events: readonly { at: Date; name: string }[]): Promise<void> {
  await database.query
    .insertInto('Event')
    .values(
      events.map(({ at, name }, n) => ({
        subject: 'HOST',
        subjectId: host.id,
        change: 'UPDATED',
        revision: n + 1,
        hostId: host.id,
        type: 'host.updated',
        actor: 'control',
        state: { ...host, name },
        at,
      })) as never,
    )
    .execute();
  await new EventLog(connection, silentLogger()).sequence();
}

const prune = (term = leads, chunk?: number) =>
  pruneInChunks(connection.as<EventTables>(), term, eventsBefore(CUTOFF), chunk);

const streamOf = (hub: EventHub, after?: string) =>
  new ChangeStream<HostRow>({
    hub,
    after,
    wants: ({ subject }) => subject === 'HOST',
    revive: (state) => state as never,
    snapshot: async () => [host],
  });

test('old events go, without holes and only by the leader; who has not read them is told so, also in the middle', async () => {
  await write(Array.from({ length: 600 }, (_, n) => ({ at: daysAgo(40), name: `old-${n}` })));
  // One that a slow transaction has dated back, behind a young one: it stays until that one goes.
  await write([{ at: daysAgo(1), name: 'young' }]);
  await write([{ at: daysAgo(40), name: 'dated back' }]);

  await using hub = new EventHub(connection, silentLogger());
  await hub.start();
  const start = Buffer.from('e1:0').toString('base64url');
  // Has read the first page of the table, and of it one event.
  const slow = streamOf(hub, start);
  expect((await slow.next()).value?.row?.name).toBe('old-0');

  const late = {
    epoch: 1,
    fence: async () => {
      throw new FencedOff(1);
    },
  };
  await expect(prune(late)).rejects.toThrow(FencedOff);
  expect(await prune(leads, 250)).toBe(600);
  expect(await prune()).toBe(0);
  const kept = await database.query.selectFrom('Event').select('position').orderBy('position').execute();
  expect(kept.map(({ position }) => position)).toEqual([601, 602]);

  const kinds = async (stream: ReturnType<typeof streamOf>, count: number) => {
    const items = [];
    while (items.length < count) items.push((await stream.next()).value?.kind);
    return items;
  };
  // The rest of the page that it has, and then the truth.
  expect(new Set(await kinds(slow, 499))).toEqual(new Set(['UPDATED']));
  expect(await kinds(slow, 3)).toEqual(['RESET', 'SNAPSHOT', 'SNAPSHOT_COMPLETE']);
  expect(await kinds(streamOf(hub, start), 3)).toEqual(['RESET', 'SNAPSHOT', 'SNAPSHOT_COMPLETE']);
  // All of them gone is no reason to turn in circles either.
  await database.query.deleteFrom('Event').execute();
  expect(await kinds(streamOf(hub, Buffer.from('e1:601').toString('base64url')), 3)).toEqual([
    'RESET',
    'SNAPSHOT',
    'SNAPSHOT_COMPLETE',
  ]);
});

test('old audit events go, young ones stay', async () => {
  const { query } = connection.as<AuditTables>();
  const [old, young] = [40, 20].map((days) => uuidv7({ msecs: daysAgo(days).getTime() }));
  for (const id of [old, young])
    await query
      .insertInto('AuditEvent')
      .values({ id, actorKind: 'CONTROL', action: 'test', detail: {} } as never)
      .execute();
  expect(await pruneInChunks(connection.as<AuditTables>(), leads, auditEventsBefore(CUTOFF))).toBe(1);
  expect(await query.selectFrom('AuditEvent').select('id').execute()).toEqual([{ id: young }]);
});

test('of the fleet goes what is over and nothing that lives', async () => {
  const gone = await insertHost(connection, { deletedAt: daysAgo(1) });
  const sandbox = (name: string, row: object) => ({
    id: randomUUID(),
    name,
    teamId: randomUUID(),
    hostId: host.id,
    template: 'host',
    milliVcpus: 1,
    memoryMb: 1,
    diskMb: 1,
    labels: '[]',
    placement: '{}',
    requestHash: '',
    desiredState: 'RUNNING',
    status: 'RUNNING',
    createdAt: daysAgo(400),
    ...row,
  });
  const over = { status: 'STOPPED', desiredState: 'DESTROYED', holdsReservation: false };
  await database.query
    .insertInto('Sandbox')
    .values([
      sandbox('running', {}),
      sandbox('stopped and kept', { status: 'STOPPED', holdsReservation: false }),
      sandbox('destroyed lately', { ...over, deletedAt: daysAgo(29) }),
      sandbox('destroyed long ago', { ...over, deletedAt: daysAgo(31) }),
    ] as never)
    .execute();
  const drain = (state: string, finishedAt: Date | null) => ({
    id: uuidv7(),
    hostId: host.id,
    policy: 'PAUSE',
    state,
    startedBy: 'control',
    startedAt: daysAgo(50),
    deadlineAt: daysAgo(49),
    finishedAt,
  });
  await database.query
    .insertInto('HostDrain')
    .values([drain('RUNNING', null), drain('COMPLETED', daysAgo(29)), drain('FAILED', daysAgo(31))] as never)
    .execute();
  for (const { id } of [host, gone]) {
    await database.query
      .insertInto('HostLease')
      .values({ hostId: id, seenAt: new Date(), load1: 0, memoryUsedMb: 0, diskUsedMb: 0 } as never)
      .execute();
  }

  expect(await pruneFleet(database, leads, CUTOFF)).toBe(3);
  const names = await database.query.selectFrom('Sandbox').select('name').orderBy('name').execute();
  expect(names.map(({ name }) => name)).toEqual(['destroyed lately', 'running', 'stopped and kept']);
  const states = await database.query.selectFrom('HostDrain').select('state').orderBy('state').execute();
  expect(states.map(({ state }) => state)).toEqual(['COMPLETED', 'RUNNING']);
  expect(await database.query.selectFrom('HostLease').select('hostId').execute()).toEqual([{ hostId: host.id }]);
});
