import { silentLogger } from '@rookery/wire/log.ts';
import { sql } from 'kysely';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { insertHost, openTestDatabase } from '../../../test/harness.ts';
import type { DatabaseConnection } from '../../database/database.ts';
import { EventLog } from '../../kernel/events/event-log.ts';
import type { Term } from '../../kernel/leadership.ts';
import { SANDBOX_STATUSES, STATUSES_THAT_GO_MISSING, type SandboxStatus } from '../sandboxes/sandbox.state.ts';
import type { FleetDatabase, FleetTables } from '../tables.ts';
import { HostPresence } from './host-presence.service.ts';
import { hostSpecsSchema, type HostSpecs } from './host.specs.ts';

let connection: DatabaseConnection;
let database: FleetDatabase;
let presence: HostPresence;

beforeAll(async () => {
  connection = await openTestDatabase();
  database = connection.as<FleetTables>();
  presence = new HostPresence({ database, events: new EventLog(connection, silentLogger()).as() });
});
beforeEach(async () => {
  for (const table of ['Host', 'HostLease', 'Sandbox', 'Event'] as const)
    await database.query.deleteFrom(table).execute();
});
afterAll(() => connection[Symbol.asyncDispose]());

async function newHost(seenAgoMs: number, host: Parameters<typeof insertHost>[1] = {}) {
  const row = await insertHost(connection, host);
  await database.query
    .insertInto('HostLease')
    .values({
      hostId: row.id,
      seenAt: new Date(Date.now() - seenAgoMs),
      load1: 0,
      memoryUsedMb: 0,
      diskUsedMb: 0,
      inventoryEpoch: 0,
    })
    .execute();
  return row;
}

async function newSandbox(hostId: string, status: SandboxStatus): Promise<string> {
  const id = randomUUID();
  await database.query
    .insertInto('Sandbox')
    .values({
      id,
      hostId,
      status,
      name: 'box',
      teamId: randomUUID(),
      template: 'host',
      milliVcpus: 1,
      memoryMb: 1,
      diskMb: 1,
      labels: [],
      desiredState: 'RUNNING',
      placement: {},
      requestHash: '',
      createdAt: new Date(),
    } as never)
    .execute();
  return id;
}

const keepDigest = (hostId: string, inventoryDigest: string) =>
  database.query.updateTable('HostLease').set({ inventoryDigest }).where('hostId', '=', hostId).execute();
const digestOf = async (hostId: string) =>
  (
    await database.query
      .selectFrom('HostLease')
      .select('inventoryDigest')
      .where('hostId', '=', hostId)
      .executeTakeFirstOrThrow()
  ).inventoryDigest;

/** A term that nobody disputes. */
const LEADER: Term = { epoch: 1, fence: async () => {} };

/** Declares lost whoever has been silent for 90 s. */
async function silence(quota = Number.POSITIVE_INFINITY): Promise<number> {
  const { cutoff } = await presence.evidence(90_000);
  return presence.silence(LEADER, cutoff, quota);
}

const hostOf = (id: string) =>
  database.query.selectFrom('Host').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
const sandboxOf = (id: string) =>
  database.query.selectFrom('Sandbox').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
const eventTypes = async () =>
  (await database.query.selectFrom('Event').select('type').orderBy('id').execute()).map(({ type }) => type);

test('a host that has been silent for too long is unreachable and cannot be placed on; one that was heard is not', async () => {
  const [silent, heard] = [await newHost(91_000), await newHost(89_000)];
  expect(await silence()).toBe(1);
  expect(await hostOf(silent.id)).toMatchObject({
    status: 'UNREACHABLE',
    revision: silent.revision + 1,
  });
  expect(await hostOf(heard.id)).toMatchObject({ status: 'ONLINE', revision: heard.revision });
  expect(await silence()).toBe(0);
});

test('of the silent ones those that are silent longest go first, and no more than the quota', async () => {
  const [long, longer] = [await newHost(100_000), await newHost(200_000)];
  expect(await silence(1)).toBe(1);
  expect(await hostOf(longer.id)).toMatchObject({ status: 'UNREACHABLE' });
  expect(await hostOf(long.id)).toMatchObject({ status: 'ONLINE' });
});

test('more hosts and sandboxes than fit into one transaction are declared lost in one pass', async () => {
  const hosts = await Promise.all(Array.from({ length: 12 }, () => newHost(91_000)));
  const sandboxes = hosts.flatMap(({ id }) => Array.from({ length: 90 }, () => newSandbox(id, 'RUNNING')));
  await Promise.all(sandboxes);
  expect(await silence()).toBe(12);
  expect(await presence.markMissing(LEADER)).toBe(1_080);
});

test('a host that beats between the judgement and its writing is not touched, however much later that is written', async () => {
  const host = await newHost(91_000);
  const { cutoff } = await presence.evidence(90_000);
  await database.query
    .updateTable('HostLease')
    .set({ seenAt: new Date(Date.now() - 80_000) })
    .where('hostId', '=', host.id)
    .execute();
  // Ten minutes later it would have been silent for long again: but not in what was judged.
  expect(await presence.silence(LEADER, cutoff, 10)).toBe(0);
  expect(await hostOf(host.id)).toMatchObject({ status: 'ONLINE' });
});

test('a host whose beat is being written at this moment is not silent', async () => {
  const host = await newHost(91_000);
  await database.transaction(async (tx) => {
    await tx.updateTable('HostLease').set({ seenAt: new Date() }).where('hostId', '=', host.id).execute();
    expect(await silence()).toBe(0);
  });
  expect(await hostOf(host.id)).toMatchObject({ status: 'ONLINE' });
});

test('a lease from the future, written before the clock was put back, is dated now; others are left as they are', async () => {
  const [ahead, behind] = [await newHost(-3_600_000), await newHost(60_000)];
  await presence.clampLeases(LEADER);
  expect(await presence.evidence(30_000)).toMatchObject({ heard: 1, silent: 1 });
  const { now } = await presence.evidence(30_000);
  const seen = async (id: string) =>
    (await database.query.selectFrom('HostLease').select('seenAt').where('hostId', '=', id).executeTakeFirstOrThrow())
      .seenAt;
  expect((await seen(ahead.id)).getTime()).toBeLessThanOrEqual(now.getTime());
  expect((await seen(behind.id)).getTime()).toBeLessThan(now.getTime() - 59_000);
});

test('the evidence counts who was heard, who is silent, and who was lost together and not long ago', async () => {
  await newHost(1_000);
  await newHost(91_000);
  await newHost(120_000, { status: 'UNREACHABLE' });
  await newHost(90_000 * 6, { status: 'UNREACHABLE' });
  await newHost(120_000, { status: 'UNREACHABLE', leftAt: new Date() });
  await newHost(1_000, { status: 'PENDING' });
  await newHost(1_000, { deletedAt: new Date() });
  expect(await presence.evidence(90_000)).toMatchObject({ heard: 1, silent: 1, lost: 1, unreachable: 2 });
});

test('many hosts that return together are online by one event each, and those that are online already by none', async () => {
  const hosts = await Promise.all(Array.from({ length: 40 }, () => newHost(0, { status: 'UNREACHABLE' })));
  const online = await newHost(0);
  const ids = [...hosts.map(({ id }) => id), online.id, randomUUID()];
  await Promise.all([presence.heard(ids), presence.heard(ids)]);
  expect(await hostOf(online.id)).toMatchObject({ revision: online.revision });
  expect(await eventTypes()).toEqual(hosts.map(() => 'host.online'));
});

test('a host that has never registered is not unreachable', async () => {
  await newHost(1_000_000, { status: 'PENDING' });
  expect(await silence()).toBe(0);
});

test.each(SANDBOX_STATUSES)(
  'a sandbox in %s of an unreachable host is missing, if it may be there, and what it was is remembered',
  async (status) => {
    const host = await newHost(91_000);
    const id = await newSandbox(host.id, status);
    await silence();
    const goes = (STATUSES_THAT_GO_MISSING as readonly SandboxStatus[]).includes(status);
    expect(await presence.markMissing(LEADER)).toBe(goes ? 1 : 0);
    expect(await sandboxOf(id)).toMatchObject(
      goes ? { status: 'MISSING', statusBeforeMissing: status, revision: 2 } : { status, revision: 1 },
    );
    expect(await presence.markMissing(LEADER)).toBe(0);
    expect(await eventTypes()).toEqual(goes ? ['host.unreachable', 'sandbox.missing'] : ['host.unreachable']);
  },
);

test('a host that is heard again is online again', async () => {
  const host = await newHost(91_000);
  await silence();
  await presence.heard([host.id]);
  await presence.heard([host.id]);
  expect(await hostOf(host.id)).toMatchObject({ status: 'ONLINE' });
  expect(await eventTypes()).toEqual(['host.unreachable', 'host.online']);
});

test('a host that returns is asked for everything it has, also when its digest is the one that was known', async () => {
  const host = await newHost(91_000);
  await keepDigest(host.id, 'known');
  await silence();
  await presence.heard([host.id]);
  expect(await digestOf(host.id)).toBeNull();
});

test('a host that returns while its sandboxes are being declared missing is asked for everything again', async () => {
  const host = await newHost(91_000);
  const untouched = await newHost(0);
  const id = await newSandbox(host.id, 'RUNNING');
  await newSandbox(untouched.id, 'RUNNING');
  await silence();
  const waiting = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  // The judge's statement has read that the host is away and waits for its sandbox.
  const somebody = database.transaction(async (tx) => {
    await tx.selectFrom('Sandbox').select('id').where('id', '=', id).forUpdate().execute();
    waiting.resolve();
    await released.promise;
  });
  await waiting.promise;
  const marking = presence.markMissing(LEADER);
  await vi.waitFor(
    async () => {
      const { rows } = await sql`select 1 from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`.execute(database.query);
      expect(rows).toHaveLength(1);
    },
    { timeout: 15_000 },
  );
  await presence.heard([host.id]);
  // Its inventory says what the books still say.
  await keepDigest(host.id, 'known');
  await keepDigest(untouched.id, 'known');
  released.resolve();
  await somebody;
  expect(await marking).toBe(1);
  expect(await hostOf(host.id)).toMatchObject({ status: 'ONLINE' });
  expect(await sandboxOf(id)).toMatchObject({ status: 'MISSING' });

  expect(await presence.askAgain(LEADER)).toBe(1);
  expect(await digestOf(host.id)).toBeNull();
  expect(await digestOf(untouched.id)).toBe('known');
  expect(await presence.askAgain(LEADER)).toBe(0);
});

test('words and numbers of an agent are cut to what a row and a sum can bear', () => {
  const huge = {
    hostname: 'x'.repeat(9_999),
    arch: 'a\u0000b',
    os: '',
    kernel: '',
    cpuCores: 1e9,
    memoryMb: -5,
    diskGb: Number.NaN,
    agentVersion: '1',
    bootId: 'b',
    conditions: [],
  };
  expect(hostSpecsSchema.parse(huge)).toMatchObject({
    hostname: 'x'.repeat(255),
    arch: 'ab',
    cpuCores: 4_096,
    memoryMb: 0,
    diskGb: 0,
  });
});

test('what an agent says is written when it is new, and only then', async () => {
  const host = await newHost(0);
  const specs: HostSpecs = {
    hostname: 'h',
    arch: 'x86_64',
    os: 'Debian 12',
    kernel: '6.1',
    cpuCores: 4,
    memoryMb: 1_024,
    diskGb: 10,
    agentVersion: '1',
    bootId: 'b',
    runtime: null,
    machineId: null,
    templates: ['host'],
    conditions: [{ type: 'NO_RUNTIME', message: 'install runc' }],
    provider: null,
    availabilityZone: null,
  };
  await presence.describe(host.id, specs);
  await presence.describe(host.id, specs);
  expect(await hostOf(host.id)).toMatchObject({
    cpuCores: 4,
    runtimeName: null,
    agentConditions: [{ type: 'NO_RUNTIME', message: 'install runc' }],
    revision: host.revision + 1,
  });
});
