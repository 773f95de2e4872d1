import { isDeepStrictEqual } from 'node:util';
import { describe, expect, test } from 'vitest';
import {
  DESIRED_STATES,
  giveUp,
  isEnded,
  markPushed,
  noteTrouble,
  OBSERVED_STATUSES,
  observe,
  PAUSE_CAUSES,
  relocate,
  requestDestroy,
  requestPause,
  requestResume,
  SANDBOX_STATUSES,
  UNCONFIRMED_REASON,
  type Absence,
  type SandboxReport,
  type SandboxState,
  type Transition,
} from './sandbox.state.ts';

/**
 * Every state × every wish, report and absence. `sandbox.state.test.ts` tells the stories; this is the whole
 * table, so that no cell of it is left to chance.
 */

const NOW = new Date('2026-01-02T03:04:05Z');
const GENERATION = 3;
const EPOCH = 10;

const CAUSES = { RUNNING: [null], PAUSED: PAUSE_CAUSES, DESTROYED: [null] } as const;

/** Combinations that the lifecycle can lead to: what is to be destroyed is on its way there or has ended. */
const STATES: SandboxState[] = DESIRED_STATES.flatMap((desiredState) =>
  CAUSES[desiredState].flatMap((pauseCause) =>
    SANDBOX_STATUSES.filter((status) =>
      desiredState === 'DESTROYED' ? ['STOPPING', 'STOPPED'].includes(status) : status !== 'STOPPING',
    ).flatMap((status) =>
      (status === 'MISSING' ? (['STARTING', 'RUNNING', 'PAUSED'] as const) : [null]).flatMap((statusBeforeMissing) =>
        [0, GENERATION - 1, GENERATION].flatMap((observedGeneration) =>
          [null, 60].map((timeoutSeconds): SandboxState => ({
            desiredState,
            pauseCause,
            timeoutSeconds,
            generation: GENERATION,
            observedGeneration,
            observedEpoch: EPOCH,
            status,
            statusReason: 'before',
            statusBeforeMissing,
            holdsReservation: !isEnded(status),
            startedAt: observedGeneration === 0 ? null : NOW,
            lastActiveAt: null,
            deletedAt: desiredState === 'DESTROYED' && status === 'STOPPED' ? NOW : null,
          })),
        ),
      ),
    ),
  ),
);

const REPORTS: SandboxReport[] = OBSERVED_STATUSES.flatMap((status) =>
  [GENERATION - 1, GENERATION, GENERATION + 1].flatMap((generation) =>
    [EPOCH - 1, EPOCH, EPOCH + 1].flatMap((epoch) =>
      (status === 'PAUSED' ? [false, true] : [false]).map((autoPaused) => ({
        generation,
        epoch,
        status,
        statusReason: null,
        startedAt: NOW,
        lastActiveAt: null,
        autoPaused,
        errorCause: null,
      })),
    ),
  ),
);

const ABSENCES: Absence[] = [null, EPOCH - 1, EPOCH, EPOCH + 1].map((absentAsOf) => ({ absentAsOf }));

/** What of a transition is foretold: the rest of the row stays, or is asserted by the stories. */
interface Outcome {
  readonly status: SandboxState['status'];
  readonly desiredState?: SandboxState['desiredState'];
  readonly push: boolean;
  readonly isDeleted?: boolean;
  readonly isNewGeneration?: boolean;
  readonly isRefused?: boolean;
}

const stays = (state: SandboxState, push = false): Outcome => ({ status: state.status, push });
const isBack = (state: SandboxState): Outcome => ({ status: state.statusBeforeMissing ?? state.status, push: true });

function afterReport(state: SandboxState, { generation, epoch, status, autoPaused }: SandboxReport): Outcome {
  if (state.deletedAt || epoch < EPOCH || generation > GENERATION) return stays(state);
  if (generation < GENERATION) return isBack(state);
  if (state.desiredState === 'DESTROYED') return stays(state, true);
  if (isEnded(state.status)) return stays(state);
  if (isEnded(status)) return { status, push: false };
  if (state.desiredState === 'PAUSED')
    return status === 'PAUSED' ? { status, push: false } : { status: 'PAUSING', push: true };
  if (status !== 'PAUSED') return { status, push: false };
  if (autoPaused) return { status, desiredState: 'PAUSED', push: true, isNewGeneration: true };
  return { status: state.status === 'RESUMING' ? 'RESUMING' : 'PAUSED', push: true };
}

function afterAbsence(state: SandboxState, { absentAsOf }: Absence): Outcome {
  if (state.deletedAt || (absentAsOf !== null && absentAsOf < EPOCH)) return stays(state);
  const isKnownToHost = state.observedGeneration > 0;
  if (state.desiredState === 'DESTROYED') {
    // A list without what was never confirmed does not prove that no push is still on its way to the host.
    return absentAsOf === null || isKnownToHost
      ? { status: 'STOPPED', push: false, isDeleted: true }
      : stays(state, true);
  }
  if (isEnded(state.status)) return stays(state);
  return isKnownToHost ? { status: 'STOPPED', push: false } : isBack(state);
}

function afterWish(state: SandboxState, wish: 'DESTROY' | 'PAUSE' | 'RESUME'): Outcome {
  const { status, desiredState, timeoutSeconds } = state;
  if (wish === 'DESTROY') {
    if (state.deletedAt) return stays(state);
    if (desiredState === 'DESTROYED') return stays(state, true);
    return { status: 'STOPPING', desiredState: 'DESTROYED', push: true, isNewGeneration: true };
  }
  if (desiredState === 'DESTROYED' || isEnded(status)) return { status, push: false, isRefused: true };
  if (wish === 'PAUSE') {
    if (desiredState === 'PAUSED') return stays(state, status !== 'PAUSED');
    const next = status === 'MISSING' ? status : 'PAUSING';
    return { status: next, desiredState: 'PAUSED', push: true, isNewGeneration: true };
  }
  if (desiredState === 'RUNNING' && status !== 'PAUSED') {
    // It may have paused itself without our having heard of it.
    const isNewGeneration = timeoutSeconds !== null && (status === 'RUNNING' || status === 'MISSING');
    return { status, push: isNewGeneration || status !== 'RUNNING', isNewGeneration };
  }
  const next = status === 'MISSING' ? status : 'RESUMING';
  return { status: next, desiredState: 'RUNNING', push: true, isNewGeneration: true };
}

/** What is true of every transition, whatever it is. */
function isSound(before: SandboxState, after: SandboxState): boolean {
  return (
    (before.deletedAt === null || isDeepStrictEqual(after, before)) &&
    (!isEnded(before.status) || isEnded(after.status) || after.desiredState === 'DESTROYED') &&
    (before.holdsReservation || !after.holdsReservation) &&
    (after.holdsReservation || isEnded(after.status) || !before.holdsReservation) &&
    (!isEnded(after.status) || !after.holdsReservation) &&
    after.generation >= before.generation &&
    after.observedGeneration >= before.observedGeneration &&
    after.observedGeneration <= after.generation &&
    after.observedEpoch >= before.observedEpoch &&
    (after.desiredState === before.desiredState || after.generation > before.generation) &&
    (after.pauseCause !== null) === (after.desiredState === 'PAUSED') &&
    (after.statusBeforeMissing !== null) === (after.status === 'MISSING')
  );
}

/** Cells of the table in which something else came out than was foretold. */
function wrong<T>(
  inputs: readonly T[],
  take: (state: SandboxState, input: T) => Transition,
  foretell: (state: SandboxState, input: T) => Outcome,
): object[] {
  return STATES.flatMap((state) => inputs.map((input) => ({ state, input }))).flatMap(({ state, input }) => {
    const transition = take(state, input);
    const next = { ...state, ...transition.changes };
    const { status, push, desiredState = state.desiredState, ...flags } = foretell(state, input);
    const isRight =
      next.status === status &&
      next.desiredState === desiredState &&
      transition.push === push &&
      (next.deletedAt !== null) === (state.deletedAt !== null || flags.isDeleted === true) &&
      next.generation - state.generation === (flags.isNewGeneration ? 1 : 0) &&
      (transition.refusal !== undefined) === (flags.isRefused === true);
    return isRight && isSound(state, next) ? [] : [{ state, input, transition }];
  });
}

describe('every state ×', () => {
  test('every wish', () => {
    expect(wrong(['DESTROY' as const], requestDestroy, afterWish)).toEqual([]);
    expect(wrong(PAUSE_CAUSES, requestPause, (state) => afterWish(state, 'PAUSE'))).toEqual([]);
    expect(wrong(['RESUME' as const], requestResume, afterWish)).toEqual([]);
  });

  test('every report of its host, of every generation and epoch', () => {
    expect(wrong(REPORTS, (state, report) => observe(state, report, NOW), afterReport)).toEqual([]);
  });

  test('every kind of absence', () => {
    expect(wrong(ABSENCES, (state, absence) => observe(state, absence, NOW), afterAbsence)).toEqual([]);
  });

  test('what control does itself: the first push, trouble, giving up', () => {
    const only = (from: readonly string[], to: SandboxState['status']) => (state: SandboxState) =>
      from.includes(state.status) ? { status: to, push: false } : stays(state);
    expect(wrong([0], markPushed, only(['PENDING'], 'STARTING'))).toEqual([]);
    expect(wrong(['no runtime'], noteTrouble, (state) => stays(state))).toEqual([]);
    expect(
      wrong([0], giveUp, (state) => {
        const waits = state.observedGeneration === 0 && state.desiredState !== 'DESTROYED' && !isEnded(state.status);
        return waits && state.status !== 'MISSING' ? { status: 'ERROR', push: false } : stays(state);
      }),
    ).toEqual([]);
  });
});

test.each(DESIRED_STATES.filter((desired) => desired !== 'DESTROYED'))(
  'one that is to be %s and goes to another host begins anew there; without one it ends',
  (desiredState) => {
    for (const state of STATES.filter((one) => one.desiredState === desiredState && !isEnded(one.status))) {
      expect({ ...state, ...relocate(state, true).changes }).toMatchObject({
        status: desiredState === 'PAUSED' ? 'PAUSING' : 'PENDING',
        statusBeforeMissing: null,
        generation: GENERATION + 1,
        observedGeneration: 0,
        observedEpoch: 0,
        startedAt: null,
        holdsReservation: true,
      });
      expect(relocate(state, false)).toMatchObject({ changes: { status: 'ERROR', holdsReservation: false } });
    }
  },
);

test('one that was given up says that nobody knows whether it was started', () => {
  const [state] = STATES.filter(({ status, observedGeneration }) => status === 'STARTING' && observedGeneration === 0);
  expect(giveUp(state as SandboxState).changes.statusReason).toBe(UNCONFIRMED_REASON);
});
