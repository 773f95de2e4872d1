import { silentLogger } from '@rookery/wire/log.ts';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { insertHost, openTestDatabase } from '../../../test/harness.ts';
import type { DatabaseConnection } from '../../database/database.ts';
import { EventLog } from '../events/event-log.ts';
import type { FleetDatabase, FleetTables } from '../tables.ts';
import { HostPresence, type HostSpecs } from './host-presence.service.ts';

let connection: DatabaseConnection;
let database: FleetDatabase;
let presence: HostPresence;
const replicaId = randomUUID();

beforeAll(async () => {
  connection = await openTestDatabase();
  database = connection.as<FleetTables>();
  presence = new HostPresence({ database, events: new EventLog(database, silentLogger()), replicaId });
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

async function newSandbox(hostId: string, status: 'RUNNING' | 'PAUSED' | 'STOPPING' | 'STOPPED'): Promise<string> {
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

const hostOf = (id: string) =>
  database.query.selectFrom('Host').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
const sandboxOf = (id: string) =>
  database.query.selectFrom('Sandbox').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
const eventTypes = async () =>
  (await database.query.selectFrom('Event').select('type').orderBy('id').execute()).map(({ type }) => type);

test('a host that has been silent for too long is unreachable and cannot be placed on; one that was heard is not', async () => {
  const [silent, heard] = [await newHost(91_000), await newHost(89_000)];
  expect(await presence.silence(90_000)).toBe(1);
  expect(await hostOf(silent.id)).toMatchObject({
    status: 'UNREACHABLE',
    tunnelReplica: null,
    revision: silent.revision + 1,
  });
  expect(await hostOf(heard.id)).toMatchObject({ status: 'ONLINE', revision: heard.revision });
  expect(await presence.silence(90_000)).toBe(0);
});

test('a host that has never registered is not unreachable', async () => {
  await newHost(1_000_000, { status: 'PENDING' });
  expect(await presence.silence(90_000)).toBe(0);
});

test('sandboxes of an unreachable host are missing, and what they were is remembered', async () => {
  const host = await newHost(91_000);
  const [running, paused, stopping, stopped] = [
    await newSandbox(host.id, 'RUNNING'),
    await newSandbox(host.id, 'PAUSED'),
    await newSandbox(host.id, 'STOPPING'),
    await newSandbox(host.id, 'STOPPED'),
  ];
  await presence.silence(90_000);
  expect(await presence.markMissing()).toBe(2);
  expect(await sandboxOf(running)).toMatchObject({ status: 'MISSING', statusBeforeMissing: 'RUNNING', revision: 2 });
  expect(await sandboxOf(paused)).toMatchObject({ status: 'MISSING', statusBeforeMissing: 'PAUSED' });
  expect(await sandboxOf(stopping)).toMatchObject({ status: 'STOPPING' });
  expect(await sandboxOf(stopped)).toMatchObject({ status: 'STOPPED' });
  expect(await presence.markMissing()).toBe(0);
  expect(await eventTypes()).toEqual(['host.unreachable', 'sandbox.missing', 'sandbox.missing']);
});

test('a host that is heard again is online again', async () => {
  const host = await newHost(91_000);
  await presence.silence(90_000);
  await presence.heard([host.id]);
  await presence.heard([host.id]);
  expect(await hostOf(host.id)).toMatchObject({ status: 'ONLINE' });
  expect(await eventTypes()).toEqual(['host.unreachable', 'host.online']);
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

test('the loss of a tunnel that another replica has taken over in the meantime changes nothing', async () => {
  const other = randomUUID();
  const host = await newHost(0, { tunnelReplica: other });
  await presence.tunnelLost(host.id);
  expect(await hostOf(host.id)).toMatchObject({ tunnelReplica: other });
});

test('tunnels of a control process that died are cleared, those of a living one are not', async () => {
  await database.query
    .insertInto('Replica')
    .values([{ id: replicaId, startedAt: new Date(), seenAt: new Date() }])
    .execute();
  const [living, dead] = [
    await newHost(0, { tunnelReplica: replicaId }),
    await newHost(0, { tunnelReplica: randomUUID() }),
  ];
  expect(await presence.clearOrphanedTunnels(10_000)).toBe(1);
  expect(await hostOf(living.id)).toMatchObject({ tunnelReplica: replicaId });
  expect(await hostOf(dead.id)).toMatchObject({ tunnelReplica: null });
});
