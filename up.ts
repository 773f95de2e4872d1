import { createControl, type Control } from '@rookery/control/app.ts';
import { controlConfigSchema } from '@rookery/control/config.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@rookery/control/database/embedded-postgres.ts';
import { createGateway } from '@rookery/gateway/app.ts';
import { gatewayConfigSchema } from '@rookery/gateway/config.ts';
import type { SubgraphTransport } from '@rookery/gateway/transports/transport.ts';
import { configField, readConfig } from '@rookery/wire/config.ts';
import { createLogger, type Logger } from '@rookery/wire/log.ts';
import { StartupError } from '@rookery/wire/errors.ts';
import { aborted, runMain, stopSignal } from '@rookery/wire/main.ts';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { buildWhatIsMissing } from './embedded/build.ts';
import { claimDataDirectory } from './embedded/data-dir.ts';
import { startDevServer } from './embedded/dev-server.ts';
import { startLocalAgent } from './embedded/local-agent.ts';
import { whenHostIsDeleted, whenHostSettles } from './embedded/local-host.ts';
import { ensureOciRuntime } from './embedded/oci-runtime.ts';
import { bold, dim, done, step, warn } from './embedded/terminal.ts';

/**
 * Embedded mode: everything on one machine, by one command, from one directory. With `--dev` the
 * dashboard is served from its sources, with hot reload.
 */
const embeddedConfigSchema = z.object({
  ...gatewayConfigSchema.shape,
  ...controlConfigSchema.shape,
  /** Where the database and the local agent keep what they know. */
  ROOKERY_DATA_DIR: z
    .string()
    .default(join(import.meta.dirname, '.rookery'))
    .transform((path) => resolve(path)),
  // Whoever tries Rookery on their own machine wants to look around.
  ROOKERY_INTROSPECTION: configField.flag(true),
  // Quieter than the processes of split mode: here a person reads along.
  ROOKERY_LOG_LEVEL: controlConfigSchema.shape.ROOKERY_LOG_LEVEL.unwrap().default('warn'),
});

await runMain(async () => {
  // From the first moment on, so that Ctrl-C during the start stops what has been started.
  const stopped = stopSignal();
  try {
    await up(stopped);
  } catch (error) {
    if (!stopped.aborted) throw error;
    // Whatever failed because it was stopped is no failure.
    console.log('Stopped.');
  }
});

async function up(stopped: AbortSignal): Promise<void> {
  loadEnvFile();
  const config = readConfig(embeddedConfigSchema, process.env);
  const started = performance.now();
  console.log(bold('Rookery'));
  await using running = new AsyncDisposableStack();
  running.use(await claimDataDirectory(config.ROOKERY_DATA_DIR));
  const isDev = process.argv.includes('--dev');
  await buildWhatIsMissing({ dashboard: !isDev }, stopped);
  await ensureOciRuntime(stopped);

  const log = createLogger('rookery', config.ROOKERY_LOG_LEVEL);
  const database = await openDatabaseServer(running, config, log);
  const control = running.use(
    await createControl({
      config,
      databaseUrl: database.url,
      serveSubgraphs: false,
      log: log.child({ part: 'control' }),
    }),
  );
  done(`Control plane is up; agents reach it at ${control.agentUrl}`);
  const gateway = running.use(
    await createGateway({
      // Browsers keep cookies by host name, whatever the port: each Rookery of a machine has its own.
      config: { ...config, ROOKERY_COOKIE_NAME: `${config.ROOKERY_COOKIE_NAME}_${config.ROOKERY_PORT}` },
      transport: inProcess(control),
      log: log.child({ part: 'gateway' }),
    }),
  );
  const agent = running.use(
    await startLocalAgent({
      control,
      stateDir: join(config.ROOKERY_DATA_DIR, 'agent'),
      logLevel: config.ROOKERY_LOG_LEVEL,
      log: log.child({ part: 'local-agent' }),
    }),
  );
  const ends = [aborted(stopped).then(() => undefined), database.ended];
  const settled = await Promise.race([whenHostSettles(control, agent.hostId), ...ends]);
  if (typeof settled === 'object') {
    if (settled.problem) warn(`The local host ${bold(settled.name)} takes no sandboxes: ${settled.problem}`);
    else done(`The local host ${bold(settled.name)} is online`);
    const dashboardUrl = isDev ? running.use(await startDevServer(gateway.port)).url : gateway.url;
    announce(dashboardUrl, control, performance.now() - started);
  }
  void whenHostIsDeleted(control, agent.hostId, stopped).then((isDeleted) => {
    if (isDeleted) warn('This machine’s host was deleted; restart to register it again.');
  });

  const problem = await Promise.race(ends);
  console.log('\nStopping; sandboxes on this machine are paused until the next start.');
  await running.disposeAsync().catch((error: unknown) => {
    // What cannot be stopped in good order without its database is no news beside the loss of that.
    if (!problem) throw error;
  });
  if (problem) throw new StartupError(problem);
  console.log('Stopped.');
}

interface DatabaseServer {
  readonly url: string;
  /** Resolves, with a sentence, when it is gone for good. */
  readonly ended: Promise<string>;
}

async function openDatabaseServer(
  running: AsyncDisposableStack,
  config: Readonly<z.output<typeof embeddedConfigSchema>>,
  log: Logger,
): Promise<DatabaseServer> {
  if (config.DATABASE_URL) {
    done(`Using PostgreSQL at ${new URL(config.DATABASE_URL).host}`);
    // Somebody else's server: it may come back.
    return { url: config.DATABASE_URL, ended: new Promise(() => {}) };
  }
  const directory = join(config.ROOKERY_DATA_DIR, 'postgres');
  const start = (): Promise<EmbeddedPostgres> => startEmbeddedPostgres(directory, log.child({ part: 'postgres' }));
  return running.use(await step('Starting PostgreSQL', start));
}

/** What a person needs to go on. */
function announce(url: string, control: Control, tookMs: number): void {
  console.log(`\n  Dashboard  ${bold(url)}`);
  if (control.firstAdmin) {
    const { email, generatedPassword } = control.firstAdmin;
    console.log(`  Sign in    ${bold(email)}`);
    console.log(
      `  Password   ${generatedPassword ? `${bold(generatedPassword)}  ${dim('(shown only now)')}` : 'as set in ROOKERY_ADMIN_PASSWORD'}`,
    );
  } else console.log(`  Sign in    ${dim('with the account of the first start')}`);
  console.log(`\n  ${dim(`Ready in ${(tookMs / 1_000).toFixed(1)} s. Ctrl-C stops everything.`)}\n`);
}

/** The gateway calls control in this process instead of over the network. */
function inProcess(control: Control): SubgraphTransport {
  return {
    execute: (subgraph, { document, variables, operationName, caller }) =>
      control.execute(subgraph, { document, variables, operationName }, caller),
    isReady: () => control.isReady(),
    // Control outlives the gateway and is disposed by its owner.
    [Symbol.asyncDispose]: async () => {},
  };
}

function loadEnvFile(): void {
  try {
    process.loadEnvFile();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
