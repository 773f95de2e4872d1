import { StartupError } from '@rookery/wire/errors.ts';
import { createLogger } from '@rookery/wire/log.ts';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createAgent, type Agent } from '../app.ts';
import { pause } from '../backoff.ts';
import type { AgentConfig } from '../config.ts';
import { AGENT_VERSION } from '../embedded.ts';
import { parseControlUrl } from '../enrolment/control-api.ts';
import { CredentialStore } from '../enrolment/credential.store.ts';
import type { HostLoad, HostSpecs } from '../host/host.ts';
import { fixedRuntime } from '../runtime/runtime-finder.ts';
import { SimulatedRuntime } from '../runtime/simulated-runtime.ts';
import { stateDirAt } from '../state-dir/state-dir.ts';
import { inParallel, PublicApi } from './public-api.ts';
import { indices, simulatedName, SimulatedFleet } from './simulated-fleet.ts';

export const SIMULATE_HELP = `rookery-agent simulate: many hosts in one process, for trying a control plane at scale.

  rookery-agent simulate --hosts N --url <gateway> --token-file <file>

Each host is an agent that speaks the real protocol over real sockets; only its sandboxes are pretended.

Options:
  --hosts N          how many hosts (sim-0001 …)
  --first N          number of the first one (default 1): a larger fleet is several simulations, each with its own
  --sandboxes M      how many sandboxes to make on the control plane, once the hosts are online (default 0)
  --url URL          the control plane's public address, for example http://127.0.0.1:4000
  --token-file FILE  an API token; or ROOKERY_API_TOKEN
  --team ID          BYOC hosts of this team, and its sandboxes; default: platform hosts (needs a platform admin)
  --agent-url URL    where agents connect, when that differs from what join commands say
  --state-dir DIR    where the hosts' credentials are kept (default: "simulated" in the agent's state directory)
  --cleanup          delete all simulated hosts with their sandboxes, and end
`;

/** Hosts that join at a time; each costs control some signatures and this process some writes to disk. */
const JOIN_WIDTH = 16;

/** Open files of a simulation beside the sockets of its hosts. */
const OTHER_FILES = 200;

/** How often progress is told, in ms. */
const PROGRESS_MS = 2_000;

interface SimulateOptions {
  readonly hosts: number;
  /** Number of the first host. */
  readonly first: number;
  readonly sandboxes: number;
  readonly url: string;
  readonly token: string;
  readonly teamId: string | undefined;
  readonly agentUrl: string | undefined;
  readonly stateDir: string;
  readonly cleanup: boolean;
}

/**
 * Runs `rookery-agent simulate` until a signal.
 *
 * @throws {StartupError} in one sentence.
 */
export async function simulate(
  argv: readonly string[],
  config: AgentConfig,
  say: (sentence: string) => void,
  signal: AbortSignal,
): Promise<number> {
  const options = await readOptions(argv, config);
  if (!options) return (say(SIMULATE_HELP.trimEnd()), 0);
  const api = new PublicApi(options.url, options.token, signal);
  const fleet = new SimulatedFleet(api, options.teamId);
  if (options.cleanup) {
    const hosts = await fleet.cleanUp(options.stateDir);
    return (say(`Deleted ${hosts} simulated hosts.`), 0);
  }

  const agents: Agent[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(agents.splice(0).map((agent) => agent[Symbol.asyncDispose]()));
  };
  try {
    await startAgents(options, config, fleet, agents, say, signal);
    if (options.sandboxes > 0 && !signal.aborted) await makeSandboxes(options, api, fleet, agents, say);
    if (!signal.aborted) say(`The simulation runs: ${agents.length} hosts. Ctrl-C ends it; --cleanup deletes them.`);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve());
    });
    return 0;
  } finally {
    await stop();
  }
}

async function startAgents(
  { hosts, first, agentUrl, stateDir }: SimulateOptions,
  config: AgentConfig,
  fleet: SimulatedFleet,
  agents: Agent[],
  say: (sentence: string) => void,
  signal: AbortSignal,
): Promise<void> {
  // One line for each of thousands of agents would hide what matters.
  const log = createLogger('simulation', config.logLevel ?? 'warn');
  let online = 0;
  const progress = setInterval(() => say(`${online} of ${hosts} hosts are online.`), PROGRESS_MS);
  try {
    await inParallel(indices(hosts), JOIN_WIDTH, async (index) => {
      if (signal.aborted) return;
      const name = simulatedName(first - 1 + index);
      const own: AgentConfig = {
        ...config,
        stateDir: join(stateDir, name),
        provider: 'simulation',
        // Each host a machine of its own: one machine under many names would look like copied credentials.
        machineId: machineIdOf(name),
      };
      const isRegistered = (await new CredentialStore(stateDirAt(own.stateDir)).load()) !== undefined;
      const invitation = isRegistered ? undefined : await fleet.invite(name);
      const agent = await createAgent({
        config: own,
        log: log.child({ host: name }),
        say: () => {},
        signal,
        finder: fixedRuntime(new SimulatedRuntime()),
        measure: async () => machine(name),
        ...(invitation ? { join: { controlUrl: agentUrl ?? invitation.agentUrl, token: invitation.token } } : {}),
      });
      agents.push(agent);
      void agent.online.then(() => (online += 1));
    });
    while (online < hosts && !signal.aborted) await pause(100, signal);
    if (!signal.aborted) say(`All ${hosts} hosts are online.`);
  } finally {
    clearInterval(progress);
  }
}

async function makeSandboxes(
  { sandboxes, teamId }: SimulateOptions,
  api: PublicApi,
  fleet: SimulatedFleet,
  agents: readonly Agent[],
  say: (sentence: string) => void,
): Promise<void> {
  let made = 0;
  const progress = setInterval(() => say(`${made} of ${sandboxes} sandboxes are made.`), PROGRESS_MS);
  try {
    const fleetId = agents.map(({ hostId }) => hostId).sort()[0] ?? '';
    await fleet.createSandboxes(sandboxes, teamId ?? (await someTeam(api)), fleetId, () => (made += 1));
    say(`All ${sandboxes} sandboxes are made.`);
  } finally {
    clearInterval(progress);
  }
}

/** A team that the token's owner belongs to: sandboxes on platform hosts are a team's as well. */
async function someTeam(api: PublicApi): Promise<string> {
  const { viewer } = await api.run<{ viewer: { memberships: { team: { id: string } }[] } | null }>(
    '{ viewer { memberships { team { id } } } }',
  );
  const id = viewer?.memberships[0]?.team.id;
  if (id === undefined)
    throw new StartupError('Sandboxes belong to a team, and the token has none; give one with --team.');
  return id;
}

const machineIdOf = (name: string): string => `simulated-${name}`;

/** What a pretended machine says of itself: room for a few hundred small sandboxes. */
function machine(name: string): { specs: HostSpecs; load: HostLoad } {
  return {
    specs: {
      hostname: name,
      arch: 'x86_64',
      os: 'Simulated',
      kernel: '0',
      cpuCores: 64,
      memoryMb: 256 * 1_024,
      diskGb: 1_024,
      agentVersion: AGENT_VERSION,
      bootId: 'simulated',
      machineId: machineIdOf(name),
      runtime: { name: 'simulated', version: '1' },
      conditions: [],
      templates: ['host'],
      provider: 'simulation',
      availabilityZone: null,
    },
    load: { load1: 0, memoryUsedMb: 1_024, diskUsedMb: 1_024 },
  };
}

/** @returns undefined when only help was asked for. */
async function readOptions(argv: readonly string[], config: AgentConfig): Promise<SimulateOptions | undefined> {
  const { values } = parse(argv);
  if (values.help) return undefined;
  if (values.url === undefined)
    throw new StartupError('simulate needs --url, the public address of the control plane.');
  const hosts = wholeNumber('--hosts', values.hosts ?? (values.cleanup ? '0' : ''));
  await assertOpenFiles(hosts);
  if (hosts === 0 && !values.cleanup) throw new StartupError('simulate needs --hosts, how many hosts there shall be.');
  return {
    hosts,
    first: wholeNumber('--first', values.first ?? '1'),
    sandboxes: wholeNumber('--sandboxes', values.sandboxes ?? '0'),
    url: parseControlUrl(values.url),
    token: await readToken(values['token-file'], config.apiToken),
    teamId: values.team,
    agentUrl: values['agent-url'] === undefined ? undefined : parseControlUrl(values['agent-url']),
    stateDir: values['state-dir'] ?? join(config.stateDir, 'simulated'),
    cleanup: values.cleanup ?? false,
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        hosts: { type: 'string' },
        first: { type: 'string' },
        sandboxes: { type: 'string' },
        url: { type: 'string' },
        'token-file': { type: 'string' },
        team: { type: 'string' },
        'agent-url': { type: 'string' },
        'state-dir': { type: 'string' },
        cleanup: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (cause) {
    throw new StartupError(`${(cause as Error).message.split('. ')[0]}; see rookery-agent simulate --help.`, { cause });
  }
}

function wholeNumber(option: string, text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new StartupError(`${option} must be a whole number.`);
  return Number(text);
}

/** Each host holds two sockets; a process that may not open as many fails in the middle, and not in a sentence. */
async function assertOpenFiles(hosts: number): Promise<void> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const limit = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  const needed = 2 * hosts + OTHER_FILES;
  if (limit !== undefined && needed > Number(limit)) {
    throw new StartupError(
      `${hosts} hosts need ${needed} open files and this process may have ${limit}; raise it with ulimit -n, or start several simulations with --first.`,
    );
  }
}

async function readToken(file: string | undefined, configured: string | undefined): Promise<string> {
  if (file === undefined) {
    if (configured === undefined)
      throw new StartupError('simulate needs --token-file with an API token, or ROOKERY_API_TOKEN.');
    return configured;
  }
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw new StartupError(`The token file ${file} cannot be read (${(cause as NodeJS.ErrnoException).code}).`, {
      cause,
    });
  }
}
