import { StartupError } from '@rookery/wire/errors.ts';
import { removeFileDurably } from '@rookery/wire/files.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { createAgent, type Agent } from '../app.ts';
import type { AgentConfig } from '../config.ts';
import { stateDirAt } from '../state-dir/state-dir.ts';

/** How long control may be silent before leaving is given up, in ms: a person is waiting. */
const PATIENCE_MS = 30_000;

export interface LeaveOptions {
  readonly destroySandboxes: boolean;
  /** Leave also when control cannot be told. */
  readonly force: boolean;
  readonly say: (sentence: string) => void;
  readonly log: Logger;
  /** Default 30 s. */
  readonly patienceMs?: number;
}

/**
 * `rookery-agent leave`: takes this machine out of its fleet. Control is told with the host's
 * signature, and shows the host as unreachable because it has left; then the credentials are dropped.
 * Sandboxes go on as they are unless they are to be destroyed.
 *
 * @throws {StartupError} in one sentence, with nothing changed.
 */
export async function leave(config: AgentConfig, options: LeaveOptions): Promise<number> {
  const { destroySandboxes, force, say, log, patienceMs = PATIENCE_MS } = options;
  const agent = await createAgent({ config: { ...config, onExit: 'keep' }, log, say: () => {}, isLeaving: true });
  try {
    const reached = await withinPatience(agent.heard, force ? Math.min(patienceMs, 5_000) : patienceMs);
    if (!reached && !force) {
      throw new StartupError(
        'The control plane does not answer, so nothing was changed; to leave without telling it: rookery-agent leave --force.',
      );
    }
    if (destroySandboxes) say(`Destroyed ${counted(await agent.destroySandboxes())}.`);
    if (reached) await sayGoodbye(agent, force);
    await dropCredentials(config);
    say(
      reached
        ? `Host ${agent.hostId} has left its fleet; its credentials are gone from this machine.`
        : `The credentials of host ${agent.hostId} are gone from this machine; its control plane could not be told.`,
    );
    return 0;
  } finally {
    await agent[Symbol.asyncDispose]();
  }
}

async function sayGoodbye(agent: Agent, force: boolean): Promise<void> {
  try {
    await agent.sayGoodbye();
  } catch (cause) {
    if (force) return;
    throw new StartupError(
      `The control plane has not taken the goodbye (${(cause as Error).message}); the credentials are kept, try again.`,
      { cause },
    );
  }
}

/** What makes this machine that host. The sandboxes' records stay: it may come back as the same host. */
async function dropCredentials(config: AgentConfig): Promise<void> {
  const { credentials, hostKey } = stateDirAt(config.stateDir);
  await removeFileDurably(credentials);
  await removeFileDurably(hostKey);
}

async function withinPatience(event: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), ms)));
  const reached = await Promise.race([event.then(() => true), late]);
  clearTimeout(timer);
  return reached;
}

const counted = (sandboxes: number): string => (sandboxes === 1 ? 'one sandbox' : `${sandboxes} sandboxes`);
