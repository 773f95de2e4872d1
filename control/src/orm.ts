import { Migrator } from '@mikro-orm/migrations';
import { defineConfig, type Options } from '@mikro-orm/postgresql';
import { LimitedClient, type DatabaseLimits } from './database/database-limits.ts';
import { entities } from './entities.ts';

/**
 * The ORM's configuration for one database.
 *
 * @param url      `postgres://…`
 * @param limits   how long anything may take; without them for ever, which is for migrations.
 * @param poolSize connections kept; every in-flight transaction holds one.
 */
export function ormConfig(url: string, limits?: DatabaseLimits, poolSize = 12): Options {
  return defineConfig({
    clientUrl: url,
    entities: [...entities],
    extensions: [Migrator],
    pool: { min: 0, max: poolSize },
    ...(limits ? { driverOptions: { ...poolLimits(limits), Client: LimitedClient } } : {}),
    forceUtcTimezone: true,
    migrations: {
      path: new URL('./database/migrations', import.meta.url).pathname,
      pathTs: new URL('./database/migrations', import.meta.url).pathname,
      silent: true,
      emit: 'ts',
      snapshot: false,
      fileName: (timestamp: string, name?: string) => `migration-${timestamp}${name ? `-${name}` : ''}`,
    },
  });
}

/** In the words of `pg`. */
const poolLimits = ({ connectMs, lockMs, statementMs, idleInTransactionMs, answerMs }: DatabaseLimits) => ({
  connectionTimeoutMillis: connectMs,
  lock_timeout: lockMs,
  statement_timeout: statementMs,
  idle_in_transaction_session_timeout: idleInTransactionMs,
  query_timeout: answerMs,
});
