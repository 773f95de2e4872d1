import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { IdleWatch } from './idle-watch.ts';
import type { SandboxRecord } from './sandbox.state.ts';

const newRecord = (overrides: Partial<SandboxRecord> = {}, timeoutSeconds: number | null = 60): SandboxRecord => ({
  spec: { id: 'box', name: 'box', template: 'host', vcpus: 1, memoryMb: 128, diskMb: 64, timeoutSeconds },
  desiredState: 'RUNNING',
  generation: 1,
  status: 'RUNNING',
  statusReason: null,
  startedAt: null,
  lastActiveAt: null,
  bootId: 'boot-1',
  hold: null,
  idle: null,
  errorCause: null,
  removing: false,
  damaged: false,
  ...overrides,
});

describe('the watch over idle sandboxes', () => {
  let idle: string[];
  let watch: IdleWatch;

  beforeEach(() => {
    vi.useFakeTimers();
    idle = [];
    watch = new IdleWatch((id) => idle.push(id));
  });
  afterEach(() => {
    watch[Symbol.dispose]();
    vi.useRealTimers();
  });

  it('notices one in which nothing has happened for its timeout, and not before', () => {
    watch.take(newRecord());
    vi.advanceTimersByTime(59_990);
    expect(idle).toEqual([]);
    vi.advanceTimersByTime(20);
    expect(idle).toEqual(['box']);
  });

  it('notices again what could not be paused', () => {
    watch.take(newRecord());
    vi.advanceTimersByTime(65_000);
    expect(idle.length).toBeGreaterThan(2);
    expect(idle.length).toBeLessThan(10);
  });

  it.each<[string, SandboxRecord]>([
    ['has no timeout', newRecord({}, null)],
    ['is paused', newRecord({ status: 'PAUSED' })],
    ['is held by policy', newRecord({ hold: { reason: 'CONTROL_LOSS', since: '' } })],
    ['is being removed', newRecord({ removing: true })],
  ])('leaves alone what %s', (_what, record) => {
    watch.take(record);
    vi.advanceTimersByTime(3_600_000);
    expect(idle).toEqual([]);
  });

  it('counts from the end of the last command, however long it ran', () => {
    watch.take(newRecord());
    vi.advanceTimersByTime(30_000);
    expect(watch.enter('box')).toBe(true);
    expect(watch.enter('box')).toBe(true);
    vi.advanceTimersByTime(120_000);
    watch.leave('box');
    vi.advanceTimersByTime(120_000);
    expect(idle).toEqual([]);
    watch.leave('box');
    vi.advanceTimersByTime(59_000);
    expect(idle).toEqual([]);
    vi.advanceTimersByTime(1_500);
    expect(idle).toEqual(['box']);
  });

  it('begins anew with every wish of control, and when it runs again', () => {
    watch.take(newRecord());
    vi.advanceTimersByTime(50_000);
    watch.take(newRecord({ generation: 2 }));
    vi.advanceTimersByTime(50_000);
    watch.take(newRecord({ generation: 2, status: 'PAUSED' }));
    vi.advanceTimersByTime(50_000);
    watch.take(newRecord({ generation: 2 }));
    vi.advanceTimersByTime(50_000);
    expect(idle).toEqual([]);
    // A change that is none of its business does not count.
    watch.take(newRecord({ generation: 2, statusReason: 'something' }));
    vi.advanceTimersByTime(10_500);
    expect(idle).toEqual(['box']);
  });

  it('lets no command begin while it is being paused, and pauses nothing in which one has begun', async () => {
    watch.take(newRecord());
    vi.advanceTimersByTime(60_001);
    const paused = Promise.withResolvers<void>();
    const pausing = watch.whilePausing('box', () => paused.promise);
    expect(watch.enter('box')).toBe(false);
    paused.resolve();
    await pausing;
    expect(watch.enter('box')).toBe(true);
    const pause = vi.fn();
    await watch.whilePausing('box', pause);
    expect(pause).not.toHaveBeenCalled();
  });

  it('forgets what was removed', () => {
    watch.take(newRecord());
    watch.forget('box');
    vi.advanceTimersByTime(120_000);
    expect(idle).toEqual([]);
    expect(watch.enter('box')).toBe(true);
  });
});
