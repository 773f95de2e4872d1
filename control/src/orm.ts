import { Migrator } from '@mikro-orm/migrations';
import { defineConfig, type Options } from '@mikro-orm/postgresql';
import { entities } from './entities.ts';

/**
 * The ORM's configuration for one database.
 *
 * @param url      `postgres://…`
 * @param poolSize connections kept; every in-flight transaction holds one.
 */
export function ormConfig(url: string, poolSize = 12): Options {
  return defineConfig({
    clientUrl: url,
    entities: [...entities],
    extensions: [Migrator],
    pool: { min: 0, max: poolSize },
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
