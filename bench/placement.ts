import { createControl, type Control } from '@rookery/control/app.ts';
import { controlConfigSchema } from '@rookery/control/config.ts';
import { startEmbeddedPostgres } from '@rookery/control/database/embedded-postgres.ts';
import type { Viewer } from '@rookery/control/kernel/viewer.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { fillFleet } from './fleet-rows.ts';

/**
 * Placements a second, with everything a create commits (reservation, sandbox, events), against a peer
 * that does the same by reading, choosing and writing in a SERIALIZABLE transaction and trying again
 * when PostgreSQL says so. Both on the same PostgreSQL, in turns, in one run.
 *
 *     node bench/placement.ts [--hosts 10000] [--sandboxes 100000] [--seconds 10] [--concurrency 12]
 */
const { values: options } = parseArgs({
  options: {
    hosts: { type: 'string', default: '10000' },
    sandboxes: { type: 'string', default: '100000' },
    seconds: { type: 'string', default: '10' },
    concurrency: { type: 'string', default: '12' },
    strategy: { type: 'string', default: 'round-robin' },
  },
});
const hosts = Number(options.hosts);
const sandboxes = Number(options.sandboxes);
const seconds = Number(options.seconds);
const concurrency = Number(options.concurrency);

/** What each placement asks for: small, so that the fleet does not fill up. */
const SIZE = { vcpus: 0.1, memoryMb: 64, diskMb: 64 } as const;

/** Who creates all of them: one person, or one program with one key. */
const CREATOR = randomUUID();

interface Outcome {
  readonly name: string;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly retries: number;
  /** Time on a processor for each, of this process and of PostgreSQL: what stays the same on a busy machine. */
  readonly cpuMs: number;
}

/** Process id of the PostgreSQL server, whose children the connections are. */
let server = '';

const directory = await mkdtemp(join(tmpdir(), 'rookery-bench-'));
try {
  await using postgres = await startEmbeddedPostgres(directory, silentLogger());
  await using control = await createControl({
    config: controlConfigSchema.parse({
      ROOKERY_AGENT_PORT: '0',
      ROOKERY_ADMIN_PASSWORD: randomUUID(),
      ROOKERY_PLACEMENT_STRATEGY: options.strategy,
    }),
    databaseUrl: postgres.url,
    serveSubgraphs: false,
    log: silentLogger(),
  });
  const pool = new pg.Pool({ connectionString: postgres.url, max: concurrency });
  try {
    server = await serverPid(pool);
    const teamId = await fillFleet(pool, { hosts, sandboxes, replicaId: control.replicaId });
    console.log(`${hosts} hosts, ${sandboxes} sandboxes, ${concurrency} at a time, ${seconds} s each`);
    const ours = await measure('Rookery', () => create(control, teamId));
    const peer = await measure('SERIALIZABLE peer', () => placeNaively(pool, teamId));
    const again = await measure('Rookery, again', () => create(control, teamId));
    await verify(pool);
    console.table([ours, peer, again]);
    console.log(`ratio to the peer: ${((ours.perSecond + again.perSecond) / 2 / peer.perSecond).toFixed(1)}`);
  } finally {
    await pool.end();
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}

async function create(control: Control, teamId: string): Promise<number> {
  const admin: Viewer = {
    kind: 'USER',
    id: CREATOR,
    label: 'bench',
    sessionId: CREATOR,
    isAdmin: false,
    roles: new Map([[teamId, 'MEMBER']]),
  };
  await control.fleet.services.sandboxes.create(admin, { teamId, ...SIZE, idempotencyKey: randomUUID() });
  return 0;
}

/** Read, choose, write; again when somebody else has chosen the same. @returns how often again. */
async function placeNaively(pool: pg.Pool, teamId: string): Promise<number> {
  const client = await pool.connect();
  try {
    for (let retries = 0; ; retries++) {
      try {
        await client.query('begin isolation level serializable');
        const { rows } = await client.query<{ id: string }>(
          `select id from hosts where deleted_at is null and status = 'ONLINE' and tunnel_replica is not null
             and cordoned_at is null and deleting_at is null and (kind = 'PLATFORM' or team_id = $1)
             and allocated_milli_vcpus + 100 <= cpu_cores * 1000 and allocated_memory_mb + 64 <= memory_mb
             and allocated_disk_mb + 64 <= disk_gb * 1024
           order by last_placement, id limit 1`,
          [teamId],
        );
        const hostId = rows[0]?.id;
        const {
          rows: [host],
        } = await client.query<{ id: string }>(
          `update hosts set allocated_sandboxes = allocated_sandboxes + 1,
             allocated_milli_vcpus = allocated_milli_vcpus + 100, allocated_memory_mb = allocated_memory_mb + 64,
             allocated_disk_mb = allocated_disk_mb + 64, revision = revision + 1,
             last_placement = (extract(epoch from clock_timestamp()) * 1000000)::bigint
           where id = $1 returning *`,
          [hostId],
        );
        const {
          rows: [sandbox],
        } = await client.query<{ id: string }>(
          `insert into sandboxes (id, name, team_id, host_id, template, milli_vcpus, memory_mb, disk_mb, labels,
             desired_state, status, placement, request_hash, idempotency_key)
           values (gen_random_uuid(), 'naive', $1, $2, 'host', 100, 64, 64, '[]', 'RUNNING', 'PENDING', '{}', '', $3)
           returning *`,
          [teamId, hostId, randomUUID()],
        );
        for (const [subject, row] of [
          ['HOST', host],
          ['SANDBOX', sandbox],
        ] as const) {
          await client.query(
            `insert into events (subject, subject_id, change, revision, team_id, host_id, state, type, actor)
             values ($1, $2, 'UPDATED', 1, $3, $4, $5, 'naive', 'control')`,
            [subject, row?.id, teamId, hostId, JSON.stringify(row)],
          );
        }
        await client.query('commit');
        return retries;
      } catch (error) {
        await client.query('rollback');
        const { code } = error as { code?: string };
        if (code !== '40001' && code !== '40P01') throw error;
      }
    }
  } finally {
    client.release();
  }
}

/** Runs a workload for the given time at the given concurrency, after a warm-up. */
async function measure(name: string, once: () => Promise<number>): Promise<Outcome> {
  const run = async (ms: number): Promise<{ latencies: number[]; retries: number }> => {
    const latencies: number[] = [];
    let retries = 0;
    const end = performance.now() + ms;
    await Promise.all(
      Array.from({ length: concurrency }, async () => {
        while (performance.now() < end) {
          const startedAt = performance.now();
          retries += await once();
          latencies.push(performance.now() - startedAt);
        }
      }),
    );
    return { latencies, retries };
  };
  await run(2_000);
  const startedAt = performance.now();
  const cpuBefore = cpuTimeMs();
  const { latencies, retries } = await run(seconds * 1_000);
  const cpuMs = Number(((cpuTimeMs() - cpuBefore) / latencies.length).toFixed(2));
  const tookSeconds = (performance.now() - startedAt) / 1_000;
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => Number((latencies[Math.floor(latencies.length * share)] ?? 0).toFixed(1));
  return {
    name,
    perSecond: Math.round(latencies.length / tookSeconds),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    retries,
    cpuMs,
  };
}

async function serverPid(pool: pg.Pool): Promise<string> {
  const { rows } = await pool.query<{ pid: number }>('select pg_backend_pid() as pid');
  const stat = readFileSync(`/proc/${rows[0]?.pid}/stat`, 'utf8');
  return stat.replace(/^.*\) /, '').split(' ')[1] ?? '';
}

/** Of this process, and of the PostgreSQL server and its connections that are open. */
function cpuTimeMs(): number {
  const { user, system } = process.cpuUsage();
  let ticks = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      // After the name in parentheses: state, parent, …; user and system time are the 12th and 13th.
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /, '')
        .split(' ');
      if (pid === server || fields[1] === server) ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It has ended meanwhile.
    }
  }
  return (user + system) / 1_000 + ticks * 10;
}

/** @throws when a host is overbooked, or its books differ from its sandboxes. */
async function verify(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query(
    `select h.id from hosts h left join (
       select host_id, count(*)::int as n, sum(milli_vcpus) as cpu, sum(memory_mb) as memory, sum(disk_mb) as disk
       from sandboxes where holds_reservation group by host_id
     ) s on s.host_id = h.id
     where h.allocated_sandboxes <> coalesce(s.n, 0) or h.allocated_milli_vcpus <> coalesce(s.cpu, 0)
       or h.allocated_memory_mb <> coalesce(s.memory, 0) or h.allocated_disk_mb <> coalesce(s.disk, 0)
       or h.allocated_milli_vcpus > h.cpu_cores * 1000 or h.allocated_memory_mb > h.memory_mb
       or h.allocated_disk_mb > h.disk_gb * 1024`,
  );
  if (rows.length > 0) throw new Error(`${rows.length} hosts are overbooked, or their books are wrong`);
  console.log('No host is overbooked, and all books are right.');
}
