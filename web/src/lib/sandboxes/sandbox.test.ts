import { describe, expect, it } from 'vitest';
import { idleTimeout, isLive, pauseOrResume, wasBefore } from './sandbox.ts';

describe('a sandbox', () => {
  it('that is missing says what it was', () => {
    expect(wasBefore({ status: 'MISSING', statusBeforeMissing: 'PAUSED' })).toBe('was paused');
    expect(wasBefore({ status: 'MISSING', statusBeforeMissing: null })).toBeNull();
    expect(wasBefore({ status: 'RUNNING', statusBeforeMissing: 'PAUSED' })).toBeNull();
  });

  it('that is missing holds what it has, and is neither paused nor resumed', () => {
    expect(isLive({ status: 'MISSING' })).toBe(true);
    expect(pauseOrResume({ status: 'MISSING' })).toBeNull();
  });

  it('names its timeout by the largest unit that is exact', () => {
    expect([null, 90, 300, 7_200].map((timeoutSeconds) => idleTimeout({ timeoutSeconds }))).toEqual([
      'Never',
      '90 s',
      '5 min',
      '2 h',
    ]);
  });
});
