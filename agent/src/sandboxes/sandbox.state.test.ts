import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CONTAINER_STATUSES, type ContainerStatus } from '../runtime/runtime.ts';
import {
  accept,
  canIdle,
  failed,
  hold,
  idleSince,
  isAutoPaused,
  nextStep,
  OBSERVED_STATUSES,
  observe,
  release,
  type ObservedStatus,
  type SandboxRecord,
  type Step,
} from './sandbox.state.ts';

const NOW = '2026-01-01T00:00:00.000Z';
const spec = { id: 'box', name: 'box', template: 'host', vcpus: 1, memoryMb: 128, diskMb: 64, timeoutSeconds: null };

const newRecord = (overrides: Partial<SandboxRecord> = {}): SandboxRecord => ({
  spec,
  desiredState: 'RUNNING',
  generation: 5,
  status: 'RUNNING',
  statusReason: null,
  startedAt: NOW,
  lastActiveAt: null,
  bootId: 'boot-1',
  hold: null,
  idle: null,
  errorCause: null,
  removing: false,
  damaged: false,
  ...overrides,
});

const IDLE = { since: NOW } as const;
const HOLD = { reason: 'CONTROL_LOSS', since: NOW } as const;

describe('nextStep', () => {
  /** Per observed status and container: the step when RUNNING is wanted, and when PAUSED is. */
  const table: Record<ObservedStatus, Record<ContainerStatus, readonly [Step, Step]>> = {
    STARTING: {
      absent: ['create', 'create'],
      running: ['none', 'pause'],
      paused: ['resume', 'none'],
      stopped: ['discard', 'discard'],
    },
    RUNNING: {
      absent: ['none', 'none'],
      running: ['none', 'pause'],
      paused: ['resume', 'none'],
      stopped: ['discard', 'discard'],
    },
    PAUSED: {
      absent: ['none', 'none'],
      running: ['none', 'pause'],
      paused: ['resume', 'none'],
      stopped: ['discard', 'discard'],
    },
    STOPPED: {
      absent: ['none', 'none'],
      running: ['none', 'pause'],
      paused: ['resume', 'none'],
      stopped: ['discard', 'discard'],
    },
    ERROR: {
      absent: ['none', 'none'],
      running: ['none', 'pause'],
      paused: ['resume', 'none'],
      stopped: ['discard', 'discard'],
    },
  };
  const rows = OBSERVED_STATUSES.flatMap((status) => CONTAINER_STATUSES.map((container) => ({ status, container })));

  it.each(rows)('of a $status sandbox whose container is $container', ({ status, container }) => {
    const [whenRunning, whenPaused] = table[status][container];
    expect(nextStep(newRecord({ status }), container)).toBe(whenRunning);
    expect(nextStep(newRecord({ status, desiredState: 'PAUSED' }), container)).toBe(whenPaused);
    expect(nextStep(newRecord({ status, hold: HOLD }), container)).toBe(whenPaused);
    expect(nextStep(newRecord({ status, idle: IDLE }), container)).toBe(whenPaused);
  });
});

describe('observe', () => {
  const table: Record<ObservedStatus, Record<ContainerStatus, ObservedStatus>> = {
    STARTING: { absent: 'STARTING', running: 'RUNNING', paused: 'PAUSED', stopped: 'STARTING' },
    RUNNING: { absent: 'STOPPED', running: 'RUNNING', paused: 'PAUSED', stopped: 'STOPPED' },
    PAUSED: { absent: 'STOPPED', running: 'RUNNING', paused: 'PAUSED', stopped: 'STOPPED' },
    STOPPED: { absent: 'STOPPED', running: 'RUNNING', paused: 'PAUSED', stopped: 'STOPPED' },
    ERROR: { absent: 'ERROR', running: 'RUNNING', paused: 'PAUSED', stopped: 'ERROR' },
  };
  const rows = OBSERVED_STATUSES.flatMap((status) =>
    CONTAINER_STATUSES.map((container) => ({ status, container, becomes: table[status][container] })),
  );

  it.each(rows)('a $status sandbox whose container is $container is $becomes', ({ status, container, becomes }) => {
    expect(observe(newRecord({ status }), container, 'boot-1', NOW).status).toBe(becomes);
  });

  it('says why a sandbox stopped', () => {
    expect(observe(newRecord(), 'absent', 'boot-1', NOW).statusReason).toBe('its process ended');
    expect(observe(newRecord(), 'absent', 'boot-2', NOW).statusReason).toBe('the host restarted');
  });

  it('says that a pause was the policy of the host', () => {
    expect(observe(newRecord({ hold: HOLD }), 'paused', 'boot-1', NOW).statusReason).toContain(
      'lost its control plane',
    );
    expect(observe(newRecord(), 'paused', 'boot-1', NOW).statusReason).toBeNull();
  });

  it('gives back the very same record when there is nothing new', () => {
    const record = newRecord({ statusReason: 'could not be paused' });
    expect(observe(record, 'running', 'boot-1', NOW)).toBe(record);
  });
});

describe('accept', () => {
  it('changes nothing for an older generation', () => {
    const record = newRecord({ hold: HOLD });
    expect(accept(record, { ...spec, memoryMb: 1 }, 'PAUSED', 4, 'boot-1')).toBe(record);
  });

  it('ends a pause by policy with the same generation', () => {
    expect(accept(newRecord({ hold: HOLD, status: 'PAUSED' }), spec, 'RUNNING', 5, 'boot-1').hold).toBeNull();
  });

  it('keeps a pause for inactivity with the same generation, and ends it with a newer one', () => {
    const record = newRecord({ idle: IDLE, status: 'PAUSED' });
    expect(accept(record, spec, 'RUNNING', 5, 'boot-1').idle).toEqual(IDLE);
    expect(accept(record, spec, 'PAUSED', 6, 'boot-1').idle).toBeNull();
    expect(accept(record, spec, 'RUNNING', 6, 'boot-1').idle).toBeNull();
  });

  it.each(['STOPPED', 'ERROR'] as const)('never starts a %s sandbox again', (status) => {
    for (const generation of [5, 6]) {
      expect(accept(newRecord({ status }), spec, 'RUNNING', generation, 'boot-1')).toMatchObject({
        status,
        generation,
      });
    }
  });
});

describe('hold', () => {
  it('journals only what should run', () => {
    expect(hold(newRecord(), 'AGENT_EXIT', NOW).hold).toEqual({ reason: 'AGENT_EXIT', since: NOW });
    for (const record of [
      newRecord({ desiredState: 'PAUSED' }),
      newRecord({ status: 'STOPPED' }),
      newRecord({ hold: HOLD }),
      newRecord({ removing: true }),
    ]) {
      expect(hold(record, 'AGENT_EXIT', NOW)).toBe(record);
    }
  });
});

describe('a pause for inactivity', () => {
  const quiet = { ...spec, timeoutSeconds: 60 };

  it('is for running sandboxes with a timeout', () => {
    expect(canIdle(newRecord({ spec: quiet }))).toBe(true);
    for (const record of [
      newRecord(),
      ...OBSERVED_STATUSES.filter((status) => status !== 'RUNNING').map((status) => newRecord({ spec: quiet, status })),
      newRecord({ spec: quiet, desiredState: 'PAUSED' }),
      newRecord({ spec: quiet, hold: HOLD }),
      newRecord({ spec: quiet, idle: IDLE }),
      newRecord({ spec: quiet, removing: true }),
    ]) {
      expect(canIdle(record)).toBe(false);
      expect(idleSince(record, NOW)).toBe(record);
    }
  });

  it('is told once the container is paused, and gone once it stopped', () => {
    const idle = idleSince(newRecord({ spec: quiet }), NOW);
    expect(isAutoPaused(idle)).toBe(false);
    const paused = observe(idle, 'paused', 'boot-1', NOW);
    expect(isAutoPaused(paused)).toBe(true);
    expect(paused.statusReason).toBe('paused after 60 s without activity');
    expect(isAutoPaused(observe(paused, 'stopped', 'boot-1', NOW))).toBe(false);
  });
});

describe('any history', () => {
  type Event = (
    record: SandboxRecord,
    container: ContainerStatus,
  ) => { record: SandboxRecord; container: ContainerStatus };

  const step: Event = (before, container) => {
    const record = observe(before, container, 'boot-1', NOW);
    const after = {
      create: 'running',
      resume: 'running',
      pause: 'paused',
      discard: 'absent',
      none: container,
    } as const;
    return { record, container: after[nextStep(record, container)] };
  };
  const event: fc.Arbitrary<Event> = fc.oneof(
    fc.constant(step),
    fc.constant<Event>((record) => ({ record, container: 'stopped' })),
    fc.constant<Event>((record, container) => ({ record: hold(record, 'CONTROL_LOSS', NOW), container })),
    fc.constant<Event>((record, container) => ({ record: release(record), container })),
    fc.constant<Event>((record, container) => ({ record: idleSince(record, NOW), container })),
    fc.constant<Event>((record, container) => ({ record: failed(record, 'test', 'HOST'), container })),
    fc
      .tuple(fc.constantFrom('RUNNING' as const, 'PAUSED' as const), fc.integer({ min: 1, max: 9 }))
      .map(([desired, generation]): Event => (record, container) => ({
        record: accept(record, { ...spec, timeoutSeconds: 60 }, desired, generation, 'boot-1'),
        container,
      })),
  );

  it('settles within five steps, never lowers a generation, and never starts again what stopped', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 30 }), (events) => {
        let state: ReturnType<Event> = { record: accept(undefined, spec, 'RUNNING', 1, 'boot-1'), container: 'absent' };
        for (const happens of events) {
          const next = happens(state.record, state.container);
          expect(next.record.generation).toBeGreaterThanOrEqual(state.record.generation);
          if (state.record.status !== 'STARTING') expect(next.record.status).not.toBe('STARTING');
          state = next;
        }
        for (let i = 0; i < 5; i++) state = step(state.record, state.container);
        expect(nextStep(observe(state.record, state.container, 'boot-1', NOW), state.container)).toBe('none');
      }),
    );
  });
});
