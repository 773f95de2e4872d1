import { silentLogger } from '@rookery/wire/log.ts';
import { GraphQLError } from 'graphql';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatResult } from '../kernel/subgraph.ts';
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

test.each<[boolean, string, unknown]>([
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
