/**
 * The lifecycle of a sandbox as a pure state machine.
 *
 * Desired and observed state are separate. People change what is wanted ({@link requestDestroy}), and each
 * change makes a new generation; hosts say what is ({@link observe}), naming the generation they
 * speak of. An observation of an older generation is dropped: it describes a wish that is gone. So
 * is one of an older epoch than what is known: it was overtaken on its way.
 */

export const DESIRED_STATES = ['RUNNING', 'DESTROYED'] as const;
export type DesiredState = (typeof DESIRED_STATES)[number];

export const SANDBOX_STATUSES = [
  'PENDING',
  'STARTING',
  'RUNNING',
  'PAUSING',
  'PAUSED',
  'RESUMING',
  'STOPPING',
  'STOPPED',
  'MISSING',
  'ERROR',
] as const;
export type SandboxStatus = (typeof SANDBOX_STATUSES)[number];

export const OBSERVED_STATUSES = ['STARTING', 'RUNNING', 'PAUSED', 'STOPPED', 'ERROR'] as const;
export type ObservedStatus = (typeof OBSERVED_STATUSES)[number];

/** Statuses in which the sandbox exists on its host, or may: those that go missing with it. */
export const STATUSES_THAT_GO_MISSING = [
  'PENDING',
  'STARTING',
  'RUNNING',
  'PAUSING',
  'PAUSED',
  'RESUMING',
] as const satisfies readonly SandboxStatus[];

/** Statuses after which nothing runs any more. */
export const ENDED_STATUSES = ['STOPPED', 'ERROR'] as const satisfies readonly SandboxStatus[];

export const isEnded = (status: SandboxStatus): boolean =>
  (ENDED_STATUSES as readonly SandboxStatus[]).includes(status);

/** The part of a sandbox's row that the lifecycle reads and writes. */
export interface SandboxState {
  readonly desiredState: DesiredState;
  readonly generation: number;
  readonly observedGeneration: number;
  readonly observedEpoch: number;
  readonly status: SandboxStatus;
  readonly statusReason: string | null;
  readonly statusBeforeMissing: SandboxStatus | null;
  readonly holdsReservation: boolean;
  readonly startedAt: Date | null;
  readonly lastActiveAt: Date | null;
  readonly deletedAt: Date | null;
}

/** What a host says about one sandbox. */
export interface SandboxReport {
  readonly generation: number;
  /** The agent's epoch as of which this is true. */
  readonly epoch: number;
  readonly status: ObservedStatus;
  readonly statusReason: string | null;
  readonly startedAt: Date | null;
  readonly lastActiveAt: Date | null;
}

/** A host does not have a sandbox, as of an epoch of its agent; null: as of now, because it has just removed it. */
export interface Absence {
  readonly absentAsOf: number | null;
}

export interface Transition {
  /** The fields that change; empty when nothing does. */
  readonly changes: Partial<SandboxState>;
  /** Whether the host does not have what is wanted and must be told (again). */
  readonly push: boolean;
}

const nothing: Transition = { changes: {}, push: false };

/**
 * Someone wants the sandbox gone. Legal from every state, also while the host is away: the wish is
 * kept and carried out when it returns. Asking again changes nothing.
 */
export function requestDestroy(state: SandboxState): Transition {
  if (state.deletedAt) return nothing;
  if (state.desiredState === 'DESTROYED') return { changes: {}, push: true };
  return {
    changes: {
      desiredState: 'DESTROYED',
      generation: state.generation + 1,
      status: 'STOPPING',
      statusReason: state.status === 'MISSING' ? 'Will be destroyed when its host returns.' : null,
      statusBeforeMissing: null,
    },
    push: true,
  };
}

/** Control is about to tell the host of this sandbox for the first time. */
export function markPushed(state: SandboxState): Transition {
  return state.status === 'PENDING' ? { changes: { status: 'STARTING' }, push: false } : nothing;
}

/**
 * A host reported on the sandbox, or gave a complete list in which it does not appear.
 *
 * @param now the receiver's clock.
 */
export function observe(state: SandboxState, report: SandboxReport | Absence, now: Date): Transition {
  if (state.deletedAt) return nothing;
  const epoch = 'absentAsOf' in report ? report.absentAsOf : report.epoch;
  if (epoch !== null && epoch < state.observedEpoch) return nothing;
  return 'absentAsOf' in report ? observeAbsent(state, now) : observePresent(state, report);
}

function observeAbsent(state: SandboxState, now: Date): Transition {
  if (state.desiredState === 'DESTROYED') {
    return {
      changes: { status: 'STOPPED', holdsReservation: false, observedGeneration: state.generation, deletedAt: now },
      push: false,
    };
  }
  if (isEnded(state.status)) return nothing;
  // The host has never confirmed this generation: it has not heard of it, or our push was lost.
  if (state.observedGeneration < state.generation) return { ...backFromMissing(state), push: true };
  return {
    changes: {
      status: 'STOPPED',
      statusReason: 'Its host no longer has it.',
      statusBeforeMissing: null,
      holdsReservation: false,
    },
    push: false,
  };
}

function observePresent(state: SandboxState, report: SandboxReport): Transition {
  if (report.generation > state.generation) return nothing;
  if (report.generation < state.generation) return { ...backFromMissing(state), push: true };
  if (state.desiredState === 'DESTROYED') return { changes: {}, push: true };
  if (isEnded(state.status)) return nothing;

  const ended = report.status === 'STOPPED' || report.status === 'ERROR';
  const next: Partial<SandboxState> = {
    observedGeneration: report.generation,
    status: report.status,
    statusReason: report.statusReason,
    statusBeforeMissing: null,
    startedAt: report.startedAt ?? state.startedAt,
    lastActiveAt: latest(report.lastActiveAt, state.lastActiveAt),
    ...(ended ? { holdsReservation: false } : {}),
  };
  const changes = onlyChanged(state, next);
  // The epoch alone is no change: it would be one with every inventory.
  const news = Object.keys(changes).length > 0 ? { ...changes, observedEpoch: report.epoch } : changes;
  return { changes: news, push: report.status === 'PAUSED' };
}

/** The host cannot do what it was told: said where people look, until it can. */
export function noteTrouble(state: SandboxState, reason: string): Transition {
  const onTheWay = state.status === 'PENDING' || state.status === 'STARTING' || state.status === 'RESUMING';
  return { changes: onTheWay && state.statusReason !== reason ? { statusReason: reason } : {}, push: false };
}

/** Written by the set-based statement that declares the sandboxes of a silent host missing. */
export const HOST_LOST_REASON = 'Its host has not been heard from.';

function backFromMissing(state: SandboxState): { changes: Partial<SandboxState> } {
  if (state.status !== 'MISSING' || state.statusBeforeMissing === null) return { changes: {} };
  return { changes: { status: state.statusBeforeMissing, statusReason: null, statusBeforeMissing: null } };
}

function latest(a: Date | null, b: Date | null): Date | null {
  if (!a || !b) return a ?? b;
  return a > b ? a : b;
}

function onlyChanged(state: SandboxState, next: Partial<SandboxState>): Partial<SandboxState> {
  const same = (a: unknown, b: unknown): boolean =>
    a instanceof Date && b instanceof Date ? a.getTime() === b.getTime() : a === b;
  return Object.fromEntries(
    Object.entries(next).filter(([field, value]) => !same(value, state[field as keyof SandboxState])),
  );
}
