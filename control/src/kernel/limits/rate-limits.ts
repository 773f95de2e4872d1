import { CompiledQuery } from 'kysely';
import { RateLimiterPostgres } from 'rate-limiter-flexible';
import type { DatabaseConnection } from '../../database/database.ts';

/** How many points may be used in how long. */
export interface RateLimitOptions {
  /** Names the limit among others; part of its counters' keys. */
  readonly name: string;
  readonly points: number;
  readonly perSeconds: number;
}

/**
 * A limit that all replicas share, because it counts in the database: neither a restart nor another
 * replica gives an attacker a fresh start.
 */
export function sharedRateLimit(
  connection: DatabaseConnection,
  { name, points, perSeconds }: RateLimitOptions,
): RateLimiterPostgres {
  const { query } = connection.as<unknown>();
  return new RateLimiterPostgres({
    // What the library asks of a client of `pg` is one method.
    storeClient: {
      query: ({ text, values }: { text: string; values: unknown[] }) =>
        query.executeQuery(CompiledQuery.raw(text, values)),
    },
    storeType: 'client',
    tableName: 'rate_limits',
    tableCreated: true,
    clearExpiredByTimeout: true,
    keyPrefix: name,
    points,
    duration: perSeconds,
  });
}
