import { isEnded, type SandboxStatus } from '../sandboxes/sandbox.state.ts';

/** What a drain does with the sandboxes that are there: pause and keep them, or destroy them. */
export const DRAIN_POLICIES = ['PAUSE', 'DESTROY'] as const;
export type DrainPolicy = (typeof DRAIN_POLICIES)[number];

/** COMPLETED: every sandbox is as the policy wants it. FAILED: the deadline came first. CANCELLED: the host was uncordoned or deleted. */
export const DRAIN_STATES = ['RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED'] as const;
export type DrainState = (typeof DRAIN_STATES)[number];

/** The part of a sandbox's row that a drain looks at. */
export interface DrainedSandbox {
  readonly status: SandboxStatus;
  readonly deletedAt: Date | null;
}

export interface DrainProgress {
  readonly state: DrainState;
  readonly total: number;
  readonly done: number;
  readonly failed: number;
}

/**
 * How far a drain has come, from what its sandboxes are: never from what was asked of them, so that
 * it is true after a restart too.
 *
 * @param sandboxes all that are part of it.
 */
export function drainProgress(
  { policy, deadlineAt }: { readonly policy: DrainPolicy; readonly deadlineAt: Date },
  sandboxes: readonly DrainedSandbox[],
  now: Date,
): DrainProgress {
  const total = sandboxes.length;
  const done = sandboxes.filter((sandbox) => isSettled(policy, sandbox)).length;
  if (done === total) return { state: 'COMPLETED', total, done, failed: 0 };
  if (now < deadlineAt) return { state: 'RUNNING', total, done, failed: 0 };
  return { state: 'FAILED', total, done, failed: total - done };
}

/** Whether a drain has nothing left to do with a sandbox. */
export function isSettled(policy: DrainPolicy, { status, deletedAt }: DrainedSandbox): boolean {
  // What has ended by itself is out of the way too.
  if (deletedAt !== null || isEnded(status)) return true;
  return policy === 'PAUSE' && status === 'PAUSED';
}
