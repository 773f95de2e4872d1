import { readConfig } from '@rookery/wire/config.ts';
import { StartupError } from '@rookery/wire/errors.ts';
import { createLogger } from '@rookery/wire/log.ts';
import { aborted, runMain, stopSignal } from '@rookery/wire/main.ts';
import { createControl } from './app.ts';
import { controlConfigSchema } from './config.ts';

/** A control process of its own (split mode): an external database, gateways over the network. */
await runMain(async () => {
  const stopped = stopSignal();
  const config = readConfig(controlConfigSchema, process.env);
  const log = createLogger('control', config.ROOKERY_LOG_LEVEL);
  if (!config.DATABASE_URL)
    throw new StartupError('DATABASE_URL is not set; a control process of its own needs a PostgreSQL server.');
  await using control = await createControl({ config, databaseUrl: config.DATABASE_URL, serveSubgraphs: true, log });
  if (control.firstAdmin) {
    const { email, generatedPassword } = control.firstAdmin;
    console.log(
      `First platform admin: ${email}${generatedPassword ? `, one-time password: ${generatedPassword}` : ''}`,
    );
  }
  log.info({ agentUrl: control.agentUrl, subgraphPort: control.subgraphPort }, 'control is ready');
  await aborted(stopped);
  log.info('control stops');
});
