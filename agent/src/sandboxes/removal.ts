import type { Logger } from '@rookery/wire/log.ts';
import { Backoff } from '../backoff.ts';
import type { SandboxSupervisor } from './sandbox.supervisor.ts';

/** Removes all sandboxes. @returns how many there were. */
export async function removeAll(supervisor: SandboxSupervisor): Promise<number> {
  const { sandboxes } = supervisor.inventory();
  await Promise.all(sandboxes.map(({ id, generation }) => supervisor.remove(id, generation)));
  return sandboxes.length;
}

/**
 * Removes what a deleted host still has, whatever control has wanted of it, and tries again until nothing is left: whoever
 * forgets the host leaves its containers to nobody.
 *
 * @param retryCapMs longest wait between two tries, in ms.
 * @throws the signal's reason when the agent stops before.
 */
export async function removeForGood(
  supervisor: SandboxSupervisor,
  retryCapMs: number,
  signal: AbortSignal,
  log: Logger,
): Promise<void> {
  const backoff = new Backoff(retryCapMs);
  for (;;) {
    const removals = await Promise.allSettled(
      supervisor.inventory().sandboxes.map(({ id, generation }) => supervisor.remove(id, generation + 1)),
    );
    signal.throwIfAborted();
    const left = supervisor.inventory().sandboxes.map(({ id }) => id);
    if (left.length === 0) return;
    const err = removals.find((removal) => removal.status === 'rejected')?.reason as unknown;
    log.error({ err, left }, 'sandboxes of the deleted host could not be removed, trying again');
    await backoff.wait(signal);
    signal.throwIfAborted();
  }
}
