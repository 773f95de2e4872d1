import { CredentialStore } from '@rookery/agent/enrolment/credential.store.ts';
import { lockHolder } from '@rookery/wire/process-lock.ts';
import { stateDirAt } from '@rookery/agent/state-dir/state-dir.ts';
import type { Control } from '@rookery/control/app.ts';
import { StartupError } from '@rookery/wire/errors.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { hostname } from 'node:os';
import { fileURLToPath } from 'node:url';

const AGENT = fileURLToPath(new URL('../agent/bin/rookery-agent.mjs', import.meta.url));

/** How long the agent may take to stop, in ms; it pauses its sandboxes in that time. */
const STOP_DEADLINE_MS = 20_000;

/** Wait before an agent that ended by itself is started again, in ms. */
const RESTART_DELAY_MS = 2_000;

export interface LocalAgentDeps {
  readonly control: Control;
  readonly stateDir: string;
  readonly logLevel: string;
  readonly log: Logger;
}

/** The agent that makes this machine a host of its own control plane. */
export interface LocalAgent extends AsyncDisposable {
  readonly hostId: string;
}

/**
 * Starts the local agent as a process of its own, registering it on the first run. It is restarted
 * when it ends by itself; disposing stops it and pauses its sandboxes, which the next start resumes.
 */
export async function startLocalAgent({ control, stateDir, logLevel, log }: LocalAgentDeps): Promise<LocalAgent> {
  await stopLeftBehind(stateDir);
  const saved = await savedHost(control, stateDir);
  const registration = saved ? undefined : await control.fleet.services.hosts.createLocal(hostname());
  const hostId = saved ?? (registration as NonNullable<typeof registration>).host.id;

  let agent: ChildProcess | undefined;
  let stopping = false;
  const launch = (): void => {
    agent = spawn(process.execPath, [AGENT, 'join', control.agentUrl, '--state-dir', stateDir], {
      // A token on the command line could be read by every user of the machine.
      env: {
        ...process.env,
        ROOKERY_REGISTRATION_TOKEN: registration?.registrationToken ?? '',
        ROOKERY_AGENT_ON_EXIT: 'pause',
        ROOKERY_LOG_LEVEL: logLevel,
      },
      stdio: ['ignore', 'ignore', 'inherit'],
      // In a process group of its own: Ctrl-C reaches us, and we stop it in its turn.
      detached: true,
    });
    agent.once('error', (err) => log.error({ err }, 'the local agent could not be started'));
    agent.once('exit', (code, signal) => {
      if (stopping) return;
      log.warn({ code, signal }, 'the local agent has ended; starting it again');
      setTimeout(() => stopping || launch(), RESTART_DELAY_MS);
    });
  };
  launch();

  return {
    hostId,
    async [Symbol.asyncDispose]() {
      stopping = true;
      if (agent?.pid !== undefined && agent.exitCode === null && agent.signalCode === null) await terminate(agent);
    },
  };
}

async function terminate(agent: ChildProcess): Promise<void> {
  const exited = new Promise((resolve) => agent.once('exit', resolve));
  agent.kill('SIGTERM');
  const deadline = setTimeout(() => agent.kill('SIGKILL'), STOP_DEADLINE_MS);
  await exited;
  clearTimeout(deadline);
}

/** An agent of an earlier run that was killed without its agent still runs, and holds the state directory. */
async function stopLeftBehind(stateDir: string): Promise<void> {
  const pid = await lockHolder(stateDirAt(stateDir).lock);
  if (pid === undefined) return;
  process.kill(pid, 'SIGTERM');
  const deadline = Date.now() + STOP_DEADLINE_MS;
  while (existsSync(`/proc/${pid}`)) {
    if (Date.now() > deadline)
      throw new StartupError(
        `The local agent of an earlier run (process ${pid}) does not stop; end it and start again.`,
      );
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

/**
 * The host that this machine is registered as, if control still knows it. Credentials of a host that
 * was deleted, or of another database, are set aside and the machine registers anew.
 */
async function savedHost(control: Control, stateDir: string): Promise<string | undefined> {
  const state = stateDirAt(stateDir);
  const { credentials } = state;
  const store = new CredentialStore(state);
  const saved = await store.load().catch(() => undefined);
  if (!saved) return undefined;
  if (!(await control.fleet.services.hosts.findForControl(saved.hostId))) {
    await rename(credentials, `${credentials}.old`);
    return undefined;
  }
  // The same control plane on another port.
  if (saved.controlUrl !== control.agentUrl) await store.save({ ...saved, controlUrl: control.agentUrl });
  return saved.hostId;
}
