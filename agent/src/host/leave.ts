import { StartupError } from '@rookery/wire/errors.ts';
import { removeFileDurably } from '@rookery/wire/files.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { createAgent, type Agent } from '../app.ts';
import { Backoff } from '../backoff.ts';
import type { AgentConfig } from '../config.ts';
import { CredentialStore } from '../enrolment/credential.store.ts';
import { destroyLeftovers } from './leftovers.ts';
import type { RuntimeFinder } from '../runtime/runtime-finder.ts';
import { stateDirAt } from '../state-dir/state-dir.ts';

/** How long control may be silent before leaving is given up, in ms: a person is waiting. */
const PATIENCE_MS = 30_000;

/** The same where it is left untold then, in ms. */
const FORCED_PATIENCE_MS = 5_000;

const REPORT_BACKOFF_CAP_MS = 2_000;

export interface LeaveOptions {
  readonly destroySandboxes: boolean;
  /** Leave also when control cannot be told. */
  readonly force: boolean;
  readonly say: (sentence: string) => void;
  readonly log: Logger;
  /** Default: the OCI runtimes of this machine. */
  readonly finder?: RuntimeFinder | undefined;
  /** Default 30 s. */
  readonly patienceMs?: number;
}

/**
 * `rookery-agent leave`: takes this machine out of its fleet. Control is told with the host's
 * signature, and shows the host as unreachable because it has left; then the credentials are dropped.
 * Sandboxes go on as they are unless they are to be destroyed. Whoever has left may leave again.
 *
 * @throws {StartupError} in one sentence, with the credentials kept and nothing changed, unless it has come to destroying sandboxes.
 */
export async function leave(config: AgentConfig, options: LeaveOptions): Promise<number> {
  const { destroySandboxes, force, say, log, finder, patienceMs = PATIENCE_MS } = options;
  const state = stateDirAt(config.stateDir);
  const store = new CredentialStore(state);
  const credentials = await store.load();
  if (!credentials) {
    // Those of a host that has left without them.
    const destroyed = destroySandboxes ? await destroyLeftovers(config, log, finder) : 0;
    if (destroyed > 0) say(`Destroyed ${counted(destroyed)}.`);
    const { state: before, reason } = await store.loadStatus();
    say(before === 'LEFT' ? `This machine has left its fleet already: ${reason}` : 'This machine is in no fleet.');
    return 0;
  }
  const agent = await createAgent({
    config: { ...config, onExit: 'keep' },
    log,
    say: () => {},
    isLeaving: true,
    ...(finder ? { finder } : {}),
  });
  try {
    const patience = AbortSignal.timeout(force ? Math.min(patienceMs, FORCED_PATIENCE_MS) : patienceMs);
    const told = await maySayGoodbye(agent, force, patience);
    if (told === 'deleted') {
      if (!(await before(agent.deleted, patience))) {
        throw new StartupError(
          `Host ${agent.hostId} was deleted, and not all of its sandboxes could be removed yet; its credentials are kept, try again, or start the agent, which goes on trying.`,
        );
      }
      say(`Host ${agent.hostId} was deleted: its sandboxes are removed and its credentials dropped.`);
      return 0;
    }
    if (destroySandboxes) say(`Destroyed ${counted(await agent.destroySandboxes())}.`);
    if (told === 'yes')
      await reportPatiently(agent, force, force ? Math.min(patienceMs, FORCED_PATIENCE_MS) : patienceMs);
    const isTold = told === 'already' || (told === 'yes' && (await sayGoodbye(agent, force)));
    // The sandboxes' records stay: the machine may come back as the same host.
    await store.leave(credentials);
    await removeFileDurably(state.hostKey);
    say(
      isTold
        ? `Host ${agent.hostId} has left its fleet; its credentials are gone from this machine.`
        : `The credentials of host ${agent.hostId} are gone from this machine; its control plane could not be told.`,
    );
    return 0;
  } finally {
    await agent[Symbol.asyncDispose]();
  }
}

/**
 * Whether control would take a goodbye, asked before anything is destroyed. `already`: it has taken one
 * whose answer was lost, which is why it refuses the credentials.
 *
 * @throws {StartupError} when it would not, unless forced.
 */
async function maySayGoodbye(
  agent: Agent,
  force: boolean,
  patience: AbortSignal,
): Promise<'yes' | 'already' | 'deleted' | 'no'> {
  const standing = await agent.askStanding(patience);
  switch (standing?.state) {
    case 'DELETED':
      return 'deleted';
    case 'REFUSED':
      return (await sayGoodbye(agent, force)) ? 'already' : 'no';
    case 'CLONED':
      if (force) return 'no';
      throw new StartupError(
        `${standing.reason ?? 'Two machines have used this host’s credentials.'} Until then neither can leave, and nothing was changed.`,
      );
    default:
      if (standing && (await before(agent.heard, patience))) return 'yes';
      if (force) return 'no';
      throw new StartupError(
        'The control plane does not answer, so nothing was changed; to leave without telling it: rookery-agent leave --force.',
      );
  }
}

/**
 * Tells control what there is now, for it has no other way to learn that what was destroyed is gone. It may refuse that
 * for a while: until it notices that the tunnel of the agent which ran here before is dead, this one is a second agent.
 *
 * @throws {StartupError} when it has not taken it in time, unless forced.
 */
async function reportPatiently(agent: Agent, force: boolean, patienceMs: number): Promise<void> {
  const patience = AbortSignal.timeout(patienceMs);
  const backoff = new Backoff(REPORT_BACKOFF_CAP_MS);
  for (;;) {
    try {
      return await agent.reportAll();
    } catch (cause) {
      if (!patience.aborted) {
        await backoff.wait(patience);
        continue;
      }
      if (force) return;
      throw new StartupError(
        `The control plane has not taken the last report (${(cause as Error).message}); the credentials are kept, try again, or leave all the same: rookery-agent leave --force.`,
        { cause },
      );
    }
  }
}

/** @returns whether control has taken it; false only when forced. */
async function sayGoodbye(agent: Agent, force: boolean): Promise<boolean> {
  try {
    await agent.sayGoodbye();
    return true;
  } catch (cause) {
    if (force) return false;
    throw new StartupError(
      `The control plane has not taken the goodbye (${(cause as Error).message}); the credentials are kept, try again, or leave without telling it: rookery-agent leave --force.`,
      { cause },
    );
  }
}

/** Whether something has happened before the patience was over. */
async function before(happened: Promise<void>, patience: AbortSignal): Promise<boolean> {
  const over = new Promise<boolean>((resolve) => {
    if (patience.aborted) resolve(false);
    patience.addEventListener('abort', () => resolve(false), { once: true });
  });
  return Promise.race([happened.then(() => true), over]);
}

const counted = (sandboxes: number): string => (sandboxes === 1 ? 'one sandbox' : `${sandboxes} sandboxes`);
