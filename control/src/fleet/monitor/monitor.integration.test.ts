import { parse } from 'graphql';
import { sql as sqlOf } from 'kysely';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createTestDatabase, insertHost, newAdmin, newMember, startTestControl } from '../../../test/harness.ts';
import { ScriptedAgent } from '../../../test/scripted-agent.ts';
import type { Control } from '../../app.ts';
import type { FleetTables } from '../tables.ts';
import { executeOnSubgraph } from '../../kernel/subgraph.ts';
import { LEADER_LOCK } from '../../kernel/leadership.ts';
import type { Viewer } from '../../kernel/viewer.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { randomUUID } from 'node:crypto';

/**
 * A busy machine that stands still for a second looks like one that stalls: the monitor then listens anew, which is
 * right and may happen in every test here.
 */
const LEASE_MS = 3_001;
const DEADLINE = { timeout: 30_000, interval: 50 };

const HEALTH = `{ fleetHealth {
  state reason message since checkedAt heardHosts silentHosts lostHosts unreachableHosts orphans
  replicas { id isLeader startedAt seenAt loops { name description periodMs standsBy runs lastRunAt lastDurationMs lastCount lastError } }
} }`;

let control: Control;
let sql: pg.Client;
let beating: NodeJS.Timeout[] = [];

beforeEach(async () => {
  control = await startTestControl({ ROOKERY_UNREACHABLE_AFTER_MS: LEASE_MS });
  sql = new pg.Client({ connectionString: control.database.url });
  await sql.connect();
});
afterEach(async () => {
  beating.forEach(clearInterval);
  beating = [];
  await sql.end();
  await control[Symbol.asyncDispose]();
});

interface Health {
  readonly state: string;
  readonly reason: string | null;
  readonly message: string;
  readonly checkedAt: string;
  readonly silentHosts: number;
  readonly replicas: readonly {
    id: string;
    isLeader: boolean;
    loops: { name: string; runs: number; lastError: string | null }[];
  }[];
}

async function ask(viewer: Viewer | null, query = HEALTH) {
  const { subgraph } = control.fleet;
  return executeOnSubgraph(subgraph, { document: parse(query) }, {}, () => Promise.resolve(viewer), silentLogger());
}

async function health(): Promise<Health | null> {
  const { data, errors } = (await ask(newAdmin())) as { data?: { fleetHealth: Health | null }; errors?: unknown };
  expect(errors).toBeUndefined();
  return data?.fleetHealth ?? null;
}

const healthIs = (expected: object) => vi.waitFor(async () => expect(await health()).toMatchObject(expected), DEADLINE);

/** The reason why it listens: that it should, or that this machine stood still since. */
const because = (reason: string): string => expect.stringMatching(`^(${reason}|CONTROL_STALLED)$`) as string;

/** Hosts that were last heard so long ago. */
async function hosts(count: number, seenAgoMs: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const { id } = await insertHost(control.database);
    await sql.query(
      `insert into host_leases (host_id, seen_at, load1, memory_used_mb, disk_used_mb, inventory_epoch)
       values ($1, now() - $2 * interval '1 ms', 0, 0, 0, 0)`,
      [id, seenAgoMs],
    );
    ids.push(id);
  }
  return ids;
}

/** They beat from now on, as long as the test runs. */
async function keepHearing(ids: readonly string[]): Promise<void> {
  const beat = () =>
    control.database
      .as<FleetTables>()
      .query.updateTable('HostLease')
      .set({ seenAt: sqlOf<Date>`now()` })
      .where('hostId', 'in', ids)
      .execute();
  await beat();
  beating.push(setInterval(() => void beat(), LEASE_MS / 10));
}

const statuses = async (ids: readonly string[]) =>
  (await sql.query<{ status: string }>('select status from hosts where id = any($1)', [ids])).rows.map(
    ({ status }) => status,
  );

describe('the monitor of a control process', () => {
  test('listens for a full lease after its start, and then declares lost who has said nothing', async () => {
    const [lost = ''] = await hosts(1, 3_600_000);
    await healthIs({ state: 'OBSERVING', reason: because('CONTROL_STARTED'), silentHosts: 1 });
    expect(await statuses([lost])).toEqual(['ONLINE']);
    await healthIs({ state: 'NORMAL', reason: null, unreachableHosts: 1, silentHosts: 0 });
    expect(await statuses([lost])).toEqual(['UNREACHABLE']);
  });

  test('freezes when most fall silent, says so live, and judges nobody until they have had a full lease again', async () => {
    const stream = (await ask(
      newAdmin(),
      'subscription { fleetHealthChanged { kind fleetHealth { state reason message } } }',
    )) as AsyncIterableIterator<{ data: { fleetHealthChanged: { fleetHealth: { state: string } } } }>;
    const heard: string[] = [];
    const listening = (async () => {
      for await (const { data } of stream) heard.push(data.fleetHealthChanged.fleetHealth.state);
    })();
    const alive = await hosts(4, 0);
    const silent = await hosts(6, 3_600_000);
    await keepHearing(alive);
    await healthIs({ state: 'FROZEN', reason: 'MASS_SILENCE', silentHosts: 6, heardHosts: 4 });
    expect((await health())?.message).toMatch(/^6 of 10 hosts are silent\. The fault is probably on our side/);
    expect(await statuses(silent)).toEqual(silent.map(() => 'ONLINE'));

    await keepHearing(silent.slice(1));
    await healthIs({ state: 'OBSERVING', reason: because('HOSTS_RETURNING') });
    await healthIs({ state: 'NORMAL', unreachableHosts: 1 });
    expect(await statuses(silent.slice(0, 1))).toEqual(['UNREACHABLE']);
    expect(await statuses(silent.slice(1))).toEqual(silent.slice(1).map(() => 'ONLINE'));
    await vi.waitFor(() => expect(heard).toContain('NORMAL'), DEADLINE);
    await stream.return?.();
    await listening;
    const judged = heard.filter((state) => state !== 'OBSERVING');
    const withoutRepeats = judged.filter((state, index) => state !== judged[index - 1]);
    expect(withoutRepeats).toEqual(['FROZEN', 'NORMAL']);
    expect(heard.slice(heard.indexOf('FROZEN'), heard.lastIndexOf('NORMAL'))).toContain('OBSERVING');
  }, 60_000);

  test('slows down when many fall silent: a few at a time', async () => {
    await keepHearing(await hosts(7, 0));
    const silent = await hosts(3, 3_600_000);
    await healthIs({ state: 'SLOWED', reason: 'MASS_SILENCE' });
    await vi.waitFor(async () => {
      const lost = (await statuses(silent)).filter((status) => status === 'UNREACHABLE');
      expect(lost).toHaveLength(3);
    }, DEADLINE);
    // One host in each pass, so there were at least three passes that found something.
    const { rows } = await sql.query(`select distinct at from events where type = 'host.unreachable'`);
    expect(rows).toHaveLength(3);
  });

  test('listens for a full lease when the leadership was lost and won again', async () => {
    await healthIs({ state: 'NORMAL' });
    await sql.query(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rookery leader'
      and datname = current_database()`);
    await healthIs({ state: 'OBSERVING', reason: because('LEADER_CHANGED') });
  });
});

describe('the health of the fleet', () => {
  test('tells platform admins how every loop went, and which process judges', async () => {
    await vi.waitFor(async () => {
      const answer = await health();
      expect(answer?.replicas).toMatchObject([{ id: control.replicaId, isLeader: true }]);
      const loops = answer?.replicas[0]?.loops ?? [];
      expect(loops.map(({ name }) => name)).toEqual(
        expect.arrayContaining(['host-monitor', 'convergence', 'orphans', 'tunnel-cleaner', 'host-deletion']),
      );
      const monitor = loops.find(({ name }) => name === 'host-monitor');
      expect(monitor?.runs).toBeGreaterThan(0);
      expect(monitor).toMatchObject({ standsBy: false, lastError: null });
    }, DEADLINE);
  });

  test('is known to everybody who is signed in, its evidence to platform admins only', async () => {
    await healthIs({ state: 'OBSERVING' });
    for (const viewer of [newMember(randomUUID(), 'OWNER'), newMember(randomUUID())])
      expect(await ask(viewer)).toEqual({
        data: {
          fleetHealth: {
            state: 'OBSERVING',
            reason: because('CONTROL_STARTED'),
            message: expect.stringMatching(/control has just started|control was not running for a moment/),
            since: expect.anything(),
            checkedAt: expect.anything(),
            heardHosts: null,
            silentHosts: null,
            lostHosts: null,
            unreachableHosts: null,
            orphans: null,
            replicas: null,
          },
        },
      });
    expect(await ask(null)).toMatchObject({ errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] });
    expect(await ask(null, 'subscription { fleetHealthChanged { kind } }')).toMatchObject({
      errors: [{ extensions: { code: 'UNAUTHENTICATED' } }],
    });
    const changes = (await ask(
      newMember(randomUUID()),
      'subscription { fleetHealthChanged { fleetHealth { state heardHosts replicas { id } } } }',
    )) as AsyncIterableIterator<unknown>;
    expect((await changes.next()).value).toEqual({
      data: { fleetHealthChanged: { fleetHealth: { state: expect.any(String), heardHosts: null, replicas: null } } },
    });
    await changes.return?.();
  });

  test('is that of this process as soon as it answers', async () => {
    expect(await health()).toMatchObject({ state: 'OBSERVING' });
  });

  test('is unknown when nobody has looked for some time, by the database’s clock', async () => {
    const url = await createTestDatabase();
    const before = await startTestControl({}, url);
    await before[Symbol.asyncDispose]();
    const other = new pg.Client({ connectionString: url });
    await other.connect();
    // Somebody else leads, and does not judge.
    await other.query('select pg_advisory_lock($1)', [LEADER_LOCK]);
    await using standby = await startTestControl({}, url);
    const seen = (ageMs: number, state: string) =>
      other.query(`update fleet_health set checked_at = now() - $1 * interval '1 ms', state = $2, reason = null`, [
        ageMs,
        state,
      ]);
    const read = () => standby.fleet.services.health.read(newAdmin());
    await seen(0, 'NORMAL');
    expect(await read()).toMatchObject({ state: 'NORMAL' });
    await seen(60_000, 'NORMAL');
    const stale = await read();
    expect(stale).toMatchObject({ state: 'UNKNOWN', reason: null, since: stale?.checkedAt });
    const { subgraph } = standby.fleet;
    const document = parse('{ fleetHealth { state reason message } }');
    const answer = await executeOnSubgraph(subgraph, { document }, {}, async () => newAdmin(), silentLogger());
    expect(answer).toEqual({
      data: { fleetHealth: { state: 'UNKNOWN', reason: null, message: expect.stringMatching(/^Nobody has looked/) } },
    });
    await other.end();
  });

  test('names the loop that failed, and why', async () => {
    await healthIs({ state: 'OBSERVING' });
    await sql.query('alter table host_leases rename to gone');
    await vi.waitFor(async () => {
      const loops = (await health())?.replicas[0]?.loops ?? [];
      expect(loops.find(({ name }) => name === 'host-monitor')?.lastError).toMatch(/host_leases/);
    }, DEADLINE);
  });
});

test('nothing is placed on a host within a second of its socket closing', async () => {
  const { registrationToken } = await control.fleet.services.hosts.createLocal('scripted');
  await using agent = await ScriptedAgent.join(control.agentUrl, registrationToken);
  const { rows } = await sql.query<{ id: string }>('select id from teams limit 1');
  const create = () => control.fleet.services.sandboxes.create(newAdmin(), { teamId: rows[0]?.id });
  await vi.waitFor(() => create(), DEADLINE);
  agent.hangUp();
  const closedAt = performance.now();
  await vi.waitFor(
    () => expect(create()).rejects.toMatchObject({ rejections: [{ filter: 'TUNNEL', hosts: 1 }] }),
    DEADLINE,
  );
  expect(performance.now() - closedAt).toBeLessThan(1_000);
  // The lease still stands: it is the socket that tells.
  expect(await control.fleet.services.hosts.findForControl(agent.hostId)).toMatchObject({ status: 'ONLINE' });
});
