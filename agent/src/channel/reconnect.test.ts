import { describe, expect, it } from 'vitest';
import { Reconnect, ReconnectSpread } from './reconnect.ts';

const AGENTS = 10_000;
/** What control asks for with so many, and a lease of 90 s. */
const SPREAD_MS = 30_000;
const HEARTBEAT_MS = 15_000;
const LEASE_MS = 90_000;

/** A generator of its own, so that a failure can be repeated. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

/** When each of a fleet's agents gets through to a control plane that is away for a time, in ms from when it went. */
function arrivals(awayMs: number, random: () => number): number[] {
  return Array.from({ length: AGENTS }, () => {
    const spread = new ReconnectSpread();
    spread.set(SPREAD_MS, HEARTBEAT_MS);
    const reconnect = new Reconnect(spread, random);
    reconnect.stands();
    let now = 0;
    do now += reconnect.nextMs();
    while (now < awayMs);
    return now;
  });
}

/** The most in any second. */
function busiest(times: readonly number[]): number {
  const perSecond = Map.groupBy(times, (ms) => Math.floor(ms / 1_000));
  return Math.max(...[...perSecond.values()].map(({ length }) => length));
}

describe('10,000 agents whose connections break at once', () => {
  it('come back evenly over the time that control has asked for', () => {
    const times = arrivals(0, seeded(1));
    expect(busiest(times)).toBeLessThan(500);
    expect(Math.max(...times)).toBeGreaterThan(29_000);
    expect(Math.max(...times)).toBeLessThanOrEqual(SPREAD_MS);
  });

  it.each([3_000, 20_000, 120_000])(
    'come back no faster after %d ms without a control plane, and all in time',
    (awayMs) => {
      const times = arrivals(awayMs, seeded(2));
      expect(busiest(times)).toBeLessThan(500);
      expect(Math.max(...times) - awayMs).toBeLessThan(1.1 * SPREAD_MS);
    },
  );

  it('are all heard within their lease although control was away for 40 s', () => {
    // Each had beaten some time before.
    const random = seeded(4);
    const silences = arrivals(40_000, seeded(5)).map((ms) => ms + random() * 1.1 * HEARTBEAT_MS);
    expect(Math.max(...silences)).toBeLessThan(LEASE_MS);
  });

  it('would have come in one wave without the spread', () => {
    const reconnects = Array.from({ length: AGENTS }, () => {
      const spread = new ReconnectSpread();
      spread.set(500, HEARTBEAT_MS);
      const reconnect = new Reconnect(spread, seeded(3));
      reconnect.stands();
      return reconnect.nextMs();
    });
    expect(busiest(reconnects)).toBe(AGENTS);
  });
});

describe('one agent', () => {
  it('finds a small control plane soon, with waits that grow to a bound while it is away', () => {
    const reconnect = new Reconnect(new ReconnectSpread(), () => 1);
    reconnect.stands();
    expect(Array.from({ length: 8 }, () => reconnect.nextMs())).toEqual([
      1_000, 1_100, 1_100, 2_000, 4_000, 8_000, 15_000, 15_000,
    ]);
    reconnect.stands();
    expect(reconnect.nextMs()).toBe(1_000);
  });

  it('dials no less often than control wants to hear of it', () => {
    const spread = new ReconnectSpread();
    const reconnect = new Reconnect(spread, () => 1);
    spread.set(100, 500);
    const waits = Array.from({ length: 8 }, () => reconnect.nextMs());
    expect(waits.at(-1)).toBe(1_000);
    spread.set(100, 3_600_000);
    expect(reconnect.nextMs()).toBe(15_000);
  });

  it('takes no absurd wish of control at its word', () => {
    const spread = new ReconnectSpread();
    spread.set(86_400_000, HEARTBEAT_MS);
    expect(spread.ms).toBe(60_000);
    spread.set(-5, HEARTBEAT_MS);
    expect(spread.ms).toBe(0);
  });
});
