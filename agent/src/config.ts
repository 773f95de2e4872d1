import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { configField, readConfig } from '@rookery/wire/config.ts';
import { z } from 'zod';

/** Where the operating system keeps binaries that a service's shorter PATH may lack. */
const FALLBACK_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * How long control may be silent before the policy for control loss applies, in ms. Shorter pauses
 * work for a hiccup; longer lets sandboxes that nobody can see or stop run on.
 */
const CONTROL_LOSS_GRACE_MS = 90_000;

/**
 * Longest wait between two tries to renew credentials, in ms: a fleet that is refused, or finds control
 * gone, asks this often at the worst.
 */
const RETRY_CAP_MS = 60_000;

const schema = z
  .object({
    ROOKERY_AGENT_STATE_DIR: z.string().optional(),
    ROOKERY_CONTROL_URL: z.string().optional(),
    ROOKERY_REGISTRATION_TOKEN: z.string().optional(),
    ROOKERY_AGENT_RUNTIME: z.string().optional(),
    ROOKERY_AGENT_ON_EXIT: z.enum(['keep', 'pause'], 'must be keep or pause').default('keep'),
    ROOKERY_AGENT_CONTROL_LOSS: z.enum(['pause', 'keep'], 'must be pause or keep').default('pause'),
    ROOKERY_AGENT_CONTROL_LOSS_GRACE_MS: configField.milliseconds(CONTROL_LOSS_GRACE_MS),
    ROOKERY_AGENT_RETRY_CAP_MS: configField.milliseconds(RETRY_CAP_MS),
    ROOKERY_AGENT_MACHINE_ID: z.string().max(64, 'must have at most 64 characters').optional(),
    ROOKERY_AGENT_PROVIDER: z.string().optional(),
    ROOKERY_AGENT_ZONE: z.string().optional(),
    ROOKERY_API_TOKEN: z.string().min(1).optional(),
    ROOKERY_LOG_LEVEL: configField.logLevel().unwrap().optional(),
    PATH: z.string().default(''),
  })
  .transform((env) => ({
    /** Absolute path of everything the agent remembers. */
    stateDir: resolve(env.ROOKERY_AGENT_STATE_DIR ?? defaultStateDir()),
    controlUrl: env.ROOKERY_CONTROL_URL,
    registrationToken: env.ROOKERY_REGISTRATION_TOKEN,
    /** `runc`, `runsc` or the path of an OCI runtime; undefined: the first one found. */
    runtime: env.ROOKERY_AGENT_RUNTIME,
    /** What happens to running sandboxes when the agent is told to stop. */
    onExit: env.ROOKERY_AGENT_ON_EXIT,
    /** What happens to running sandboxes when control has been silent for the grace. */
    controlLoss: env.ROOKERY_AGENT_CONTROL_LOSS,
    controlLossGraceMs: env.ROOKERY_AGENT_CONTROL_LOSS_GRACE_MS,
    retryCapMs: env.ROOKERY_AGENT_RETRY_CAP_MS,
    /** Names this machine where /etc/machine-id does not; undefined: that file. */
    machineId: env.ROOKERY_AGENT_MACHINE_ID,
    provider: env.ROOKERY_AGENT_PROVIDER,
    zone: env.ROOKERY_AGENT_ZONE,
    /** For the public API, which only a simulation calls. */
    apiToken: env.ROOKERY_API_TOKEN,
    /** Undefined: what suits the command. */
    logLevel: env.ROOKERY_LOG_LEVEL,
    /** Directories searched for runtimes and mount tools. */
    searchPath: [...new Set([...env.PATH.split(':'), ...FALLBACK_PATH.split(':')])].filter((dir) =>
      dir.startsWith('/'),
    ),
  }));

export type AgentConfig = Readonly<z.output<typeof schema>>;

/**
 * The agent's configuration from an environment.
 *
 * @param stateDir wins over the environment, as given on the command line.
 * @throws {StartupError} naming every variable that is wrong.
 */
export function readAgentConfig(env: Readonly<Record<string, string | undefined>>, stateDir?: string): AgentConfig {
  return readConfig(schema, stateDir === undefined ? env : { ...env, ROOKERY_AGENT_STATE_DIR: stateDir });
}

/** The configuration of this process; reads `.env` of the working directory first (what is set already wins). */
export function loadAgentConfig(stateDir?: string): AgentConfig {
  try {
    // Optional, because Node 20 before 20.12 does not have it.
    process.loadEnvFile?.();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return readAgentConfig(process.env, stateDir);
}

function defaultStateDir(): string {
  return process.getuid?.() === 0 ? '/var/lib/rookery-agent' : join(homedir(), '.local/state/rookery-agent');
}
