import { MikroORM } from '@mikro-orm/postgresql';
import { startEmbeddedPostgres } from '@rookery/control/database/embedded-postgres.ts';
import { ormConfig } from '@rookery/control/orm.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * `check`: fails when the entities have changed and no migration says so.
 * `create NAME`: writes the migration for what has changed.
 *
 * Both compare with a database that was made by the migrations there are.
 */
const [command, name] = process.argv.slice(2);
const directory = await mkdtemp(join(tmpdir(), 'rookery-migrations-'));
try {
  await using postgres = await startEmbeddedPostgres(directory, silentLogger());
  const orm = new MikroORM(ormConfig(postgres.url));
  try {
    await orm.migrator.up();
    if (command === 'create') {
      const { fileName } = await orm.migrator.create(undefined, false, false, name);
      console.log(fileName ? `Wrote ${fileName}.` : 'Nothing has changed.');
    } else if (command === 'check') {
      const sql = (await orm.schema.getUpdateSchemaSQL({ wrap: false })).trim();
      if (sql === '') console.log('The migrations are up to date.');
      else {
        console.error(`The entities differ from the migrations; run "npm run migration create NAME":\n${sql}`);
        process.exitCode = 1;
      }
    } else throw new Error('usage: npm run migration -- check | create NAME');
  } finally {
    await orm.close(true);
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
