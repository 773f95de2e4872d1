import { createControl, type Control } from '@rookery/control/app.ts';
import { controlConfigSchema } from '@rookery/control/config.ts';
import { startEmbeddedPostgres } from '@rookery/control/database/embedded-postgres.ts';
import { createGateway } from '@rookery/gateway/app.ts';
import { gatewayConfigSchema } from '@rookery/gateway/config.ts';
import type { SubgraphTransport } from '@rookery/gateway/transports/transport.ts';
import { readConfig } from '@rookery/wire/config.ts';
import { createLogger } from '@rookery/wire/log.ts';
import { runMain, untilStopped } from '@rookery/wire/main.ts';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { buildWhatIsMissing } from './embedded/build.ts';
import { startDevServer } from './embedded/dev-server.ts';
import { startLocalAgent } from './embedded/local-agent.ts';
import { whenHostSettles } from './embedded/local-host.ts';
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
  // Quieter than the processes of split mode: here a person reads along.
  ROOKERY_LOG_LEVEL: controlConfigSchema.shape.ROOKERY_LOG_LEVEL.unwrap().default('warn'),
});

await runMain(async () => {
  loadEnvFile();
  const config = readConfig(embeddedConfigSchema, process.env);
  // From here on, so that a Ctrl-C during the start stops what has been started.
  const stopped = untilStopped();
  const started = performance.now();
  console.log(bold('Rookery'));
  const isDev = process.argv.includes('--dev');
  await buildWhatIsMissing({ dashboard: !isDev });
  await ensureOciRuntime();

  await using running = new AsyncDisposableStack();
  const log = createLogger('rookery', config.ROOKERY_LOG_LEVEL);
  const databaseUrl = config.DATABASE_URL ?? (await startDatabase(running, config.ROOKERY_DATA_DIR, log));
  if (config.DATABASE_URL) done(`Using PostgreSQL at ${new URL(config.DATABASE_URL).host}`);
  const control = running.use(
    await createControl({ config, databaseUrl, serveSubgraphs: false, log: log.child({ part: 'control' }) }),
  );
  done(`Control plane is up; agents reach it at ${control.agentUrl}`);
  const gateway = running.use(
    await createGateway({ config, transport: inProcess(control), log: log.child({ part: 'gateway' }) }),
  );
  const agent = running.use(
    await startLocalAgent({
      control,
      stateDir: join(config.ROOKERY_DATA_DIR, 'agent'),
      logLevel: config.ROOKERY_LOG_LEVEL,
      log: log.child({ part: 'local-agent' }),
    }),
  );
  const { name, problem } = await Promise.race([
    whenHostSettles(control, agent.hostId),
    stopped.then(() => ({ name: '', problem: undefined })),
  ]);
  if (problem) warn(`The local host ${bold(name)} takes no sandboxes: ${problem}`);
  else if (name) done(`The local host ${bold(name)} is online`);

  const dashboardUrl = isDev ? running.use(await startDevServer(gateway.port)).url : gateway.url;
  announce(dashboardUrl, control, performance.now() - started);
  await stopped;
  console.log('\nStopping; sandboxes on this machine are paused until the next start.');
  await running.disposeAsync();
  console.log('Stopped.');
});

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

async function startDatabase(
  running: AsyncDisposableStack,
  dataDir: string,
  log: ReturnType<typeof createLogger>,
): Promise<string> {
  const postgres = running.use(
    await step('Starting PostgreSQL', () =>
      startEmbeddedPostgres(join(dataDir, 'postgres'), log.child({ part: 'postgres' })),
    ),
  );
  return postgres.url;
}

/** The gateway calls control in this process instead of over the network. */
function inProcess(control: Control): SubgraphTransport {
  return {
    execute: (subgraph, { document, variables, operationName, token }) =>
      control.execute(subgraph, { document, variables, operationName }, token),
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
