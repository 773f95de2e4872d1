import { createControl } from '@rookery/control/app.ts';
import { controlConfigSchema } from '@rookery/control/config.ts';
import { startEmbeddedPostgres } from '@rookery/control/database/embedded-postgres.ts';
import { inventorySchema, type Inventory } from '@rookery/control/fleet/sandboxes/sandbox.report.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { fillFleet } from './fleet-rows.ts';

/**
 * How long control takes to compare what all hosts have with what they should have, when all of them come back at once:
 * once with nothing changed, and once when all sandboxes had been declared missing, each of which is written with an
 * event. The peer goes sandbox by sandbox: it reads the row, changes it and writes an event, in one transaction.
 *
 *     node bench/reconcile.ts [--hosts 10000] [--sandboxes 100000] [--concurrency 256]
 */
const { values: options } = parseArgs({
  options: {
    hosts: { type: 'string', default: '10000' },
    sandboxes: { type: 'string', default: '100000' },
    concurrency: { type: 'string', default: '256' },
  },
});
const hosts = Number(options.hosts);
const sandboxes = Number(options.sandboxes);
const concurrency = Number(options.concurrency);

/** Hosts that the peer is asked for: it is too slow for all of them. */
const PEER_HOSTS = Math.min(hosts, 300);

interface Outcome {
  readonly name: string;
  readonly seconds: number;
  readonly sandboxesPerSecond: number;
  readonly longestBlockMs: number;
}

const directory = await mkdtemp(join(tmpdir(), 'rookery-bench-'));
try {
  await using postgres = await startEmbeddedPostgres(directory, silentLogger());
  await using control = await createControl({
    config: controlConfigSchema.parse({ ROOKERY_AGENT_PORT: '0', ROOKERY_ADMIN_PASSWORD: randomUUID() }),
    databaseUrl: postgres.url,
    serveSubgraphs: false,
    log: silentLogger(),
  });
  const pool = new pg.Pool({ connectionString: postgres.url, max: 10 });
  try {
    await fillFleet(pool, { hosts, sandboxes, replicaId: control.replicaId });
    let epoch = 0;
    const { convergence } = control.fleet.agentChannel;
    const reconcileAll = async (name: string): Promise<Outcome> => {
      const inventories = await readInventories(pool, (epoch += 1));
      return measure(name, sandboxes, inventories, ([hostId, inventory]) => convergence.reconcile(hostId, inventory));
    };
    await reconcileAll('warm-up');
    const unchanged = await reconcileAll('nothing changed');
    await loseAll(pool);
    const returned = await reconcileAll('all were missing and are back');
    await assertRunning(pool);
    await loseAll(pool);
    const some = [...(await readInventories(pool, (epoch += 1)))].slice(0, PEER_HOSTS);
    const share = some.reduce((sum, [, inventory]) => sum + inventory.sandboxes.length, 0);
    const peer = await measure('peer: row by row, all back', share, new Map(some), ([hostId, inventory]) =>
      restoreNaively(pool, hostId, inventory),
    );
    console.table([unchanged, returned, peer]);
    console.log(`ratio to the peer: ${(returned.sandboxesPerSecond / peer.sandboxesPerSecond).toFixed(1)}`);
  } finally {
    await pool.end();
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}

/** What each host would say it has: all of its sandboxes, running. */
async function readInventories(pool: pg.Pool, epoch: number): Promise<Map<string, Inventory>> {
  const { rows } = await pool.query<{ host: string; ids: string[] }>(
    'select h.id as host, array_remove(array_agg(s.id::text), null) as ids from hosts h left join sandboxes s on s.host_id = h.id group by h.id',
  );
  return new Map(
    rows.map(({ host, ids }) => [
      host,
      inventorySchema.parse({ epoch, sandboxes: ids.map((id) => ({ id, generation: 1, epoch, status: 'RUNNING' })) }),
    ]),
  );
}

async function loseAll(pool: pg.Pool): Promise<void> {
  await pool.query("update sandboxes set status = 'MISSING', status_before_missing = 'RUNNING'");
  await pool.query('vacuum analyze sandboxes');
}

async function assertRunning(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ n: string }>("select count(*) as n from sandboxes where status = 'RUNNING'");
  if (Number(rows[0]?.n) !== sandboxes) throw new Error(`${rows[0]?.n} of ${sandboxes} sandboxes are back`);
}

async function measure(
  name: string,
  count: number,
  inventories: ReadonlyMap<string, Inventory>,
  work: (entry: [string, Inventory]) => Promise<unknown>,
): Promise<Outcome> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const queue = inventories.entries();
  delay.enable();
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      for (const entry of queue) await work(entry);
    }),
  );
  const seconds = (performance.now() - startedAt) / 1_000;
  delay.disable();
  return {
    name,
    seconds: Number(seconds.toFixed(2)),
    sandboxesPerSecond: Math.round(count / seconds),
    longestBlockMs: Math.round(delay.max / 1e6),
  };
}

async function restoreNaively(pool: pg.Pool, hostId: string, inventory: Inventory): Promise<void> {
  for (const { id } of inventory.sandboxes) {
    const client = await pool.connect();
    try {
      await client.query('begin');
      const { rows } = await client.query<{ status: string }>('select * from sandboxes where id = $1 for update', [id]);
      if (rows[0]?.status === 'MISSING') {
        const { rows: changed } = await client.query(
          "update sandboxes set status = 'RUNNING', status_before_missing = null, revision = revision + 1 where id = $1 returning *",
          [id],
        );
        await client.query(
          `insert into events (subject, subject_id, change, revision, team_id, host_id, state, type, actor)
           values ('SANDBOX', $1, 'UPDATED', 1, null, $2, $3, 'naive', 'control')`,
          [id, hostId, JSON.stringify(changed[0])],
        );
      }
      await client.query('commit');
    } finally {
      client.release();
    }
  }
}
