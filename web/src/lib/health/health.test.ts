import { describe, expect, it } from 'vitest';
import type { FleetState } from '#lib/gql/generated/graphql.ts';
import {
  hostTotal,
  knownState,
  laterHealth,
  reasonLabel,
  silentShare,
  UNKNOWN_AFTER_MS,
  type Health,
} from './health.ts';

const newHealth = (more: Partial<Health> = {}): Health => ({
  state: 'NORMAL',
  reason: null,
  since: '2026-11-01T10:00:00Z',
  checkedAt: '2026-11-01T10:00:00Z',
  heardHosts: 4,
  silentHosts: 5,
  lostHosts: 1,
  unreachableHosts: 2,
  ...more,
});

describe('what may be claimed of the fleet', () => {
  const states: FleetState[] = ['NORMAL', 'OBSERVING', 'SLOWED', 'FROZEN'];

  it.each(states)('is %s while that is heard, and unknown when changes would not be', (state) => {
    const health = newHealth({ state });
    expect(knownState({ health, newsAt: 1_000, live: true }, 1_000)).toBe(state);
    expect(knownState({ health, newsAt: 1_000, live: false }, 1_000)).toBe('UNKNOWN');
  });

  it('is unknown when nobody has looked at the fleet for long', () => {
    const knowledge = { health: newHealth(), newsAt: 0, live: true };
    expect(knownState(knowledge, UNKNOWN_AFTER_MS)).toBe('NORMAL');
    expect(knownState(knowledge, UNKNOWN_AFTER_MS + 1)).toBe('UNKNOWN');
  });

  it('is nothing before anything was heard', () => {
    expect(knownState({ health: null, newsAt: null, live: true }, 5)).toBeNull();
  });
});

describe('the health of the fleet', () => {
  it('is what was found last, in whatever order it is heard', () => {
    const [earlier, later] = [newHealth(), newHealth({ state: 'FROZEN', checkedAt: '2026-11-01T10:00:05Z' })];
    expect(laterHealth(earlier, later)).toBe(later);
    expect(laterHealth(later, earlier)).toBe(later);
    expect(laterHealth(null, earlier)).toBe(earlier);
    expect(laterHealth(earlier, null)).toBe(earlier);
  });

  it('counts those lost together as silent, and says nothing of numbers that are not told', () => {
    expect(silentShare(newHealth())).toBe('6 of 10 hosts are silent');
    expect(hostTotal(newHealth())).toBe(11);
    expect(silentShare(newHealth({ lostHosts: null }))).toBeNull();
    expect(hostTotal(newHealth({ heardHosts: null }))).toBeNull();
  });

  it('has words for every reason, and shows one it does not know', () => {
    expect(reasonLabel('DATABASE_OUTAGE')).toBe('The database was away');
    expect(reasonLabel('SUN_FLARE' as never)).toBe('sun flare');
    expect(reasonLabel(null)).toBeNull();
  });
});
