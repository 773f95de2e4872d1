import { MikroORM } from '@mikro-orm/postgresql';
import { StartupError } from '@rookery/wire/errors.ts';
import type { Logger } from '@rookery/wire/log.ts';
import type { Kysely } from 'kysely';
import { ormConfig } from '../orm.ts';
import { DATABASE_LIMITS, type DatabaseLimits } from './database-limits.ts';
import { NamingPlugin } from './naming-plugin.ts';

/** Names in queries are those of the entities and their properties, so that rows read like entities. */
export const QUERY_OPTIONS = {
  tableNamingStrategy: 'entity',
  columnNamingStrategy: 'property',
  convertValues: true,
} as const;

/**
 * The database as one subgraph sees it: typed queries over its own tables, and transactions.
 *
 * @typeParam Tables what `InferKyselyDB` makes of the subgraph's entities.
 */
export interface Database<Tables> {
  /** Queries outside a transaction; each statement is on its own. */
  readonly query: Kysely<Tables>;
  /** Runs `work` in one READ COMMITTED transaction; a throw rolls it back. */
  transaction<T>(work: (tx: Kysely<Tables>) => Promise<T>): Promise<T>;
}

/** A connection pool with the ORM on top. */
export interface DatabaseConnection extends AsyncDisposable {
  readonly orm: MikroORM;
  /** For clients that need a connection of their own (`LISTEN`). */
  readonly url: string;
  /** The same pool, seen as the tables of one subgraph. */
  as<Tables>(): Database<Tables>;
  /** Whether a trivial query succeeds right now. */
  isUp(): Promise<boolean>;
}

/**
 * Brings the schema up to date and connects. Replicas that start together take turns: migrations
 * run under an advisory lock, and without limits, because one may take long on a large table.
 *
 * @throws {StartupError} when the database cannot be reached or migrated, in one sentence.
 */
export async function openDatabase(
  url: string,
  log: Logger,
  limits: DatabaseLimits = DATABASE_LIMITS,
): Promise<DatabaseConnection> {
  const unlimited = await connect(url);
  try {
    await migrate(unlimited, log);
  } catch (cause) {
    throw new StartupError(`The database could not be migrated: ${(cause as Error).message}.`, { cause });
  } finally {
    await unlimited.close(true);
  }
  const orm = new MikroORM(ormConfig(url, limits));
  await orm.connect();
  const noMoreConnections = guardConnections(await nativePool(orm));
  const em = orm.em.fork();
  const query = em.getKysely<unknown>().withPlugin(new NamingPlugin(em, QUERY_OPTIONS));
  const database: Database<unknown> = { query, transaction: (work) => inTransaction(query, work) };
  return {
    orm,
    url,
    as: <Tables>() => database as unknown as Database<Tables>,
    isUp: () => within(limits.probeMs, orm.isConnected()),
    async [Symbol.asyncDispose]() {
      await noMoreConnections();
      await orm.close(true);
    },
  };
}

/** What of `pg`'s pool is used here. */
interface ConnectingPool {
  connect(...args: unknown[]): Promise<unknown>;
}

const nativePool = (orm: MikroORM): Promise<ConnectingPool> =>
  (orm.driver.getConnection() as unknown as { getNativeClient(): Promise<ConnectingPool> }).getNativeClient();

/**
 * Kysely loses a connection that is still being made when its driver is destroyed, and the pool would wait for that one
 * for ever. So those under way are waited for before anything is closed, and nobody gets a new one.
 *
 * @returns what to call before closing.
 */
function guardConnections(pool: ConnectingPool): () => Promise<void> {
  const underWay = new Set<Promise<unknown>>();
  const connect = pool.connect.bind(pool);
  let isClosing = false;
  pool.connect = (...args) => {
    if (isClosing) return Promise.reject(new Error('Cannot use a pool after calling end on the pool'));
    const connecting = connect(...args);
    underWay.add(connecting);
    const done = (): void => void underWay.delete(connecting);
    connecting.then(done, done);
    return connecting;
  };
  return async () => {
    isClosing = true;
    await Promise.allSettled(underWay);
  };
}

/**
 * Kysely's own transaction, and not the ORM's: when a connection breaks, the ORM's rollback fails on
 * it and never gives it back to the pool, so that a dozen of them leave a process without a database
 * for good, long after the server is back.
 */
async function inTransaction<Tables, T>(query: Kysely<Tables>, work: (tx: Kysely<Tables>) => Promise<T>): Promise<T> {
  let failure: { readonly error: unknown } | undefined;
  try {
    return await query.transaction().execute(async (tx) => {
      try {
        return await work(tx);
      } catch (error) {
        failure = { error };
        throw error;
      }
    });
  } catch (error) {
    // Why the work failed says more than why its rollback did.
    throw failure ? failure.error : error;
  }
}

async function connect(url: string): Promise<MikroORM> {
  try {
    new URL(url);
  } catch (cause) {
    throw new StartupError('DATABASE_URL is not a URL; it looks like postgres://user:password@host:5432/database.', {
      cause,
    });
  }
  const orm = new MikroORM(ormConfig(url));
  try {
    await orm.connect();
    await orm.em.fork().execute('select 1');
    return orm;
  } catch (cause) {
    await orm.close(true).catch(() => {});
    const { host, pathname } = new URL(url);
    throw new StartupError(
      `The database ${pathname.slice(1)} at ${host} cannot be reached (${rootMessage(cause)}); check DATABASE_URL.`,
      { cause },
    );
  }
}

function rootMessage(error: unknown): string {
  const seen = error as { message?: string; code?: string; cause?: unknown; errors?: unknown[] };
  if (seen.errors?.[0]) return rootMessage(seen.errors[0]);
  if (seen.cause) return rootMessage(seen.cause);
  return (seen.message ?? seen.code ?? String(error)).split('\n')[0] ?? '';
}

/** False when there is no answer in time. */
async function within(ms: number, answer: Promise<boolean>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), ms)));
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

/** Any constant; the same in every replica. */
const MIGRATION_LOCK = 7_665_701;

async function migrate(orm: MikroORM, log: Logger): Promise<void> {
  // A transaction-level lock, so that it is given up with the connection however this process ends.
  await orm.em.fork().transactional(async (em) => {
    await em.execute(`select pg_advisory_xact_lock(${MIGRATION_LOCK})`);
    const done = await orm.migrator.up();
    if (done.length > 0) log.info({ migrations: done.map(({ name }) => name) }, 'database migrated');
  });
}

/** Whether PostgreSQL has given an error whose SQLSTATE looks like this. */
export function hasSqlState(error: unknown, state: RegExp): boolean {
  for (let at = error as { code?: unknown; cause?: unknown } | undefined; at; at = at.cause as never) {
    if (typeof at.code === 'string' && /^[0-9A-Z]{5}$/.test(at.code) && state.test(at.code)) return true;
  }
  return false;
}

/** Whether an error says that a row with the same key was there already. */
export function isUniqueViolation(error: unknown, constraint: string): boolean {
  for (
    let at = error as { code?: string; constraint?: string; message?: string; cause?: unknown } | undefined;
    at;
    at = at.cause as never
  ) {
    if (at.code === '23505' && (at.constraint === constraint || at.message?.includes(constraint))) return true;
  }
  return false;
}

/** Node's codes for a connection that could not be made or broke. */
const CONNECTION_ERRORS = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENETUNREACH',
  'EHOSTUNREACH',
]);

/**
 * SQLSTATEs of a server that is not there for us: it shuts down, starts, has no connection left, has
 * ended our session for its silence, or could not do it within our limits (https://www.postgresql.org/docs/current/errcodes-appendix.html).
 */
const OUTAGE_STATES = new Set(['57P01', '57P02', '57P03', '57P05', '25P03', '53300', '55P03', '57014']);

/** What `pg` and its pool say, without a code, when a connection is gone or none can be had. */
const POOL_ERRORS =
  /connection terminated|timeout exceeded when trying to connect|not queryable|cannot use a pool after|query read timeout/i;

/** Whether an error says that the database could not be asked, and nothing about the question: the same call may succeed later. */
export function isDatabaseOutage(error: unknown): boolean {
  // Wrapped by the ORM, by an AggregateError of several addresses, and by GraphQL; a bound, because causes may form a ring.
  const look = (at: unknown, depth: number): boolean => {
    if (typeof at !== 'object' || at === null || depth > 8) return false;
    const { code, message, cause, errors, originalError, previous } = at as Record<string, unknown>;
    if (typeof code === 'string' && (CONNECTION_ERRORS.has(code) || OUTAGE_STATES.has(code) || /^08...$/.test(code)))
      return true;
    if (typeof message === 'string' && typeof code !== 'string' && POOL_ERRORS.test(message)) return true;
    return [cause, originalError, previous, ...(Array.isArray(errors) ? (errors as unknown[]) : [])].some((next) =>
      look(next, depth + 1),
    );
  };
  return look(error, 0);
}
