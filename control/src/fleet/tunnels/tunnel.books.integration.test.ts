import { silentLogger } from '@rookery/wire/log.ts';
import { sql } from 'kysely';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { insertHost, insertIdentity, openTestDatabase } from '../../../test/harness.ts';
import type { DatabaseConnection } from '../../database/database.ts';
import { EventLog } from '../../kernel/events/event-log.ts';
import type { Term } from '../../kernel/leadership.ts';
import type { FleetDatabase, FleetEvents, FleetTables } from '../tables.ts';
import { TunnelBooks } from './tunnel.books.ts';
import { changerOf } from './tunnel.rows.ts';

let connection: DatabaseConnection;
let database: FleetDatabase;
const LEADER: Term = { epoch: 1, fence: async () => {} };
const [here, there] = [randomUUID(), randomUUID()];
let events: FleetEvents;
let mine: TunnelBooks;
let theirs: TunnelBooks;

beforeAll(async () => {
  connection = await openTestDatabase();
  database = connection.as<FleetTables>();
  events = new EventLog(connection, silentLogger()).as<FleetTables>();
  mine = new TunnelBooks({ database, events, replicaId: here });
  theirs = new TunnelBooks({ database, events, replicaId: there });
  for (const id of [here, there])
    await database.query.insertInto('Replica').values({ id, startedAt: new Date(), seenAt: new Date() }).execute();
});
beforeEach(() => database.query.deleteFrom('Host').execute());
afterAll(() => connection[Symbol.asyncDispose]());

const agent = (instance: string) => ({ instance, address: null });
const newHost = async () => (await insertHost(connection, { tunnelReplica: null })).id;
const tunnelOf = async (id: string) =>
  (await database.query.selectFrom('Host').select('tunnelReplica').where('id', '=', id).executeTakeFirstOrThrow())
    .tunnelReplica;

/** A proven tunnel of an agent. @returns its generation. */
async function connected(books: TunnelBooks, hostId: string, instance = 'agent'): Promise<number> {
  const generation = await books.claim(hostId, (await books.read(hostId))?.generation ?? -1, agent(instance));
  expect(await books.ready(hostId, generation as number)).toBe('READY');
  return generation as number;
}

test('of two tunnels that are admitted on the same facts one is', async () => {
  const id = await newHost();
  const claims = await Promise.all([mine.claim(id, 0, agent('a')), theirs.claim(id, 0, agent('b'))]);
  expect(claims.toSorted()).toEqual([1, undefined]);
});

test('the late end of an older tunnel changes nothing, here nor on another replica', async () => {
  const id = await newHost();
  const first = await connected(mine, id);
  const second = await connected(mine, id);
  await mine.lost(id, first);
  expect(await tunnelOf(id)).toBe(here);
  const third = await connected(theirs, id);
  await mine.lost(id, second);
  expect(await tunnelOf(id)).toBe(there);
  expect(await mine.ready(id, second)).toBe('OVERTAKEN');
  expect(await tunnelOf(id)).toBe(there);
  await theirs.lost(id, third);
  expect(await tunnelOf(id)).toBe(null);
});

test('a process that has slept takes its tunnels up again, except those that were overtaken meanwhile', async () => {
  const [cleared, overtaken, registered] = [await newHost(), await newHost(), await newHost()];
  const held = await Promise.all(
    [cleared, overtaken, registered].map(async (hostId) => ({
      hostId,
      generation: await connected(mine, hostId),
      proven: true,
    })),
  );
  await database.query
    .updateTable('Replica')
    .set({ seenAt: new Date(0) })
    .where('id', '=', here)
    .execute();
  expect(await theirs.clearOrphaned(LEADER, 10_000)).toBe(3);
  expect(await tunnelOf(cleared)).toBe(null);
  await connected(theirs, overtaken);
  await database.query.updateTable('Host').set({ tunnelGeneration: 9 }).where('id', '=', registered).execute();
  expect(await mine.check([...held, { hostId: randomUUID(), generation: 1, proven: true }])).toEqual({
    corrected: 1,
    overtaken: [
      { ...held[1], by: 'TUNNEL' },
      { ...held[2], by: 'REGISTRATION' },
    ],
  });
  expect(await tunnelOf(cleared)).toBe(here);
  expect(await tunnelOf(overtaken)).toBe(there);
  expect(await mine.check(held.slice(0, 1))).toEqual({ corrected: 0, overtaken: [] });
  // However late its own sign of life is, a process knows that it lives.
  expect(await mine.clearOrphaned(LEADER, 10_000)).toBe(0);
});

test('while an agent is connected no other process speaks for the host, and in quarantine none does', async () => {
  const id = await newHost();
  const familyId = await insertIdentity(connection, id);
  const hearing = (instance: string) => mine.hearing(id, instance, familyId);
  expect(await hearing('a')).toBe('HEARD');
  const generation = await connected(mine, id, 'a');
  expect(await hearing('a')).toBe('HEARD');
  expect(await hearing('b')).toBe('OTHER_AGENT');
  await mine.lost(id, generation);
  expect(await hearing('b')).toBe('HEARD');
  await database.query.updateTable('Host').set({ quarantinedAt: new Date() }).where('id', '=', id).execute();
  expect(await hearing('a')).toBe('QUARANTINED');
  expect(await mine.claim(id, generation, agent('a'))).toBeUndefined();
});

test('whose credentials have ended since it was authenticated claims nothing and is not heard, whatever socket it has', async () => {
  const id = await newHost();
  const ended = await insertIdentity(connection, id);
  const current = randomUUID();
  await database.query.updateTable('HostIdentity').set({ familyId: current }).where('hostId', '=', id).execute();
  expect(await mine.claim(id, 0, { ...agent('old'), familyId: ended })).toBeUndefined();
  expect(await mine.hearing(id, 'old', ended)).toBe('ENDED');
  expect(await mine.hearing(id, 'new', current)).toBe('HEARD');
  expect(await mine.claim(id, 0, { ...agent('new'), familyId: current })).toBe(1);
  await database.query.updateTable('HostIdentity').set({ revokedAt: new Date() }).where('hostId', '=', id).execute();
  expect(await mine.claim(id, 1, { ...agent('new'), familyId: current })).toBeUndefined();
  expect(await mine.hearing(id, 'new', current)).toBe('ENDED');
});

test('another agent that is admitted here is reached only when its tunnel is proven, the same one without a gap', async () => {
  const id = await newHost();
  await connected(mine, id, 'a');
  await mine.claim(id, 1, agent('a'));
  expect(await tunnelOf(id)).toBe(here);
  await mine.claim(id, 2, agent('b'));
  expect(await tunnelOf(id)).toBeNull();
});

test('tunnels that come together are written together, each host by its own rights', async () => {
  const hosts = await Promise.all(Array.from({ length: 60 }, newHost));
  const gone = randomUUID();
  const stale = hosts[0] as string;
  await database.query.updateTable('Host').set({ tunnelGeneration: 7 }).where('id', '=', stale).execute();
  const claims = await Promise.all([...hosts, gone].map((id) => mine.claim(id, 0, agent(`agent of ${id}`))));
  expect(claims).toEqual([undefined, ...Array<number>(59).fill(1), undefined]);
  expect(await Promise.all([...hosts, gone].map((id) => mine.ready(id, 1)))).toEqual([
    'OVERTAKEN',
    ...Array<string>(59).fill('READY'),
    'GONE',
  ]);
  const { rows } = await sql<{ tunnel_instance: string; id: string; transaction: string }>`
    select id, tunnel_instance, xmin::text as transaction from hosts where tunnel_replica = ${here}`.execute(
    database.query,
  );
  expect(rows).toHaveLength(59);
  for (const { id, tunnel_instance: instance } of rows) expect(instance).toBe(`agent of ${id}`);
  expect(new Set(rows.map(({ transaction }) => transaction)).size).toBe(1);
  const events = await database.query
    .selectFrom('Event')
    .select(['subjectId', 'revision', 'actor'])
    .where('type', '=', 'host.tunnel_up')
    .where('subjectId', 'in', hosts)
    .execute();
  expect(events).toHaveLength(59);
  for (const { subjectId, actor } of events) expect(actor).toBe(`host:${subjectId}`);
});

test('what is said of one host in the same moment counts in the order in which it was said', async () => {
  const id = await newHost();
  const outcomes = await Promise.all([
    mine.claim(id, 0, agent('a')),
    mine.ready(id, 1),
    mine.claim(id, 1, agent('b')),
    mine.lost(id, 1),
    mine.ready(id, 2),
    mine.claim(id, 1, agent('c')),
  ]);
  expect(outcomes).toEqual([1, 'READY', 2, undefined, 'READY', undefined]);
  expect(await mine.read(id)).toMatchObject({ generation: 2, holder: here, instance: 'b' });
  expect(await tunnelOf(id)).toBe(here);
  const events = await database.query
    .selectFrom('Event')
    .select(['type', 'revision'])
    .where('subjectId', '=', id)
    .orderBy('id')
    .execute();
  expect(events.map(({ type }) => type)).toEqual(['host.tunnel_up', 'host.tunnel_down', 'host.tunnel_up']);
  expect(events.map(({ revision }) => revision)).toEqual([2, 3, 4]);
});

test('a host that somebody is at holds up no other, and has its turn afterwards', async () => {
  const [busy, free] = [await newHost(), await newHost()];
  const locked = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const holder = database.transaction(async (tx) => {
    await tx.selectFrom('Host').select('id').where('id', '=', busy).forUpdate().execute();
    locked.resolve();
    await release.promise;
    await tx.updateTable('Host').set({ tunnelGeneration: 4 }).where('id', '=', busy).execute();
  });
  await locked.promise;
  const late = Promise.all([mine.claim(busy, 0, agent('late')), mine.claim(busy, 4, agent('right'))]);
  expect(await mine.claim(free, 0, agent('a'))).toBe(1);
  release.resolve();
  await holder;
  expect(await late).toEqual([undefined, 5]);
});

test('what cannot be written of one host costs the others nothing', async () => {
  const change = changerOf(events);
  const [good, bad] = [await newHost(), await newHost()];
  const naming = (hostId: string, tunnelInstance: string) =>
    change({ hostId, type: 'host.tunnel_down', decide: ({ tunnelReplica }) => ({ tunnelReplica, tunnelInstance }) });
  const outcomes = await Promise.allSettled([naming(bad, 'no \0 in texts'), naming(good, 'a')]);
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
  expect(await mine.read(good)).toMatchObject({ instance: 'a' });
  expect(await mine.read(bad)).toMatchObject({ instance: null });
});
