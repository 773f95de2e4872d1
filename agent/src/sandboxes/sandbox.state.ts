import type { ContainerStatus } from '../runtime/runtime.ts';

/** What is observed of a sandbox; the words of the protocol. */
export const OBSERVED_STATUSES = ['STARTING', 'RUNNING', 'PAUSED', 'STOPPED', 'ERROR'] as const;
export type ObservedStatus = (typeof OBSERVED_STATUSES)[number];

export type DesiredState = 'RUNNING' | 'PAUSED';

/** Why the agent paused a sandbox on its own account. */
export type HoldReason = 'CONTROL_LOSS' | 'AGENT_EXIT';

/** What made an attempt to start a sandbox fail: this host, or what was asked of it. */
export const ERROR_CAUSES = ['HOST', 'SANDBOX'] as const;
export type ErrorCause = (typeof ERROR_CAUSES)[number];

export interface SandboxSpec {
  readonly id: string;
  readonly name: string;
  readonly template: string;
  readonly vcpus: number;
  readonly memoryMb: number;
  readonly diskMb: number;
  /** Inactivity after which it is paused, in seconds; null: never. */
  readonly timeoutSeconds: number | null;
}

/** Everything the agent remembers of one sandbox, as it is written to disk. */
export interface SandboxRecord {
  readonly spec: SandboxSpec;
  readonly desiredState: DesiredState;
  readonly generation: number;
  readonly status: ObservedStatus;
  readonly statusReason: string | null;
  readonly startedAt: string | null;
  readonly lastActiveAt: string | null;
  /** The boot in which its container last ran. */
  readonly bootId: string;
  /** The journal of a pause by policy; as long as it stands, the sandbox is kept paused. */
  readonly hold: { readonly reason: HoldReason; readonly since: string } | null;
  /**
   * The journal of a pause for inactivity. It stands until a newer generation says that control knows
   * of it, so that neither a lost report nor a repeated wish of before undoes it.
   */
  readonly idle: { readonly since: string } | null;
  /** Of an `ERROR`. */
  readonly errorCause: ErrorCause | null;
  /** Removal has begun and is finished also after a crash. */
  readonly removing: boolean;
  /**
   * What is known is only what its container says; generation 0, below any of control's, which is how control
   * is made to say anew what it should be.
   */
  readonly damaged: boolean;
}

/** What to do next with a container so that it becomes what is wanted. */
export type Step = 'create' | 'discard' | 'pause' | 'resume' | 'none';

const HOLD_REASONS: Readonly<Record<HoldReason, string>> = {
  CONTROL_LOSS: 'paused by the host because it lost its control plane',
  AGENT_EXIT: 'paused by the host because its agent was stopped',
};

/**
 * Takes a wish of control. A newer generation ends every pause that the host made by itself; the same
 * one only a pause by policy; an older one changes nothing (the very same record comes back). What has
 * ended is not started again by any.
 */
export function accept(
  record: SandboxRecord | undefined,
  spec: SandboxSpec,
  desiredState: DesiredState,
  generation: number,
  bootId: string,
): SandboxRecord {
  if (!record) {
    return {
      spec,
      desiredState,
      generation,
      status: 'STARTING',
      statusReason: null,
      startedAt: null,
      lastActiveAt: null,
      bootId,
      hold: null,
      idle: null,
      errorCause: null,
      removing: false,
      damaged: false,
    };
  }
  if (generation < record.generation) return record;
  if (generation === record.generation) {
    if (record.hold === null && record.desiredState === desiredState) return record;
    return { ...record, desiredState, hold: null };
  }
  return { ...record, spec, desiredState, generation, hold: null, idle: null, damaged: false };
}

/**
 * The record of a sandbox whose own cannot be read any more.
 *
 * INVARIANT: it is not `STARTING`, so that nothing empty is made in its place.
 *
 * @param container undefined when it could not be looked at; it is later.
 */
export function recovered(id: string, container: ContainerStatus | undefined, bootId: string): SandboxRecord {
  const alive = container === 'running' ? 'RUNNING' : container === 'paused' ? 'PAUSED' : undefined;
  const why = container === undefined ? 'could not be looked at' : 'does not run';
  return {
    spec: { id, name: id, template: 'host', vcpus: 1, memoryMb: 1, diskMb: 1, timeoutSeconds: null },
    desiredState: 'RUNNING',
    generation: 0,
    status: alive ?? 'STOPPED',
    statusReason: `its record on the host was damaged${alive ? '' : `, and its container ${why}`}`,
    startedAt: null,
    lastActiveAt: null,
    bootId,
    hold: null,
    idle: null,
    errorCause: null,
    removing: false,
    damaged: true,
  };
}

/** Takes what the runtime says of the container; the very same record comes back when nothing is new. */
export function observe(record: SandboxRecord, container: ContainerStatus, bootId: string, now: string): SandboxRecord {
  switch (container) {
    case 'running':
      return entered(record, 'RUNNING', null, bootId, now);
    case 'paused':
      return entered(record, 'PAUSED', pauseReason(record), bootId, now);
    case 'stopped':
    case 'absent': {
      if (record.status !== 'RUNNING' && record.status !== 'PAUSED') return record;
      const reason = record.bootId === bootId ? 'its process ended' : 'the host restarted';
      return { ...record, status: 'STOPPED', statusReason: reason, hold: null, idle: null };
    }
  }
}

/** The state after an attempt to create failed. */
export const failed = (record: SandboxRecord, reason: string, errorCause: ErrorCause): SandboxRecord => ({
  ...record,
  status: 'ERROR',
  statusReason: reason,
  errorCause,
});

/** Journals a pause by policy; only what should run can be held. */
export function hold(record: SandboxRecord, reason: HoldReason, since: string): SandboxRecord {
  const mayRun = record.status === 'RUNNING' || record.status === 'STARTING';
  if (!mayRun || record.hold || record.desiredState !== 'RUNNING' || record.removing) return record;
  return { ...record, hold: { reason, since } };
}

/** Ends a pause by policy. */
export const release = (record: SandboxRecord): SandboxRecord => (record.hold ? { ...record, hold: null } : record);

/** Whether a sandbox is of those that pause when nothing happens in them, and could now. */
export const canIdle = ({ spec, status, desiredState, hold: held, idle, removing }: SandboxRecord): boolean =>
  spec.timeoutSeconds !== null && status === 'RUNNING' && desiredState === 'RUNNING' && !held && !idle && !removing;

/** Journals a pause for inactivity. */
export const idleSince = (record: SandboxRecord, since: string): SandboxRecord =>
  canIdle(record) ? { ...record, idle: { since } } : record;

/** Whether control still has to hear that the host has paused it for inactivity. */
export const isAutoPaused = ({ idle, status }: SandboxRecord): boolean => idle !== null && status === 'PAUSED';

/**
 * The one thing to do next.
 *
 * INVARIANT: only `STARTING` creates, and nothing becomes `STARTING` again.
 */
export function nextStep(record: SandboxRecord, container: ContainerStatus): Step {
  // Until control has said what it should be, only the policy for its loss touches it.
  if (record.damaged) return record.hold && container === 'running' ? 'pause' : 'none';
  const wanted = record.hold || record.idle ? 'PAUSED' : record.desiredState;
  switch (container) {
    case 'absent':
      return record.status === 'STARTING' ? 'create' : 'none';
    case 'stopped':
      return 'discard';
    case 'running':
      return wanted === 'PAUSED' ? 'pause' : 'none';
    case 'paused':
      return wanted === 'RUNNING' ? 'resume' : 'none';
  }
}

function pauseReason({ hold: held, idle, spec }: SandboxRecord): string | null {
  if (held) return HOLD_REASONS[held.reason];
  return idle ? `paused after ${spec.timeoutSeconds ?? 0} s without activity` : null;
}

function entered(
  record: SandboxRecord,
  status: ObservedStatus,
  reason: string | null,
  bootId: string,
  now: string,
): SandboxRecord {
  // A status that lasts keeps its reason: it may say why the last step failed.
  if (record.status === status && record.bootId === bootId) return record;
  return { ...record, status, statusReason: reason, startedAt: record.startedAt ?? now, bootId };
}
