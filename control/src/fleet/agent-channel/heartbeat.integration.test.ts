import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { insertHost, insertIdentity, startTestControl } from '../../../test/harness.ts';
import { heartbeat, newMachineKey, register } from '../../../test/scripted-agent.ts';
import type { Control } from '../../app.ts';
import { hostSpecsSchema } from '../hosts/host.specs.ts';
import type { FleetTables } from '../tables.ts';
import { reconnectSpreadMs } from './agent-channel.schema.ts';

const HOSTS = 400;

/** What a host of {@link insertHost} says of itself, so that describing it changes nothing. */
const SPECS = hostSpecsSchema.parse({
  hostname: 'h',
  arch: 'x86_64',
  os: 'Test 1',
  kernel: '6.1',
  cpuCores: 64,
  memoryMb: 262_144,
  diskGb: 1_024,
  agentVersion: '0.0.0-test',
  bootId: 'boot-1',
  runtime: { name: 'runc', version: '1.1.5' },
  conditions: [],
});

describe('heartbeats', () => {
  let control: Control;
  let hostIds: string[];
  const families = new Map<string, string>();
  const tables = () => control.database.as<FleetTables>().query;

  beforeAll(async () => {
    control = await startTestControl({ ROOKERY_HEARTBEAT_MS: 10_000 });
    hostIds = [];
    for (let host = 0; host < HOSTS; host++) {
      const { id } = await insertHost(control.database, {
        arch: 'x86_64',
        agentVersion: '0.0.0-test',
      });
      hostIds.push(id);
      families.set(id, await insertIdentity(control.database, id));
    }
    await tables()
      .insertInto('HostLease')
      .values(
        hostIds.map((hostId) => ({
          hostId,
          seenAt: new Date(0),
          load1: 0,
          memoryUsedMb: 0,
          diskUsedMb: 0,
          inventoryEpoch: 0,
        })),
      )
      .execute();
    // Once, so that what each host says of itself is known and beats write leases only.
    await Promise.all(hostIds.map(beat));
  }, 60_000);
  afterAll(async () => {
    await control[Symbol.asyncDispose]();
  });

  const beat = (hostId: string) =>
    control.fleet.agentChannel.heartbeats.beat(
      { hostId, familyId: families.get(hostId) ?? '', instance: 'a', load1: 1, memoryUsedMb: 2, diskUsedMb: 3 },
      SPECS,
    );

  it('that arrive together are written by few statements', async () => {
    await Promise.all(hostIds.map(beat));
    const { rows } = await sql<{ writers: number; secondsAgo: number }>`
      select count(distinct xmin::text)::int as writers, extract(epoch from now() - min(seen_at))::int as "secondsAgo" from host_leases
      where host_id = any(${hostIds}::uuid[])`.execute(tables());
    expect(rows[0]?.writers).toBeLessThanOrEqual(10);
    expect(rows[0]?.secondsAgo).toBeLessThan(30);
  });

  it('are acknowledged after they are committed, and not before', async () => {
    const [hostId = ''] = hostIds;
    const holder = new pg.Client({ connectionString: control.database.url });
    await holder.connect();
    try {
      await holder.query('begin');
      await holder.query('select 1 from host_leases where host_id = $1 for update', [hostId]);
      let acknowledged = false;
      const answer = beat(hostId).then(() => (acknowledged = true));
      // The statement is there, and waits for the row.
      await expect
        .poll(
          async () =>
            (await holder.query("select count(*)::int as n from pg_stat_activity where wait_event_type = 'Lock'"))
              .rows[0].n,
          { timeout: 10_000 },
        )
        .toBeGreaterThan(0);
      expect(acknowledged).toBe(false);
      await holder.query('commit');
      await answer;
      const { seenAt } = await tables()
        .selectFrom('HostLease')
        .select('seenAt')
        .where('hostId', '=', hostId)
        .executeTakeFirstOrThrow();
      expect(Date.now() - seenAt.getTime()).toBeLessThan(30_000);
    } finally {
      await holder.end();
    }
  });

  it('are answered with the next moment, spread around the interval, and with how to come back', async () => {
    const { registrationToken } = await control.fleet.services.hosts.createLocal('beating');
    const { result } = await register(control.agentUrl, registrationToken, await newMachineKey());
    const { accessToken } = (result.data as unknown as { registerHost: { accessToken: string } }).registerHost;
    const answers = await Promise.all(Array.from({ length: 40 }, () => heartbeat(control.agentUrl, accessToken)));
    const next = answers.map(
      ({ result: { data } }) =>
        (data as unknown as { heartbeat: { nextHeartbeatMs: number } }).heartbeat.nextHeartbeatMs,
    );
    expect(Math.min(...next)).toBeGreaterThanOrEqual(9_000);
    expect(Math.max(...next)).toBeLessThanOrEqual(11_000);
    expect(new Set(next).size).toBeGreaterThan(20);
  });

  it.each([
    [0, 90_000, 500],
    [100, 90_000, 500],
    [5_000, 90_000, 25_000],
    [10_000, 90_000, 30_000],
    [1_000_000, 90_000, 30_000],
    [1_000, 6_000, 2_000],
    [10, 900, 300],
  ])('of %d hosts whose lease is %d ms ask them to come back within %d ms', (hosts, leaseMs, spreadMs) => {
    expect(reconnectSpreadMs(hosts, leaseMs)).toBe(spreadMs);
  });
});
