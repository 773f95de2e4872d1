import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  beginning,
  FLEET_REASONS,
  FREEZE_SHARE,
  interrupted,
  judge,
  MASS_MIN_HOSTS,
  SLOW_SHARE,
  type Evidence,
  type Interruption,
  type MonitorMemory,
} from './monitor.state.ts';

const LEASE = 90_000;
const CALM: MonitorMemory = { observing: null, frozen: false };

const hosts = (heard: number, silent: number, lost = 0): Evidence => ({ heard, silent, lost, unreachable: lost });

describe('listening', () => {
  const INTERRUPTIONS = FLEET_REASONS.filter((reason): reason is Interruption => reason !== 'MASS_SILENCE');

  test.each(INTERRUPTIONS)('after %s nobody is judged for a full lease, and then again', (reason) => {
    const memory = interrupted(CALM, reason, 1_000, LEASE);
    const before = judge(memory, hosts(10, 1), 1_000 + LEASE - 1, LEASE);
    expect(before).toMatchObject({ state: 'OBSERVING', reason, quota: 0 });
    expect(judge(before.memory, hosts(10, 1), 1_000 + LEASE, LEASE)).toMatchObject({ state: 'NORMAL', reason: null });
  });

  test('begins anew with every further interruption', () => {
    const memory = interrupted(beginning('CONTROL_STARTED', 0, LEASE), 'CONTROL_STALLED', LEASE - 1, LEASE);
    expect(judge(memory, hosts(1, 1), LEASE + 1, LEASE)).toMatchObject({
      state: 'OBSERVING',
      reason: 'CONTROL_STALLED',
    });
  });
});

describe('many that fall silent together', () => {
  test.each([
    [hosts(100, 0), 'NORMAL', Infinity],
    [hosts(81, 19), 'NORMAL', Infinity],
    [hosts(80, 20), 'SLOWED', 1],
    [hosts(8_000, 2_000), 'SLOWED', 100],
    [hosts(46, 54), 'SLOWED', 1],
    [hosts(45, 55), 'FROZEN', 0],
    [hosts(0, 100), 'FROZEN', 0],
    // Counted together with those that are declared lost already, so that slowing down does not let it pass unnoticed.
    [hosts(45, 5, 50), 'FROZEN', 0],
    [hosts(80, 1, 19), 'SLOWED', 1],
    // Nobody is left to judge.
    [hosts(10, 0, 90), 'NORMAL', Infinity],
    // Small fleets.
    [hosts(0, MASS_MIN_HOSTS - 1), 'NORMAL', Infinity],
    [hosts(4, 1), 'SLOWED', 1],
    [hosts(2, 3), 'FROZEN', 0],
    [hosts(0, 0), 'NORMAL', Infinity],
  ] as const)('%o: %s', (evidence, state, quota) => {
    expect(judge(CALM, evidence, 0, LEASE)).toMatchObject({ state, quota });
  });

  test('when what has frozen the fleet passes, those who are not back yet get a full lease', () => {
    const frozen = judge(CALM, hosts(40, 60), 0, LEASE);
    const stillFrozen = judge(frozen.memory, hosts(40, 60), 10 * LEASE, LEASE);
    expect(stillFrozen).toMatchObject({ state: 'FROZEN', quota: 0 });
    const thawing = judge(stillFrozen.memory, hosts(50, 50), 11 * LEASE, LEASE);
    expect(thawing).toMatchObject({ state: 'OBSERVING', reason: 'HOSTS_RETURNING', quota: 0 });
    expect(judge(thawing.memory, hosts(99, 1), 12 * LEASE, LEASE)).toMatchObject({ state: 'NORMAL' });
  });
});

test('for any fleet: nobody is judged while listening or frozen, and a quota never lets more go than its share', () => {
  fc.assert(
    fc.property(
      fc.record({ heard: fc.nat(20_000), silent: fc.nat(20_000), lost: fc.nat(20_000) }),
      fc.boolean(),
      fc.option(fc.integer({ min: -LEASE, max: LEASE })),
      ({ heard, silent, lost }, frozen, remaining) => {
        const observing = remaining === null ? null : { until: remaining, reason: 'CLOCK_JUMPED' as const };
        const verdict = judge({ observing, frozen }, hosts(heard, silent, lost), 0, LEASE);
        const total = heard + silent + lost;
        if (remaining !== null && remaining > 0) expect(verdict).toMatchObject({ state: 'OBSERVING', quota: 0 });
        if (verdict.state === 'OBSERVING' || verdict.state === 'FROZEN') expect(verdict.quota).toBe(0);
        else if (total >= MASS_MIN_HOSTS && silent > 0) {
          expect(verdict.silentShare).toBeLessThan(FREEZE_SHARE);
          if (verdict.silentShare >= SLOW_SHARE) expect(verdict.quota).toBeLessThanOrEqual(Math.max(1, total / 100));
        }
        expect(verdict.reason === null).toBe(verdict.state === 'NORMAL');
      },
    ),
    { numRuns: 2_000 },
  );
});
