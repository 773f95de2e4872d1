import { silentLogger } from '@rookery/wire/log.ts';
import { GraphQLError } from 'graphql';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql, type Kysely } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { formatResult } from '../kernel/subgraph.ts';
import { DATABASE_LIMITS } from './database-limits.ts';
import { isDatabaseOutage, openDatabase, type DatabaseConnection } from './database.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.ts';

const failureOf = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('a database that goes away', () => {
  let directory: string;
  let postgres: EmbeddedPostgres;
  let database: DatabaseConnection;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'rookery-outage-'));
    postgres = await startEmbeddedPostgres(directory, silentLogger());
    database = await openDatabase(postgres.url, silentLogger());
  });
  afterAll(async () => {
    await database[Symbol.asyncDispose]();
    await postgres[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  const select = () => sql`select 1`.execute(database.as<object>().query);

  test('leaves the process with all its connections when many transactions were cut', async () => {
    const killer = new pg.Client({ connectionString: postgres.url });
    await killer.connect();
    const cut = () =>
      database.as<object>().transaction(async (tx) => {
        const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx);
        await killer.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
        await sql`select 1`.execute(tx);
      });
    // More than the pool holds.
    for (let round = 0; round < 20; round++) expect(isDatabaseOutage(await failureOf(cut()))).toBe(true);
    await killer.end();
    expect((await select()).rows).toEqual([{ '?column?': 1 }]);
  });

  test('is an outage for a transaction that was cut and for all that come after; a mistake of ours is none', async () => {
    expect(isDatabaseOutage(await failureOf(sql`select nonsense`.execute(database.as<object>().query)))).toBe(false);
    const cut = failureOf(
      database.as<object>().transaction(async (tx) => {
        await postgres[Symbol.asyncDispose]();
        await sql`select 1`.execute(tx);
      }),
    );
    expect(isDatabaseOutage(await cut)).toBe(true);
    const refused = await failureOf(select());
    expect(isDatabaseOutage(refused)).toBe(true);

    const answer = formatResult(
      { errors: [new GraphQLError('x', { originalError: refused as Error })] },
      silentLogger(),
    );
    expect(answer.errors).toMatchObject([{ extensions: { code: 'UNAVAILABLE', retryable: true } }]);
    expect(JSON.stringify(answer)).not.toMatch(/ECONN|127\.0\.0\.1|incident/);
  });
});

describe('a database that hangs', () => {
  /** As short as a loaded machine allows: what is late here is late by the test's doing. */
  const limits = {
    ...DATABASE_LIMITS,
    connectMs: 2_000,
    lockMs: 500,
    statementMs: 2_000,
    answerMs: 3_000,
    probeMs: 500,
  };
  let directory: string;
  let postgres: EmbeddedPostgres;
  let database: DatabaseConnection;
  let other: pg.Client;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'rookery-hang-'));
    postgres = await startEmbeddedPostgres(directory, silentLogger());
    database = await openDatabase(postgres.url, silentLogger(), limits);
    other = new pg.Client({ connectionString: postgres.url });
    await other.connect();
    await other.query('create table things (id int primary key, n int)');
    await other.query('insert into things values (1, 0)');
  });
  afterAll(async () => {
    await other.end();
    await database[Symbol.asyncDispose]();
    await postgres[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  /** Workers of the server come and go. */
  const signal = (pids: readonly number[], name: NodeJS.Signals): void => {
    for (const pid of pids) {
      try {
        process.kill(pid, name);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
  };
  const db = () => database.as<object>();
  const increment = (tx: Kysely<object>) => sql`update things set n = n + 1 where id = 1`.execute(tx);
  const count = async () => (await other.query<{ n: number }>('select n from things')).rows[0]?.n;

  test('over a lock that somebody holds for ever is an outage, for the one that waits', async () => {
    await other.query('begin');
    await other.query('update things set n = n where id = 1');
    expect(isDatabaseOutage(await failureOf(db().transaction(increment)))).toBe(true);
    expect((await sql`select 1`.execute(db().query)).rows).toHaveLength(1);
    await other.query('rollback');
    await db().transaction(increment);
  });

  test('over one statement is an outage', async () => {
    expect(isDatabaseOutage(await failureOf(sql`select pg_sleep(60)`.execute(db().query)))).toBe(true);
  });

  test('does not keep a migration from waiting for its turn', async () => {
    await other.query('begin');
    await other.query('select pg_advisory_xact_lock(7665701)');
    const late = openDatabase(postgres.url, silentLogger(), limits);
    await vi.waitFor(
      async () => {
        await other.query('select pg_stat_clear_snapshot()');
        const { rows } = await other.query<{ waits: string }>(
          "select extract(epoch from clock_timestamp() - query_start) as waits from pg_stat_activity where wait_event = 'advisory'",
        );
        // Twice what anybody else may wait for a lock.
        expect(Number(rows[0]?.waits)).toBeGreaterThan(1);
      },
      { timeout: 15_000 },
    );
    await other.query('rollback');
    await (await late)[Symbol.asyncDispose]();
  });

  test('altogether is an outage in bounded time, and leaves no transaction half open', async () => {
    const before = (await count()) ?? Number.NaN;
    const { rows } = await other.query<{ pid: number }>(
      'select pid from pg_stat_activity where pid <> pg_backend_pid()',
    );
    const postmaster = Number((await readFile(join(directory, 'data', 'postmaster.pid'), 'utf8')).split('\n')[0]);
    const pids = [postmaster, ...rows.map(({ pid }) => pid)];
    const cut = failureOf(
      db().transaction(async (tx) => {
        const pid = (await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx)).rows[0]?.pid ?? 0;
        if (!pids.includes(pid)) pids.push(pid);
        await increment(tx);
        signal(pids, 'SIGSTOP');
        await increment(tx);
      }),
    );
    try {
      expect(isDatabaseOutage(await cut)).toBe(true);
      expect(await database.isUp()).toBe(false);
      // More than the pool holds: those wait for a connection.
      const failures = await Promise.all(Array.from({ length: 20 }, () => failureOf(db().transaction(increment))));
      expect(failures.map((failure) => isDatabaseOutage(failure))).toEqual(failures.map(() => true));
    } finally {
      signal(pids, 'SIGCONT');
    }
    await vi.waitFor(async () => expect(await database.isUp()).toBe(true), { timeout: 15_000 });
    await db().transaction(increment);
    expect(await count()).toBe(before + 1);
  });
});

test.each<[boolean, string, unknown]>([
  [true, 'a lock that is not to be had', { code: '55P03' }],
  [true, 'a statement that took too long', { code: '57014' }],
  [true, 'an answer that is overdue', new Error('Query read timeout')],
  [true, 'an administrator’s shutdown', { code: '57P01', message: 'terminating connection' }],
  [true, 'a crash', { code: '57P02' }],
  [true, 'a server that starts', { message: 'wrapped', cause: { code: '57P03' } }],
  [true, 'no connection left', { previous: { code: '53300' } }],
  [true, 'a refused connection to each of several addresses', { errors: [{ code: 'ECONNREFUSED' }] }],
  [true, 'a pool that got no connection', new Error('timeout exceeded when trying to connect')],
  [true, 'a connection that broke', new Error('Connection terminated unexpectedly')],
  [false, 'a row that is there already', { code: '23505', message: 'duplicate key' }],
  [false, 'a deadlock', { code: '40P01' }],
  [false, 'a mistake', new TypeError('undefined is not a function')],
  [false, 'nothing', undefined],
])('outage: %s for %s', (expected, _what, error) => {
  expect(isDatabaseOutage(error)).toBe(expected);
});

test('a ring of causes ends', () => {
  const ring: { cause?: unknown } = {};
  ring.cause = ring;
  expect(isDatabaseOutage(ring)).toBe(false);
});
