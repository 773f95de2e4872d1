import { realpathSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { StartupError } from '@rookery/wire/errors.ts';
import { createLogger, type Logger } from '@rookery/wire/log.ts';
import { createAgent } from './app.ts';
import { loadAgentConfig, type AgentConfig } from './config.ts';
import { AGENT_VERSION } from './embedded.ts';
import { parseControlUrl } from './enrolment/control-api.ts';
import { doctor } from './host/doctor.ts';
import { leave } from './host/leave.ts';
import { status } from './host/status.ts';
import { simulate } from './simulate/simulate.ts';
import { systemdUnit } from './host/systemd-unit.ts';

const HELP = `rookery-agent ${AGENT_VERSION}: makes this machine a host of a Rookery control plane.

Usage:
  rookery-agent join <url> <token>   register this machine (once) and run in the foreground
  rookery-agent run                  run as the host this machine is registered as
  rookery-agent status               what is saved, and whether an agent is running
  rookery-agent doctor               what this machine can do, and what it lacks
  rookery-agent simulate --help      many pretended hosts, for trying a control plane at scale
  rookery-agent leave                leave the fleet: tell control, then drop the credentials
  rookery-agent systemd-unit         print a systemd service that runs this agent

Options:
  --state-dir DIR   where everything is kept (default /var/lib/rookery-agent as root)
  --json            machine-readable status
  --destroy-sandboxes   leave: destroy the sandboxes too; without it they go on as they are
  --force           leave: also when control cannot be told
  --help, --version

Environment, also from .env in the working directory:
  ROOKERY_CONTROL_URL, ROOKERY_REGISTRATION_TOKEN   for join without arguments
  ROOKERY_AGENT_STATE_DIR        as --state-dir
  ROOKERY_AGENT_RUNTIME          runc, runsc or a path (default: the first one found)
  ROOKERY_AGENT_ON_EXIT          keep (default) or pause sandboxes when the agent stops
  ROOKERY_AGENT_CONTROL_LOSS     pause (default) or keep sandboxes when control is lost
  ROOKERY_AGENT_CONTROL_LOSS_GRACE_MS   after this long (default 90000)
  ROOKERY_AGENT_PROVIDER, ROOKERY_AGENT_ZONE   where this machine is
  ROOKERY_AGENT_MACHINE_ID       names this machine where /etc/machine-id does not
  ROOKERY_LOG_LEVEL              trace … fatal, silent (default info; warn for join and leave)
`;

/** After everything is disposed nothing should hold the process; what still does, for example a lost socket, gets this long, in ms. */
const EXIT_GRACE_MS = 1_000;

const say = (sentence: string): void => void process.stdout.write(`${sentence}\n`);

async function main(argv: readonly string[]): Promise<number> {
  // With options of its own.
  if (argv[0] === 'simulate') return simulate(argv.slice(1), loadAgentConfig(), say, stopSignal());
  const { values, positionals } = readArguments(argv);
  if (values.help) return (say(HELP.trimEnd()), 0);
  if (values.version) return (say(AGENT_VERSION), 0);
  const [command, ...rest] = positionals;
  const config = loadAgentConfig(values['state-dir']);
  switch (command) {
    case 'join': {
      const [url = config.controlUrl, token = config.registrationToken] = rest;
      if (url === undefined || rest.length > 2) throw new StartupError('Usage: rookery-agent join <url> <token>.');
      return foreground(config, terminalLogger(config), { controlUrl: parseControlUrl(url), token });
    }
    case 'run':
      return foreground(config, createLogger('agent', config.logLevel));
    case 'leave': {
      const { 'destroy-sandboxes': destroySandboxes = false, force = false } = values;
      return leave(config, { destroySandboxes, force, say, log: terminalLogger(config) });
    }
    case 'systemd-unit': {
      const program = realpathSync(process.argv[1] ?? '');
      const unit = systemdUnit({ node: process.execPath, program, stateDir: config.stateDir });
      return (say(unit.trimEnd()), 0);
    }
    case 'status':
      return status(config, { json: values.json ?? false, say });
    case 'doctor':
      return doctor(config, say);
    case undefined:
      return (say(HELP.trimEnd()), 1);
    default:
      throw new StartupError(`There is no command "${command}"; see rookery-agent --help.`);
  }
}

function readArguments(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        'state-dir': { type: 'string' },
        json: { type: 'boolean' },
        'destroy-sandboxes': { type: 'boolean' },
        force: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
      },
    });
  } catch (cause) {
    throw new StartupError(`${(cause as Error).message.split('. ')[0]}; see rookery-agent --help.`, { cause });
  }
}

/** For commands that a person types: what they are told comes in sentences, and only trouble is logged, readably. */
function terminalLogger({ logLevel }: AgentConfig): Logger {
  return logLevel === undefined ? createLogger('agent', 'warn', 'pretty') : createLogger('agent', logLevel);
}

/** Aborts when the process is asked to stop. */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      // A second signal means: now.
      if (stop.signal.aborted) process.exit(1);
      stop.abort();
    });
  }
  return stop.signal;
}

/** Runs the agent until a signal asks it to stop. */
async function foreground(
  config: AgentConfig,
  log: Logger,
  join?: { controlUrl: string; token: string | undefined },
): Promise<number> {
  const signal = stopSignal();
  const stopped = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
  const agent = await createAgent({ config, log, say, signal, ...(join ? { join } : {}) });
  await Promise.race([stopped, agent.deleted]);
  if (!signal.aborted) say('This host was deleted: its sandboxes are removed and its credentials dropped.');
  log.info('stopping');
  await agent[Symbol.asyncDispose]();
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(
    error instanceof StartupError
      ? `${error.message}\n`
      : `rookery-agent failed: ${(error as Error).stack ?? String(error)}\n`,
  );
  process.exitCode = 1;
}
setTimeout(() => process.exit(), EXIT_GRACE_MS).unref();
