import { startEmbeddedPostgres } from '@rookery/control/database/embedded-postgres.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';

/**
 * A fleet of simulated hosts on control processes of their own, over real sockets: what it costs while nothing happens,
 * and how it comes back when control is killed and started again.
 *
 *     node bench/fleet.ts [--hosts 1000] [--replicas 1] [--seconds 60] [--away 5]
 *
 * Each host holds two sockets, so a control process and a simulation that may open 20,000 files carry some 9,500 hosts;
 * with `--replicas 2` half of the hosts go to each of two control processes, from a simulation of their own.
 */
const { values } = parseArgs({
  options: {
    hosts: { type: 'string', default: '1000' },
    replicas: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '60' },
    away: { type: 'string', default: '5' },
  },
});
const hosts = Number(values.hosts);
const replicas = Number(values.replicas);
const idleSeconds = Number(values.seconds);
const awayMs = Number(values.away) * 1_000;

const ROOT = join(import.meta.dirname, '..');
const PASSWORD = randomUUID();
const SECRET = randomUUID();
const CLOCK_TICKS = 100;

const children: ChildProcess[] = [];
const directory = await mkdtemp(join(tmpdir(), 'rookery-bench-'));
try {
  await using postgres = await startEmbeddedPostgres(directory, silentLogger());
  const pool = new pg.Pool({ connectionString: postgres.url, max: 2 });
  pool.on('error', () => {});
  try {
    await run(postgres.url, pool);
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await pool.end();
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}

async function run(databaseUrl: string, pool: pg.Pool): Promise<void> {
  const ports = await Promise.all(
    Array.from({ length: replicas }, async () => ({ agents: await freePort(), subgraphs: await freePort() })),
  );
  const startControls = (): ChildProcess[] =>
    ports.map(({ agents, subgraphs }) =>
      start('control/src/main.ts', [], {
        DATABASE_URL: databaseUrl,
        ROOKERY_ADMIN_PASSWORD: PASSWORD,
        ROOKERY_AGENT_PORT: String(agents),
        ROOKERY_SUBGRAPH_PORT: String(subgraphs),
        ROOKERY_ACCESS_TOKEN_SECONDS: '86400',
        ROOKERY_GATEWAY_SECRET: SECRET,
      }),
    );
  const controls = startControls();
  const port = await freePort();
  start('gateway/src/main.ts', [], {
    ROOKERY_PORT: String(port),
    ROOKERY_CONTROL_URL: `http://127.0.0.1:${ports[0]?.subgraphs}`,
    ROOKERY_GATEWAY_SECRET: SECRET,
    ROOKERY_REQUESTS_PER_VIEWER: '0',
    ROOKERY_REQUESTS_PER_ADDRESS: '0',
  });
  const url = `http://127.0.0.1:${port}`;
  await until('the gateway answers', async () => (await fetch(`${url}/readyz`)).ok);
  await writeFile(join(directory, 'token'), await signIn(url), { mode: 0o600 });

  const joinedFrom = performance.now();
  const share = Math.ceil(hosts / replicas);
  const simulations = ports.map(({ agents }, index) => {
    const first = index * share;
    return start(
      'agent/src/main.ts',
      [
        'simulate',
        ...['--hosts', String(Math.min(share, hosts - first)), '--first', String(first + 1), '--url', url],
        ...['--agent-url', `http://127.0.0.1:${agents}`, '--token-file', join(directory, 'token')],
        ...['--state-dir', join(directory, `simulated-${index}`)],
      ],
      {},
    );
  });
  await until('all hosts are online', async () => (await placeable(pool)) === hosts, 3_600_000);
  const joinSeconds = (performance.now() - joinedFrom) / 1_000;
  console.log(`${hosts} hosts joined in ${joinSeconds.toFixed(0)} s (${(hosts / joinSeconds).toFixed(0)}/s)`);

  await sleep(20_000);
  const before = await Promise.all(controls.map(cpuSeconds));
  await sleep(idleSeconds * 1_000);
  const after = await Promise.all(controls.map(cpuSeconds));
  const used = after.map((seconds, index) => (seconds - (before[index] ?? 0)) / idleSeconds);
  const memory = await Promise.all(controls.map(residentMiB));

  for (const control of controls) control.kill('SIGKILL');
  await Promise.all(controls.map((control) => once(control, 'exit')));
  await sleep(awayMs);
  const returned = startControls();
  const spent = async () => ({
    simulations: sum(await Promise.all(simulations.map(cpuSeconds))),
    postgres: await postgresCpuSeconds(),
  });
  const spentBefore = await spent();
  const { rows } = await pool.query<{ now: Date }>('select now()');
  const startedAt = performance.now();
  const back: number[] = [];
  await until(
    'all hosts are back',
    async () => {
      const { rows: heard } = await pool.query<{ n: string }>(
        'select count(*) as n from host_leases where seen_at > $1',
        [rows[0]?.now],
      );
      back.push(Number(heard[0]?.n ?? 0));
      return back.at(-1) === hosts;
    },
    600_000,
    250,
  );
  const heardMs = performance.now() - startedAt;
  await until('all hosts are placeable', async () => (await placeable(pool)) === hosts, 600_000);
  const placeableMs = performance.now() - startedAt;
  const spentAfter = await spent();
  const inPercent = (cpu: number): string => `${((cpu / placeableMs) * 100_000).toFixed(0)} %`;
  const perSecond = back.map((n, index) => n - (back[index - 4] ?? 0));
  const { rows: lost } = await pool.query("select 1 from events where type = 'host.unreachable'");
  console.table({
    'control’s share of a core, idle': used.map((share) => `${(share * 100).toFixed(1)} %`).join(', '),
    'resident memory of control': memory.map((mib) => `${mib.toFixed(0)} MiB`).join(', '),
    'all heard again after its start': `${(heardMs / 1_000).toFixed(1)} s`,
    'all placeable again': `${(placeableMs / 1_000).toFixed(1)} s`,
    'most that were heard in one second': Math.max(...perSecond),
    'of a core meanwhile: control': inPercent(sum(await Promise.all(returned.map(cpuSeconds)))),
    'of a core meanwhile: simulation': inPercent(spentAfter.simulations - spentBefore.simulations),
    'of a core meanwhile: PostgreSQL': inPercent(spentAfter.postgres - spentBefore.postgres),
    'declared lost': lost.length,
  });
}

function start(program: string, args: readonly string[], env: Readonly<Record<string, string>>): ChildProcess {
  const child = spawn(process.execPath, [program, ...args], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'] ?? '', HOME: directory, ROOKERY_LOG_LEVEL: 'error', ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  children.push(child);
  return child;
}

/** Hosts that control hears and reaches. */
async function placeable(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ n: string }>(
    `select count(*) as n from hosts join replicas on replicas.id = hosts.tunnel_replica
     where status = 'ONLINE' and replicas.seen_at > now() - interval '10 s'`,
  );
  return Number(rows[0]?.n ?? 0);
}

async function signIn(url: string): Promise<string> {
  const query = `mutation ($input: SignInInput!) { signIn(input: $input) { ... on SignedIn { token } } }`;
  const input = { email: 'admin@rookery.local', password: PASSWORD };
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables: { input } }),
  });
  const { data } = (await response.json()) as { data: { signIn: { token: string } } };
  return data.signIn.token;
}

/** Processor time of a process so far, user and system, in seconds. */
async function cpuSeconds({ pid }: { readonly pid?: number | string | undefined }): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS;
}

/** The same of all processes of the database. */
async function postgresCpuSeconds(): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const ours = await Promise.all(
    pids.map(async (pid) => (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).startsWith('postgres')),
  );
  return sum(
    await Promise.all(pids.filter((_, index) => ours[index]).map((pid) => cpuSeconds({ pid }).catch(() => 0))),
  );
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}

async function residentMiB({ pid }: ChildProcess): Promise<number> {
  return Number(/^VmRSS:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1_024;
}

async function until(what: string, isSo: () => Promise<boolean>, timeoutMs = 60_000, intervalMs = 250): Promise<void> {
  for (const end = performance.now() + timeoutMs; performance.now() < end; await sleep(intervalMs))
    if (await isSo().catch(() => false)) return;
  throw new Error(`it took too long until ${what}`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
