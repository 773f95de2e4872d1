import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  DESIRED_STATES,
  ENDED_STATUSES,
  isEnded,
  markPushed,
  noteTrouble,
  OBSERVED_STATUSES,
  observe,
  PAUSE_CAUSES,
  requestDestroy,
  requestPause,
  requestResume,
  SANDBOX_STATUSES,
  STATUSES_THAT_GO_MISSING,
  type ObservedStatus,
  type SandboxReport,
  type SandboxState,
  type SandboxStatus,
  type Transition,
} from './sandbox.state.ts';

const NOW = new Date('2026-01-02T03:04:05Z');

function newState(state: Partial<SandboxState> = {}): SandboxState {
  return {
    desiredState: 'RUNNING',
    pauseCause: null,
    timeoutSeconds: null,
    generation: 1,
    observedGeneration: 1,
    observedEpoch: 10,
    status: 'RUNNING',
    statusReason: null,
    statusBeforeMissing: state.status === 'MISSING' ? 'RUNNING' : null,
    holdsReservation: !isEnded(state.status ?? 'RUNNING'),
    startedAt: NOW,
    lastActiveAt: null,
    deletedAt: null,
    ...state,
  };
}

function newReport(status: ObservedStatus, generation = 1, epoch = 10): SandboxReport {
  return {
    generation,
    epoch,
    status,
    statusReason: null,
    startedAt: NOW,
    lastActiveAt: null,
    autoPaused: false,
    errorCause: null,
  };
}

/** The host paused it by itself, and says so until it is acknowledged. */
const autoPaused = (generation = 1, epoch = 10): SandboxReport => ({
  ...newReport('PAUSED', generation, epoch),
  autoPaused: true,
});

/** Not in an inventory of the epoch that is known. */
const ABSENT = { absentAsOf: 10 };
/** Removed just now. */
const REMOVED = { absentAsOf: null };

/** As the host monitor's statement writes it. */
function hostLost(state: SandboxState): Transition {
  if (state.deletedAt || !(STATUSES_THAT_GO_MISSING as readonly SandboxStatus[]).includes(state.status))
    return { changes: {}, push: false };
  return { changes: { status: 'MISSING', statusBeforeMissing: state.status }, push: false };
}

const after = (state: SandboxState, { changes }: Transition): SandboxState => ({ ...state, ...changes });

describe('destroying', () => {
  test.each(SANDBOX_STATUSES)('is legal from %s, makes a new generation and is pushed', (status) => {
    const state = newState({ status });
    const transition = requestDestroy(state);
    expect(transition.push).toBe(true);
    expect(after(state, transition)).toMatchObject({ desiredState: 'DESTROYED', generation: 2, status: 'STOPPING' });
  });

  test('twice is the same as once', () => {
    const state = newState();
    const once = after(state, requestDestroy(state));
    expect(requestDestroy(once)).toEqual({ changes: {}, push: true });
  });

  test('of what is gone changes nothing', () => {
    expect(requestDestroy(newState({ deletedAt: NOW }))).toEqual({ changes: {}, push: false });
  });

  test('is finished by the host’s word that it has it no more', () => {
    const state = newState();
    const wanted = after(state, requestDestroy(state));
    expect(after(wanted, observe(wanted, REMOVED, NOW))).toMatchObject({
      status: 'STOPPED',
      deletedAt: NOW,
      holdsReservation: false,
    });
  });

  test('is pushed again while the host still has it', () => {
    const state = newState();
    const wanted = after(state, requestDestroy(state));
    expect(observe(wanted, newReport('RUNNING', 1), NOW)).toEqual({ changes: {}, push: true });
    expect(observe(wanted, newReport('RUNNING', 2), NOW)).toEqual({ changes: {}, push: true });
  });
});

/** Every desired state × every status that can go with it. */
const REACHABLE = DESIRED_STATES.flatMap((desiredState) =>
  SANDBOX_STATUSES.filter((status) => desiredState !== 'DESTROYED' || ['STOPPING', 'STOPPED'].includes(status)).map(
    (status) => ({ desiredState, status }),
  ),
);

describe('pausing', () => {
  test.each(REACHABLE)('what should be $desiredState and is $status', ({ desiredState, status }) => {
    const state = newState({ desiredState, status, pauseCause: desiredState === 'PAUSED' ? 'REQUESTED' : null });
    const transition = requestPause(state, 'REQUESTED');
    if (desiredState === 'DESTROYED' || isEnded(status)) {
      const word = status === 'ERROR' ? 'in error' : status.toLowerCase();
      expect(transition).toEqual({ changes: {}, push: false, refusal: `Cannot pause a sandbox that is ${word}.` });
      return;
    }
    if (desiredState === 'PAUSED') {
      expect(transition).toEqual({ changes: {}, push: status !== 'PAUSED' });
      return;
    }
    expect(transition.push).toBe(true);
    const next = after(state, transition);
    expect(next).toMatchObject({ desiredState: 'PAUSED', pauseCause: 'REQUESTED', generation: 2 });
    if (status === 'MISSING') expect(next).toMatchObject({ status: 'MISSING', statusBeforeMissing: 'PAUSING' });
    else expect(next).toMatchObject({ status: 'PAUSING', statusReason: 'Paused on request.' });
  });

  test('is finished by the host’s word, and keeps its reason', () => {
    for (const cause of PAUSE_CAUSES) {
      const state = newState({ timeoutSeconds: 60 });
      const wanted = after(state, requestPause(state, cause));
      const paused = after(wanted, observe(wanted, newReport('PAUSED', 2), NOW));
      expect(paused).toMatchObject({ status: 'PAUSED', observedGeneration: 2, statusReason: wanted.statusReason });
    }
  });

  test('is pushed again while the host still runs it', () => {
    const state = newState();
    const wanted = after(state, requestPause(state, 'REQUESTED'));
    const transition = observe(wanted, newReport('RUNNING', 2), NOW);
    expect(transition.push).toBe(true);
    expect(after(wanted, transition).status).toBe('PAUSING');
  });

  test('by request what is paused for being idle makes it a pause by request, without telling the host', () => {
    const idle = newState({ desiredState: 'PAUSED', pauseCause: 'IDLE', status: 'PAUSED', timeoutSeconds: 60 });
    const transition = requestPause(idle, 'REQUESTED');
    expect(transition.push).toBe(false);
    expect(after(idle, transition)).toMatchObject({ pauseCause: 'REQUESTED', generation: 1, status: 'PAUSED' });
    expect(requestPause(after(idle, transition), 'DRAIN').changes).toEqual({});
  });

  test('does not bring back what the host no longer has', () => {
    const state = newState();
    const wanted = after(state, requestPause(state, 'REQUESTED'));
    expect(after(wanted, observe(wanted, ABSENT, NOW))).toMatchObject({ status: 'STOPPED', holdsReservation: false });
  });
});

describe('resuming', () => {
  test.each(REACHABLE)('what should be $desiredState and is $status', ({ desiredState, status }) => {
    const state = newState({ desiredState, status, pauseCause: desiredState === 'PAUSED' ? 'REQUESTED' : null });
    const transition = requestResume(state);
    if (desiredState === 'DESTROYED' || isEnded(status)) {
      expect(transition.changes).toEqual({});
      expect(transition.refusal).toMatch(/^Cannot resume a sandbox that is /);
      return;
    }
    const next = after(state, transition);
    expect(next).toMatchObject({ desiredState: 'RUNNING', pauseCause: null });
    if (desiredState === 'RUNNING' && status !== 'PAUSED') {
      expect(transition).toEqual({ changes: {}, push: status !== 'RUNNING' });
      return;
    }
    expect(transition.push).toBe(true);
    expect(next.generation).toBe(2);
    if (status === 'MISSING') expect(next).toMatchObject({ status: 'MISSING', statusBeforeMissing: 'RESUMING' });
    else expect(next.status).toBe('RESUMING');
  });

  test('while the host is away is carried out when it returns', () => {
    const state = newState({ desiredState: 'PAUSED', pauseCause: 'REQUESTED', status: 'PAUSED' });
    const lost = after(state, hostLost(state));
    const wanted = after(lost, requestResume(lost));
    const back = observe(wanted, newReport('PAUSED', 1), NOW);
    expect(back.push).toBe(true);
    expect(after(wanted, back)).toMatchObject({ status: 'RESUMING', statusBeforeMissing: null });
  });
});

describe('a pause that the host made because of inactivity', () => {
  const state = newState({ timeoutSeconds: 60 });
  const acknowledged = after(state, observe(state, autoPaused(), NOW));

  test('becomes what is wanted, as a new generation, and is acknowledged by a push', () => {
    expect(observe(state, autoPaused(), NOW).push).toBe(true);
    expect(acknowledged).toMatchObject({
      desiredState: 'PAUSED',
      pauseCause: 'IDLE',
      generation: 2,
      status: 'PAUSED',
      statusReason: 'Paused after 60 s without activity.',
    });
  });

  test('is told again when the acknowledgement got lost: that changes nothing, and it is acknowledged again', () => {
    expect(observe(acknowledged, autoPaused(1, 11), NOW)).toEqual({ changes: {}, push: true });
  });

  test('is an old story once the host has the new generation', () => {
    const confirmed = after(acknowledged, observe(acknowledged, newReport('PAUSED', 2, 12), NOW));
    expect(confirmed).toMatchObject({ status: 'PAUSED', pauseCause: 'IDLE', observedGeneration: 2 });
    expect(observe(confirmed, autoPaused(1, 13), NOW).changes).toEqual({});
  });

  test.each(['RUNNING', 'PAUSED'] as const)(
    'loses against a resume that was given before it was heard of: %s',
    (status) => {
      const resumed = after({ ...state, status }, requestResume({ ...state, status }));
      expect(resumed.generation).toBe(2);
      const transition = observe(resumed, autoPaused(1, 11), NOW);
      expect(transition).toEqual({ changes: {}, push: true });
      expect(after(resumed, observe(resumed, newReport('RUNNING', 2, 12), NOW))).toMatchObject({
        desiredState: 'RUNNING',
        status: 'RUNNING',
      });
    },
  );

  test('loses against a resume that was given after it', () => {
    const resumed = after(acknowledged, requestResume(acknowledged));
    expect(resumed).toMatchObject({ desiredState: 'RUNNING', generation: 3, status: 'RESUMING', pauseCause: null });
    expect(observe(resumed, autoPaused(1, 12), NOW)).toEqual({ changes: {}, push: true });
  });

  test('of a sandbox that is to be destroyed changes nothing', () => {
    const doomed = after(state, requestDestroy(state));
    expect(observe(doomed, autoPaused(1, 12), NOW)).toEqual({ changes: {}, push: true });
  });
});

describe('what a host reports', () => {
  /** Every status × every report of the current generation. */
  const table = SANDBOX_STATUSES.flatMap((status) => OBSERVED_STATUSES.map((report) => ({ status, report })));
  test.each(table)('$status, reported $report', ({ status, report }) => {
    const state = newState({ status });
    const next = after(state, observe(state, newReport(report), NOW));
    const isOnItsWay = status === 'RESUMING' && report === 'PAUSED';
    expect(next.status).toBe(isEnded(status) || isOnItsWay ? status : report);
    expect(next.holdsReservation).toBe(!isEnded(next.status));
    expect(next.statusBeforeMissing).toBeNull();
  });

  test.each(table)('$status, to be paused, reported $report', ({ status, report }) => {
    const state = newState({ status, desiredState: 'PAUSED', pauseCause: 'REQUESTED' });
    const transition = observe(state, newReport(report), NOW);
    const runs = report === 'RUNNING' || report === 'STARTING';
    expect(after(state, transition).status).toBe(isEnded(status) ? status : runs ? 'PAUSING' : report);
    expect(transition.push).toBe(!isEnded(status) && runs);
  });

  test.each(SANDBOX_STATUSES)('of an older generation than wanted is dropped in %s, and the wish pushed', (status) => {
    const state = newState({ status, generation: 3, observedGeneration: 2 });
    const transition = observe(state, newReport('STOPPED', 2), NOW);
    expect(transition.push).toBe(true);
    expect(after(state, transition).holdsReservation).toBe(state.holdsReservation);
    expect(after(state, transition).observedGeneration).toBe(2);
  });

  test.each(SANDBOX_STATUSES)('of a generation that was never given out changes nothing in %s', (status) => {
    expect(observe(newState({ status }), newReport('STOPPED', 2), NOW)).toEqual({ changes: {}, push: false });
  });

  test('paused although it should run is shown, and pushed', () => {
    const state = newState();
    expect(observe(state, newReport('PAUSED'), NOW)).toEqual({
      changes: { status: 'PAUSED', observedEpoch: 10 },
      push: true,
    });
  });

  test('that says nothing new changes nothing', () => {
    expect(observe(newState(), newReport('RUNNING'), NOW)).toEqual({ changes: {}, push: false });
  });
});

describe('a sandbox that its host does not have', () => {
  test.each(SANDBOX_STATUSES)('in %s, confirmed before: it has stopped, with a reason', (status) => {
    const state = newState({ status });
    const next = after(state, observe(state, ABSENT, NOW));
    expect(next.status).toBe(isEnded(status) ? status : 'STOPPED');
    expect(next.holdsReservation).toBe(false);
    if (!isEnded(status)) expect(next.statusReason).toMatch(/no longer has it/);
  });

  test.each(SANDBOX_STATUSES.filter((status) => !isEnded(status)))('in %s, never confirmed: it is pushed', (status) => {
    const state = newState({ status, observedGeneration: 0 });
    const transition = observe(state, ABSENT, NOW);
    expect(transition.push).toBe(true);
    expect(after(state, transition).holdsReservation).toBe(true);
  });
});

describe('a host that falls silent', () => {
  test.each(STATUSES_THAT_GO_MISSING)('and returns before %s was confirmed: the sandbox is what it was', (status) => {
    const state = newState({ status, observedGeneration: 0 });
    const lost = after(state, hostLost(state));
    expect(after(lost, observe(lost, ABSENT, NOW))).toMatchObject({
      status,
      statusBeforeMissing: null,
      statusReason: null,
    });
  });

  test('and returns with the sandbox alive: it runs again', () => {
    const state = newState();
    const lost = after(state, hostLost(state));
    expect(after(lost, observe(lost, newReport('RUNNING'), NOW))).toMatchObject({
      status: 'RUNNING',
      statusReason: null,
    });
  });
});

describe('news that was overtaken', () => {
  test.each(SANDBOX_STATUSES)('changes nothing in %s', (status) => {
    const state = newState({ status, observedEpoch: 10 });
    for (const report of [newReport('STOPPED', 1, 9), { absentAsOf: 9 }])
      expect(observe(state, report, NOW)).toEqual({ changes: {}, push: false });
  });

  test('is known by the epoch of the last news', () => {
    const state = newState({ status: 'STARTING', observedEpoch: 3 });
    expect(after(state, observe(state, newReport('RUNNING', 1, 7), NOW)).observedEpoch).toBe(7);
  });

  test('does not make an inventory without news a change', () => {
    expect(observe(newState(), newReport('RUNNING', 1, 99), NOW)).toEqual({ changes: {}, push: false });
  });
});

test.each(SANDBOX_STATUSES)(
  'a host that cannot start a sandbox says why, as long as it is on its way: %s',
  (status) => {
    const onTheWay = ['PENDING', 'STARTING', 'PAUSING', 'RESUMING'].includes(status);
    expect(noteTrouble(newState({ status }), 'No runtime.').changes).toEqual(
      onTheWay ? { statusReason: 'No runtime.' } : {},
    );
  },
);

test('only a pending sandbox is marked as starting', () => {
  for (const status of SANDBOX_STATUSES) {
    expect(markPushed(newState({ status })).changes).toEqual(status === 'PENDING' ? { status: 'STARTING' } : {});
  }
});

test('whatever happens in whatever order, nothing comes back from an end, no generation shrinks, and a reservation is released once', () => {
  const report = fc.record({
    status: fc.constantFrom(...OBSERVED_STATUSES),
    generation: fc.integer({ min: 0, max: 4 }),
    autoPaused: fc.boolean(),
  });
  const step = fc.oneof(
    fc.constant((state: SandboxState) => requestDestroy(state)),
    fc.constantFrom(...PAUSE_CAUSES).map((cause) => (state: SandboxState) => requestPause(state, cause)),
    fc.constant((state: SandboxState) => requestResume(state)),
    fc.constant((state: SandboxState) => markPushed(state)),
    fc.constant((state: SandboxState) => hostLost(state)),
    fc.constant((state: SandboxState) => observe(state, ABSENT, NOW)),
    report.map(
      ({ status, generation, autoPaused: isAuto }) =>
        (state: SandboxState) =>
          observe(state, { ...newReport(status, generation), autoPaused: isAuto && status === 'PAUSED' }, NOW),
    ),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let state = newState({ status: 'PENDING', timeoutSeconds: 60, observedGeneration: 0, startedAt: null });
      let released = 0;
      for (const take of steps) {
        const next = after(state, take(state));
        expect(DESIRED_STATES).toContain(next.desiredState);
        expect(next.generation).toBeGreaterThanOrEqual(state.generation);
        expect(next.observedGeneration).toBeGreaterThanOrEqual(state.observedGeneration);
        expect(next.observedEpoch).toBeGreaterThanOrEqual(state.observedEpoch);
        expect(next.observedGeneration).toBeLessThanOrEqual(next.generation);
        if (state.deletedAt) expect(next).toEqual(state);
        expect(next.pauseCause !== null).toBe(next.desiredState === 'PAUSED');
        if (next.desiredState !== state.desiredState) expect(next.generation).toBeGreaterThan(state.generation);
        if (isEnded(state.status) && next.desiredState !== 'DESTROYED') expect(next.status).toBe(state.status);
        if (next.status === 'MISSING') expect(next.statusBeforeMissing).not.toBeNull();
        else expect(next.statusBeforeMissing).toBeNull();
        if (next.deletedAt) expect(next).toMatchObject({ desiredState: 'DESTROYED', holdsReservation: false });
        if (state.holdsReservation && !next.holdsReservation) released++;
        if (!state.holdsReservation) expect(next.holdsReservation).toBe(false);
        state = next;
      }
      expect(released).toBeLessThanOrEqual(1);
      if ((ENDED_STATUSES as readonly string[]).includes(state.status)) expect(state.holdsReservation).toBe(false);
    }),
    { numRuns: 2_000 },
  );
});
