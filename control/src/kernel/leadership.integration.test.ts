import { silentLogger } from '@rookery/wire/log.ts';
import { sql } from 'kysely';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createTestDatabase } from '../../test/harness.ts';
import { openDatabase, type Database, type DatabaseConnection } from '../database/database.ts';
import { FencedOff, Leadership, type Term } from './leadership.ts';
import { LoopDriver } from './loops.ts';

/** How soon PostgreSQL notices a silent leader here, in ms; the leader shows itself every second. */
const SESSION_TIMEOUT_MS = 2_500;
const DEADLINE = { timeout: 20_000, interval: 50 };

let url: string;
let connection: DatabaseConnection;
let database: Database<object>;
let admin: pg.Client;
let running: AsyncDisposableStack;

beforeEach(async () => {
  running = new AsyncDisposableStack();
  url = await createTestDatabase();
  connection = running.use(await openDatabase(url, silentLogger()));
  database = connection.as<object>();
  admin = new pg.Client({ connectionString: url });
  await admin.connect();
  running.defer(() => admin.end());
  await admin.query(`create table verdicts as select 'nobody' as judge`);
});
afterEach(() => running.disposeAsync());

async function candidate(): Promise<Leadership> {
  const leadership = running.use(
    new Leadership({ url, replicaId: randomUUID(), log: silentLogger(), sessionTimeoutMs: SESSION_TIMEOUT_MS }),
  );
  await leadership.start();
  return leadership;
}

const leads = (leadership: Leadership): Promise<Term> =>
  vi.waitFor(() => {
    expect(leadership.term).toBeDefined();
    return leadership.term as Term;
  }, DEADLINE);

/** What PostgreSQL does to the session of a leader that it does not hear. */
const endSession = () =>
  admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rookery leader' and pid in
    (select pid from pg_locks where locktype = 'advisory' and granted)`);

const write = (term: Term, judge: string): Promise<void> =>
  database.transaction(async (tx) => {
    await term.fence(tx);
    await sql`update verdicts set judge = ${judge}`.execute(tx);
  });

const verdict = async () => (await admin.query<{ judge: string }>('select judge from verdicts')).rows[0]?.judge;

test('a lone process leads from its start, and of two only one does', async () => {
  const first = await candidate();
  expect(first.term).toMatchObject({ epoch: 1 });
  const second = await candidate();
  expect(second.term).toBeUndefined();
  await write(first.term as Term, 'first');
  expect(await verdict()).toBe('first');
});

test('when the leader ends, another takes over in a higher epoch', async () => {
  const first = await candidate();
  const second = await candidate();
  await first[Symbol.asyncDispose]();
  expect(await leads(second)).toMatchObject({ epoch: 2 });
});

describe('a judge that was overtaken', () => {
  test('cannot write what it had made up its mind about', async () => {
    const first = await candidate();
    const second = await candidate();
    const old = first.term as Term;
    await endSession();
    const term = await vi.waitFor(() => {
      const leader = [first, second].map((one) => one.term).find((one) => one && one.epoch > old.epoch);
      expect(leader).toBeDefined();
      return leader as Term;
    }, DEADLINE);
    await write(term, 'new');
    await expect(write(old, 'old')).rejects.toThrow(FencedOff);
    expect(await verdict()).toBe('new');
  });

  test('is waited for when it is in the middle of writing: two terms never write at once', async () => {
    const first = await candidate();
    const second = await candidate();
    const old = first.term as Term;
    await database.transaction(async (tx) => {
      await old.fence(tx);
      await first[Symbol.asyncDispose]();
      // The lock is free and the row is not: the second has begun to take over and waits.
      await vi.waitFor(async () => {
        const { rows } = await admin.query(
          `select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like 'insert into leadership%'`,
        );
        expect(rows).toHaveLength(1);
      }, DEADLINE);
      expect(second.term).toBeUndefined();
      await sql`update verdicts set judge = 'in time'`.execute(tx);
    });
    expect(await verdict()).toBe('in time');
    expect(await leads(second)).toMatchObject({ epoch: 2 });
  });

  test('because it was stopped (SIGSTOP) between judging and writing, writes nothing when it wakes up', async () => {
    const judge = spawn(
      process.execPath,
      [new URL('../../test/stopped-judge.ts', import.meta.url).pathname, url, randomUUID(), String(SESSION_TIMEOUT_MS)],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    running.defer(() => void judge.kill('SIGKILL'));
    let said = '';
    judge.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    await vi.waitFor(() => expect(said).toContain('judged in epoch 1'), DEADLINE);

    const other = await candidate();
    judge.kill('SIGSTOP');
    expect(other.term).toBeUndefined();
    // PostgreSQL itself takes the lock away from whoever says nothing.
    const term = await leads(other);
    expect(term).toMatchObject({ epoch: 2 });
    await write(term, 'the other');

    const exited = once(judge, 'exit');
    judge.stdin.write('write it now\n');
    judge.kill('SIGCONT');
    await vi.waitFor(() => expect(said).toContain('outcome: '), DEADLINE);
    expect(said).toContain('outcome: FencedOff');
    expect(await verdict()).toBe('the other');
    await exited;
  }, 60_000);
});

test('a leader whose database goes away leads again in a new epoch when it is back', async () => {
  const only = await candidate();
  await endSession();
  await vi.waitFor(() => expect(only.term?.epoch).toBe(2), DEADLINE);
});

test('a new leader begins its work at once, and a pass that is asked for waits for the one under way', async () => {
  const [first, second] = [await candidate(), await candidate()];
  const loops = running.use(new LoopDriver(silentLogger()));
  const epochs: number[] = [];
  const inside = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const run = second.judge(async ({ epoch }) => {
    inside.resolve();
    await held.promise;
    return epochs.push(epoch);
  });
  loops.add({ name: 'judge', description: '', periodMs: 3_600_000, run });
  await loops.nudge('judge');
  expect(loops.statuses()).toMatchObject([{ standsBy: true, runs: 0 }]);
  second.onElected(() => void loops.nudge('judge'));
  await first[Symbol.asyncDispose]();
  await inside.promise;
  const again = Promise.all([loops.nudge('judge'), loops.nudge('judge')]);
  expect(epochs).toEqual([]);
  held.resolve();
  await again;
  expect(epochs).toEqual([2, 2, 2]);
  expect(loops.statuses()).toMatchObject([{ standsBy: false, runs: 3 }]);
});

test('a loop of a judge stands by where another leads, and a judgement that comes too late is no error', async () => {
  const [first, second] = [await candidate(), await candidate()];
  const loops = running.use(new LoopDriver(silentLogger()));
  const periodMs = 10;
  loops.add({ name: 'a', description: '', periodMs, run: first.judge(async () => 7) });
  loops.add({ name: 'b', description: '', periodMs, run: second.judge(async () => 7) });
  const late = first.judge((term) => Promise.reject(new FencedOff(term.epoch)));
  await vi.waitFor(() => {
    const [a, b] = loops.statuses();
    expect(a).toMatchObject({ standsBy: false, lastCount: 7, lastError: null });
    expect(a?.runs).toBeGreaterThan(1);
    expect(b).toMatchObject({ standsBy: true, runs: 0, lastRunAt: null });
  }, DEADLINE);
  expect(await late()).toBeUndefined();
  await expect(first.judge(() => Promise.reject(new Error('a real one')))()).rejects.toThrow('a real one');
});
