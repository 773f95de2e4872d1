import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { insertHost, openTestDatabase } from '../../../test/harness.ts';
import type { DatabaseConnection } from '../../database/database.ts';
import type { FleetDatabase, FleetTables, HostRow } from '../tables.ts';
import type { PlacementConstraints, PlacementRequest, PlacementStrategyName } from './placement.ts';
import { NoHostFits, Placements } from './placement.service.ts';

let connection: DatabaseConnection;
let database: FleetDatabase;
const teamId = randomUUID();

beforeAll(async () => {
  connection = await openTestDatabase();
  database = connection.as<FleetTables>();
});
beforeEach(async () => {
  await database.query.deleteFrom('Host').execute();
});
afterAll(() => connection[Symbol.asyncDispose]());

type Wish = Partial<Omit<PlacementRequest, 'constraints'> & PlacementConstraints>;

const newRequest = ({ hostId = null, arch = null, labels = [], ...request }: Wish = {}): PlacementRequest => ({
  teamId,
  template: 'host',
  milliVcpus: 1_000,
  memoryMb: 512,
  diskMb: 1_024,
  constraints: { hostId, arch, labels },
  failedHostIds: [],
  ...request,
});

const placements = (strategy: PlacementStrategyName = 'ROUND_ROBIN', cpuOvercommit = 1) =>
  new Placements({ strategy, cpuOvercommit });

const place = (
  request: Wish = {},
  { strategy, cpuOvercommit }: { strategy?: PlacementStrategyName; cpuOvercommit?: number } = {},
) => database.transaction((tx) => placements(strategy, cpuOvercommit).reserve(tx, newRequest(request)));

async function refusal(request: Wish = {}): Promise<NoHostFits> {
  const error: unknown = await place(request).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(NoHostFits);
  return error as NoHostFits;
}

test('a hundred placements at once fill two hosts to the brim and overbook neither', async () => {
  await insertHost(connection, { cpuCores: 8, memoryMb: 4_096 });
  await insertHost(connection, { cpuCores: 4, memoryMb: 65_536 });
  const outcomes = await Promise.allSettled(Array.from({ length: 100 }, () => place()));
  // Eight by memory on the first (8 × 512 MiB), four by CPU on the second.
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(12);
  for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(NoHostFits);
  for (const host of await database.query.selectFrom('Host').selectAll().execute()) {
    expect(host.allocatedMilliVcpus).toBeLessThanOrEqual((host.cpuCores ?? 0) * 1_000);
    expect(host.allocatedMemoryMb).toBeLessThanOrEqual(host.memoryMb ?? 0);
    expect(host.allocatedSandboxes * 1_000).toBe(host.allocatedMilliVcpus);
  }
});

test.each(['0.1.0', '0.9.3', '0.0.0-test', 'x', '99999999.0.0', null])(
  'an agent of version %s is placed on',
  async (agentVersion) => {
    const host = await insertHost(connection, { agentVersion });
    expect((await place()).host.id).toBe(host.id);
  },
);

test('placements go round the hosts', async () => {
  const hosts = await Promise.all([insertHost(connection), insertHost(connection), insertHost(connection)]);
  const chosen: string[] = [];
  for (let n = 0; n < 6; n++) chosen.push((await place()).host.id);
  expect(new Set(chosen.slice(0, 3))).toEqual(new Set(hosts.map(({ id }) => id)));
  expect(chosen.slice(3)).toEqual(chosen.slice(0, 3));
});

test('a host that is being placed on by someone else does not hold up a placement on another', async () => {
  const [busy, free] = [
    await insertHost(connection, { lastPlacement: 0 }),
    await insertHost(connection, { lastPlacement: 1 }),
  ];
  await database.transaction(async (tx) => {
    await tx.selectFrom('Host').select('id').where('id', '=', busy.id).forUpdate().execute();
    expect((await place()).host.id).toBe(free.id);
  });
});

test('a rolled back placement gives its reservation back', async () => {
  const host = await insertHost(connection);
  const failing = database.transaction(async (tx) => {
    await placements().reserve(tx, newRequest());
    throw new Error('no');
  });
  await expect(failing).rejects.toThrow('no');
  expect(
    await database.query.selectFrom('Host').select('allocatedSandboxes').where('id', '=', host.id).executeTakeFirst(),
  ).toEqual({ allocatedSandboxes: 0 });
});

describe('a team’s sandboxes', () => {
  test('may go to its own hosts and to the platform’s', async () => {
    const hosts = [await insertHost(connection, { kind: 'BYOC', teamId }), await insertHost(connection)];
    expect(new Set([(await place()).host.id, (await place()).host.id])).toEqual(new Set(hosts.map(({ id }) => id)));
  });

  test('never go to another team’s host, and are not told of it', async () => {
    const foreign = await insertHost(connection, { kind: 'BYOC', teamId: randomUUID() });
    expect(await refusal()).toMatchObject({ candidates: 0, rejections: [], never: false });
    expect(await refusal({ hostId: foreign.id })).toMatchObject({ candidates: 0, rejections: [] });
  });

  test('go to the requested host only', async () => {
    const wanted = await insertHost(connection);
    await insertHost(connection);
    for (let n = 0; n < 3; n++) expect((await place({ hostId: wanted.id })).host.id).toBe(wanted.id);
  });
});

describe('a refusal', () => {
  test.each<[string, Partial<HostRow>]>([
    ['STATUS', { status: 'UNREACHABLE' }],
    ['STATUS', { status: 'PENDING' }],
    ['TUNNEL', { tunnelReplica: null }],
    ['CORDONED', { cordonedAt: new Date() }],
    ['CORDONED', { deletingAt: new Date() }],
    ['RUNTIME', { runtimeName: null }],
    ['RUNTIME', { agentConditions: [{ type: 'DISK_PRESSURE', message: 'full' }] }],
    ['RUNTIME', { agentVersion: '0.0.9' }],
    ['RUNTIME', { agentVersion: '1.0.0' }],
    ['BYOC_DISABLED', { byocDisabledAt: new Date() }],
    ['CREATES_FAILING', { createsFailingSince: new Date() }],
    ['CAPACITY', { allocatedMemoryMb: 262_144 }],
  ])('names the filter %s for a host with %o', async (filter, host) => {
    await insertHost(connection, host);
    expect(await refusal()).toMatchObject({ candidates: 1, rejections: [{ filter, hosts: 1 }], never: false });
  });

  test.each<[string, Wish, Partial<HostRow>]>([
    ['ARCH', { arch: 'aarch64' }, { arch: 'x86_64' }],
    ['ARCH', { arch: 'aarch64' }, { arch: null }],
    ['LABELS', { labels: [{ key: 'zone', value: 'a' }] }, { labels: [{ key: 'zone', value: 'b' }] }],
    ['LABELS', { labels: [{ key: 'zone', value: 'a' }] }, { labels: [] }],
    ['TEMPLATE', { template: 'python' }, { templates: ['host'] }],
  ])('names the filter %s for a wish for %o on a host with %o', async (filter, wish, host) => {
    await insertHost(connection, host);
    expect(await refusal(wish)).toMatchObject({ rejections: [{ filter, hosts: 1 }], never: true });
  });

  test('names the hosts that failed to start the same sandbox before', async () => {
    const host = await insertHost(connection);
    expect(await refusal({ failedHostIds: [host.id] })).toMatchObject({
      rejections: [{ filter: 'FAILED_BEFORE', hosts: 1 }],
    });
  });

  test('counts each host under the first filter that it fails', async () => {
    await insertHost(connection, { status: 'UNREACHABLE', tunnelReplica: null });
    await insertHost(connection, { status: 'UNREACHABLE' });
    await insertHost(connection, { cordonedAt: new Date() });
    expect((await refusal()).rejections).toEqual([
      { filter: 'STATUS', hosts: 2 },
      { filter: 'CORDONED', hosts: 1 },
    ]);
  });

  test('tells "never" from "not now"', async () => {
    await insertHost(connection, { cpuCores: 2, allocatedMilliVcpus: 2_000 });
    expect(await refusal({ milliVcpus: 1_000 })).toMatchObject({ never: false });
    expect(await refusal({ milliVcpus: 3_000 })).toMatchObject({ never: true });
  });

  test('does not say "never" while a host has not told its size', async () => {
    await insertHost(connection, { status: 'PENDING', cpuCores: null, memoryMb: null, diskGb: null });
    expect(await refusal({ milliVcpus: 64_000 })).toMatchObject({ never: false });
  });
});

test('CPUs may be promised more than once when that is configured, memory never', async () => {
  await insertHost(connection, { cpuCores: 1, memoryMb: 1_024 });
  await place({}, { cpuOvercommit: 2 });
  await place({}, { cpuOvercommit: 2 });
  await expect(place({}, { cpuOvercommit: 8 })).rejects.toBeInstanceOf(NoHostFits);
});

test('a wish goes to the host that has the architecture, the labels and the template', async () => {
  const zone = { key: 'zone', value: 'a' };
  await insertHost(connection, { arch: 'x86_64', labels: [zone] });
  await insertHost(connection, { arch: 'aarch64', labels: [] });
  const wanted = await insertHost(connection, {
    arch: 'aarch64',
    labels: [{ key: 'disk', value: 'ssd' }, zone],
    templates: ['host', 'python'],
  });
  const { host, placement } = await place({ arch: 'aarch64', labels: [zone], template: 'python' });
  expect(host.id).toBe(wanted.id);
  expect(placement).toMatchObject({
    candidates: 1,
    considered: 3,
    sampled: false,
    rejections: [
      { filter: 'ARCH', hosts: 1 },
      { filter: 'LABELS', hosts: 1 },
    ],
    constraints: { hostId: null, arch: 'aarch64', labels: [zone] },
  });
});

describe('the strategy', () => {
  /** Hosts of 10 cores of which so many are promised. */
  const hostsWith = async (...promised: number[]) =>
    Promise.all(
      promised.map((cores) =>
        insertHost(connection, { cpuCores: 10, allocatedMilliVcpus: cores * 1_000, allocatedSandboxes: cores }),
      ),
    );

  test('least-loaded takes the emptiest host, whichever of CPU and memory is scarcer', async () => {
    const [, emptiest] = await hostsWith(5, 2, 9);
    await insertHost(connection, { cpuCores: 64, memoryMb: 10_000, allocatedMemoryMb: 8_000 });
    const { host, placement } = await place({}, { strategy: 'LEAST_LOADED' });
    expect(host.id).toBe(emptiest?.id);
    expect(placement).toMatchObject({ strategy: 'LEAST_LOADED', score: 0.8 });
  });

  test('bin-pack takes the fullest host that still has room', async () => {
    const [, , fullest] = await hostsWith(5, 2, 8, 10);
    const { host, placement } = await place({ milliVcpus: 2_000 }, { strategy: 'BIN_PACK' });
    expect(host.id).toBe(fullest?.id);
    expect(placement).toMatchObject({ strategy: 'BIN_PACK', score: 0.8, candidates: 3 });
    const [half] = await database.query
      .selectFrom('Host')
      .selectAll()
      .where('allocatedMilliVcpus', '=', 5_000)
      .execute();
    expect((await place({ milliVcpus: 2_000 }, { strategy: 'BIN_PACK' })).host.id).toBe(half?.id);
  });

  test.each(['ROUND_ROBIN', 'LEAST_LOADED', 'BIN_PACK'] as const)(
    '%s finds the one host with room among many without',
    async (strategy) => {
      await hostsWith(...Array.from({ length: 150 }, () => 10));
      const free = await insertHost(connection, { cpuCores: 10 });
      const { host, placement } = await place({}, { strategy });
      expect(host.id).toBe(free.id);
      expect(placement.rejections).toEqual([{ filter: 'CAPACITY', hosts: 150 }]);
    },
  );

  test('spreads over a large fleet without counting all of it', async () => {
    await hostsWith(...Array.from({ length: 250 }, () => 0));
    const chosen = new Set<string>();
    const strategy = placements();
    for (let n = 0; n < 50; n++) {
      const { host, placement } = await database.transaction((tx) => strategy.reserve(tx, newRequest()));
      chosen.add(host.id);
      expect(placement).toMatchObject({ sampled: true });
      expect(placement.considered).toBeLessThan(250);
    }
    expect(chosen.size).toBe(50);
  });
});
