/**
 * The lifecycle of a sandbox as a pure state machine.
 *
 * Desired and observed state are separate. People change what is wanted ({@link requestPause},
 * {@link requestResume}, {@link requestDestroy}), and each change makes a new generation; hosts say
 * what is ({@link observe}), naming the generation they speak of. An observation of an older
 * generation is dropped: it describes a wish that is gone. So is one of an older epoch than what is
 * known: it was overtaken on its way.
 */

export const DESIRED_STATES = ['RUNNING', 'PAUSED', 'DESTROYED'] as const;
export type DesiredState = (typeof DESIRED_STATES)[number];

/** Why a sandbox is to be paused: somebody asked, it was idle for its timeout, or its host is drained. */
export const PAUSE_CAUSES = ['REQUESTED', 'IDLE', 'DRAIN'] as const;
export type PauseCause = (typeof PAUSE_CAUSES)[number];

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

/** What may have made an attempt to start a sandbox fail: the host, or what was asked of it. */
export const ERROR_CAUSES = ['HOST', 'SANDBOX'] as const;
export type ErrorCause = (typeof ERROR_CAUSES)[number];

/** The part of a sandbox's row that the lifecycle reads and writes. */
export interface SandboxState {
  readonly desiredState: DesiredState;
  /** Null unless it is to be paused. */
  readonly pauseCause: PauseCause | null;
  /** Inactivity after which its host pauses it, in seconds; null: never. */
  readonly timeoutSeconds: number | null;
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
  /** The host paused it because it was idle, and nobody has acknowledged that yet. */
  readonly autoPaused: boolean;
  /** Of an `ERROR`, if the host knows. */
  readonly errorCause: ErrorCause | null;
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
  /** Why the wish cannot be granted, in words that name the state; nothing changes then. */
  readonly refusal?: string;
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
      pauseCause: null,
      generation: state.generation + 1,
      status: 'STOPPING',
      statusReason: state.status === 'MISSING' ? 'Will be destroyed when its host returns.' : null,
      statusBeforeMissing: null,
    },
    push: true,
  };
}

/**
 * Someone wants the sandbox paused. Legal as long as it has not ended and is not to be destroyed;
 * while the host is away the wish is kept. Asking again changes nothing, except that a pause which
 * somebody asked for is no longer one for being idle.
 */
export function requestPause(state: SandboxState, cause: PauseCause): Transition {
  const refusal = endsWishes(state, 'pause');
  if (refusal) return refusal;
  if (state.desiredState === 'PAUSED') {
    const asked = cause === 'REQUESTED' && state.pauseCause !== cause;
    return {
      changes: asked ? { pauseCause: cause, ...reasonWhenPaused(state, cause) } : {},
      push: state.status !== 'PAUSED',
    };
  }
  const wish = { desiredState: 'PAUSED', pauseCause: cause, generation: state.generation + 1 } as const;
  if (state.status === 'MISSING') {
    return {
      changes: { ...wish, statusBeforeMissing: 'PAUSING', statusReason: 'Will be paused when its host returns.' },
      push: true,
    };
  }
  return { changes: { ...wish, status: 'PAUSING', statusReason: pauseReason(cause, state) }, push: true };
}

/**
 * Someone wants the sandbox to run. Legal as long as it has not ended and is not to be destroyed;
 * while the host is away the wish is kept.
 *
 * It wins against a pause for inactivity that the host has made and control has not heard of yet:
 * the new generation makes the host's report an old one. That is why one that seems to run gets a
 * new generation too, if it can pause itself.
 */
export function requestResume(state: SandboxState): Transition {
  const refusal = endsWishes(state, 'resume');
  if (refusal) return refusal;
  const generation = state.generation + 1;
  if (state.desiredState === 'RUNNING') {
    if (state.status === 'PAUSED')
      return { changes: { generation, status: 'RESUMING', statusReason: null }, push: true };
    const mayHavePaused = state.timeoutSeconds !== null && (state.status === 'RUNNING' || state.status === 'MISSING');
    return mayHavePaused ? { changes: { generation }, push: true } : { changes: {}, push: state.status !== 'RUNNING' };
  }
  const wish = { desiredState: 'RUNNING', pauseCause: null, generation } as const;
  if (state.status === 'MISSING') {
    return {
      changes: { ...wish, statusBeforeMissing: 'RESUMING', statusReason: 'Will be resumed when its host returns.' },
      push: true,
    };
  }
  return { changes: { ...wish, status: 'RESUMING', statusReason: null }, push: true };
}

/** The refusal of a wish for a sandbox that has ended or is about to. */
function endsWishes(state: SandboxState, verb: string): Transition | undefined {
  const over = state.deletedAt !== null || state.desiredState === 'DESTROYED' || isEnded(state.status);
  if (!over) return undefined;
  const word = state.deletedAt ? 'gone' : state.status === 'ERROR' ? 'in error' : state.status.toLowerCase();
  return { changes: {}, push: false, refusal: `Cannot ${verb} a sandbox that is ${word}.` };
}

function pauseReason(cause: PauseCause | null, { timeoutSeconds }: Pick<SandboxState, 'timeoutSeconds'>): string {
  if (cause === 'IDLE') return `Paused after ${timeoutSeconds ?? 0} s without activity.`;
  return cause === 'DRAIN' ? 'Paused because its host was drained.' : 'Paused on request.';
}

const reasonWhenPaused = (state: SandboxState, cause: PauseCause): Partial<SandboxState> =>
  state.status === 'PAUSED' ? { statusReason: pauseReason(cause, state) } : {};

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
  return 'absentAsOf' in report ? observeAbsent(state, report, now) : observePresent(state, report, now);
}

function observeAbsent(state: SandboxState, { absentAsOf }: Absence, now: Date): Transition {
  if (state.desiredState === 'DESTROYED') {
    // A list that was made before the first push arrived does not have it either: only its removal, after which the
    // host refuses that push, is proof.
    if (absentAsOf !== null && state.observedGeneration === 0) return { changes: {}, push: true };
    return {
      changes: { status: 'STOPPED', holdsReservation: false, observedGeneration: state.generation, deletedAt: now },
      push: false,
    };
  }
  if (isEnded(state.status)) return nothing;
  // The host has never confirmed any generation: it has not heard of it, or our push was lost. One that it
  // had is gone for good, whatever was wished meanwhile: applying it again would make an empty one in its place.
  if (state.observedGeneration === 0) return { ...backFromMissing(state), push: true };
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

function observePresent(state: SandboxState, report: SandboxReport, now: Date): Transition {
  if (report.generation > state.generation) return nothing;
  if (report.generation < state.generation) return { ...backFromMissing(state), push: true };
  if (state.desiredState === 'DESTROYED') return { changes: {}, push: true };
  if (isEnded(state.status)) return nothing;

  const seen = {
    observedGeneration: report.generation,
    statusBeforeMissing: null,
    startedAt: plausible(report.startedAt, state.startedAt, now) ?? state.startedAt,
    lastActiveAt: latest(plausible(report.lastActiveAt, state.lastActiveAt, now), state.lastActiveAt),
  };
  if (report.autoPaused && report.status === 'PAUSED' && state.desiredState === 'RUNNING') {
    // What the host did becomes what is wanted. The new generation is its acknowledgement: until it
    // arrives the host reports the old one again and again, which is dropped and answered by a push.
    return {
      changes: {
        ...seen,
        desiredState: 'PAUSED',
        pauseCause: 'IDLE',
        generation: state.generation + 1,
        status: 'PAUSED',
        statusReason: pauseReason('IDLE', state),
        observedEpoch: report.epoch,
      },
      push: true,
    };
  }
  const ended = report.status === 'STOPPED' || report.status === 'ERROR';
  const next: Partial<SandboxState> = {
    ...seen,
    ...inTheLightOf(state, report),
    ...(ended ? { holdsReservation: false } : {}),
  };
  const changes = onlyChanged(state, next);
  // The epoch alone is no change: it would be one with every inventory.
  const news = Object.keys(changes).length > 0 ? { ...changes, observedEpoch: report.epoch } : changes;
  const contrary =
    state.desiredState === 'PAUSED'
      ? report.status === 'RUNNING' || report.status === 'STARTING'
      : report.status === 'PAUSED';
  return { changes: news, push: contrary };
}

/** What the host said, as it is shown: one that is not yet as it is to be is on its way there. */
function inTheLightOf(state: SandboxState, { status, statusReason }: SandboxReport): Partial<SandboxState> {
  if (status === 'STOPPED' || status === 'ERROR') return { status, statusReason };
  if (state.desiredState !== 'PAUSED') {
    // A host may speak of a wish that it has taken and not carried out yet.
    return { status: status === 'PAUSED' && state.status === 'RESUMING' ? 'RESUMING' : status, statusReason };
  }
  if (status === 'PAUSED') return { status, statusReason: pauseReason(state.pauseCause, state) };
  return { status: 'PAUSING', statusReason: statusReason ?? pauseReason(state.pauseCause, state) };
}

/**
 * Its host could not start it. It begins anew on another host, which has heard of no generation and of
 * no epoch yet; or, when no other host takes it, this is its end.
 */
export function relocate(state: SandboxState, hasPlace: boolean): Transition {
  if (!hasPlace) {
    return {
      changes: {
        status: 'ERROR',
        statusBeforeMissing: null,
        holdsReservation: false,
        observedGeneration: state.generation,
      },
      push: false,
    };
  }
  return {
    changes: {
      status: state.desiredState === 'PAUSED' ? 'PAUSING' : 'PENDING',
      statusReason: null,
      statusBeforeMissing: null,
      generation: state.generation + 1,
      observedGeneration: 0,
      observedEpoch: 0,
      startedAt: null,
      holdsReservation: true,
    },
    push: true,
  };
}

/** Of a sandbox that was given up; see {@link giveUp}. */
export const UNCONFIRMED_REASON =
  'Its host did not say in time whether it has started it. Whatever it may have started of it is removed.';

/** Whether it waits for its host, which can be heard, to say of it for the first time. */
export const isUnconfirmed = (state: SandboxState): boolean =>
  state.observedGeneration === 0 &&
  state.desiredState !== 'DESTROYED' &&
  state.deletedAt === null &&
  state.status !== 'MISSING' &&
  !isEnded(state.status);

/**
 * Its host has not said for too long whether it has started it. Not tried elsewhere: the host may have
 * started it all the same, and nothing may live on two hosts. What it then runs is an orphan.
 */
export function giveUp(state: SandboxState): Transition {
  if (!isUnconfirmed(state)) return nothing;
  return {
    changes: { status: 'ERROR', statusReason: UNCONFIRMED_REASON, holdsReservation: false },
    push: false,
  };
}

/** The host cannot do what it was told: said where people look, until it can. */
export function noteTrouble(state: SandboxState, reason: string): Transition {
  const onTheWay = (['PENDING', 'STARTING', 'PAUSING', 'RESUMING'] as SandboxStatus[]).includes(state.status);
  return { changes: onTheWay && state.statusReason !== reason ? { statusReason: reason } : {}, push: false };
}

/** Written by the set-based statement that declares the sandboxes of a silent host missing. */
export const HOST_LOST_REASON = 'Its host has not been heard from.';

function backFromMissing(state: SandboxState): { changes: Partial<SandboxState> } {
  if (state.status !== 'MISSING' || state.statusBeforeMissing === null) return { changes: {} };
  return { changes: { status: state.statusBeforeMissing, statusReason: null, statusBeforeMissing: null } };
}

/** A moment by the host's clock, which may be days ahead: nothing has happened after it was heard of. */
const plausible = (said: Date | null, known: Date | null, now: Date): Date | null =>
  said && said > now ? (known ?? now) : said;

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
