import { readConfig } from '@rookery/wire/config.ts';
import { StartupError } from '@rookery/wire/errors.ts';
import { readFileIfThere } from '@rookery/wire/files.ts';
import { createLogger } from '@rookery/wire/log.ts';
import { runMain } from '@rookery/wire/main.ts';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { SignInThrottle } from '../accounts/sessions/sign-in-throttle.ts';
import type { AccountsTables } from '../accounts/tables.ts';
import { UserService } from '../accounts/users/user.service.ts';
import { controlConfigSchema } from '../config.ts';
import { openDatabase } from '../database/database.ts';
import { AuditLog } from '../kernel/audit/audit-log.ts';
import { EventLog } from '../kernel/events/event-log.ts';
import { runCommand, USAGE } from './commands.ts';

const cliConfigSchema = z.object({
  DATABASE_URL: controlConfigSchema.shape.DATABASE_URL,
  ROOKERY_DATA_DIR: z.string().default('.rookery'),
});

/** The operator's command line: works on the database, whether or not control runs. */
await runMain(async () => {
  try {
    process.loadEnvFile();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const { positionals, values } = parseCommandLine();
  if (values.help || positionals.length === 0) return console.log(USAGE);
  const { DATABASE_URL, ROOKERY_DATA_DIR } = readConfig(cliConfigSchema, process.env);
  const log = createLogger('control-cli', 'warn');
  await using database = await openDatabase(DATABASE_URL ?? (await embeddedUrl(resolve(ROOKERY_DATA_DIR))), log);
  await using events = new EventLog(database, log);
  const users = new UserService({
    database: database.as<AccountsTables>(),
    throttle: new SignInThrottle(database),
  });
  console.log(await runCommand({ database, users, audit: new AuditLog(database, events, log) }, positionals, values));
});

function parseCommandLine() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        name: { type: 'string' },
        admin: { type: 'boolean' },
        purpose: { type: 'string' },
        'drop-old': { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (cause) {
    throw new StartupError(`${(cause as Error).message}\n\n${USAGE}`, { cause });
  }
}

/** The running database of an embedded Rookery: its port stands in its lock file, its password beside it. */
async function embeddedUrl(dataDir: string): Promise<string> {
  const directory = join(dataDir, 'postgres');
  const [password, lock] = await Promise.all([
    readFileIfThere(join(directory, 'password')),
    readFileIfThere(join(directory, 'data', 'postmaster.pid')),
  ]);
  const port = lock?.split('\n')[3]?.trim();
  if (!password || !port) {
    throw new StartupError(
      `No database is running in ${dataDir}; start Rookery first, or set DATABASE_URL or ROOKERY_DATA_DIR.`,
    );
  }
  return `postgres://rookery:${password.trim()}@127.0.0.1:${port}/rookery`;
}
