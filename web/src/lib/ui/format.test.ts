import { describe, expect, it } from 'vitest';
import { formatCountdown, formatDuration, formatLeft, formatMb, formatSpan, plural } from './format.ts';

describe('formatting', () => {
  it('names a span by its largest unit and never goes below zero', () => {
    expect([-5, 4_900, 125_000, 7_300_000, 9 * 86_400_000].map(formatSpan)).toEqual([
      '0 s',
      '4 s',
      '2 min',
      '2 h',
      '9 d',
    ]);
  });

  it('rounds the time left up', () => {
    const day = 86_400_000;
    expect([7 * day - 5, 90 * day, 59_500, 3_600_001, 0].map(formatLeft)).toEqual([
      '7 d',
      '90 d',
      '1 min',
      '2 h',
      '0 s',
    ]);
  });

  it('counts down to the second', () => {
    expect([3_547_000, 3_600_000, 400, -1].map(formatCountdown)).toEqual(['59:07', '1:00:00', '00:01', '00:00']);
  });

  it('writes sizes and durations in a unit a person can compare', () => {
    expect([512, 1536, 2 * 1024 * 1024].map(formatMb)).toEqual(['512 MB', '1.5 GB', '2 TB']);
    expect([12, 1_420].map(formatDuration)).toEqual(['12 ms', '1.4 s']);
  });

  it('agrees in number', () => {
    expect([plural(1, 'host'), plural(0, 'host'), plural(2, 'sandbox', 'sandboxes')]).toEqual([
      '1 host',
      '0 hosts',
      '2 sandboxes',
    ]);
  });
});
