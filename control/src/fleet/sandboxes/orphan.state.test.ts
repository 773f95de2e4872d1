import { describe, expect, test } from 'vitest';
import { ORPHAN_MIN_AGE_MS, readOrphans, type OrphanSighting } from './orphan.state.ts';

const START = new Date('2026-01-01T00:00:00Z');
const at = (ms: number): Date => new Date(START.getTime() + ms);
const read = (before: readonly OrphanSighting[], generation: number | null, ms: number) =>
  readOrphans(before, generation === null ? [] : [{ id: 'a', generation }], at(ms), ORPHAN_MIN_AGE_MS);

describe('an orphan', () => {
  test('is not removed at first sight, however long it may have been one', () => {
    expect(read([], 1, 0)).toEqual({
      sightings: [{ sandboxId: 'a', generation: 1, firstSeenAt: START, lastSeenAt: START, readings: 1 }],
      due: [],
    });
  });

  test('is not removed by a second look that comes too soon, and is by one that comes after the minimum age', () => {
    const second = read(read([], 1, 0).sightings, 1, ORPHAN_MIN_AGE_MS - 1);
    expect(second.due).toEqual([]);
    expect(read(second.sightings, 1, ORPHAN_MIN_AGE_MS).due).toMatchObject([{ sandboxId: 'a', generation: 1 }]);
  });

  test('that another look does not show is forgotten, and starts afresh when it is there again', () => {
    const gone = read(read([], 1, 0).sightings, null, ORPHAN_MIN_AGE_MS);
    expect(gone).toEqual({ sightings: [], due: [] });
    expect(read(gone.sightings, 1, 2 * ORPHAN_MIN_AGE_MS).due).toEqual([]);
  });

  test('of which the second look says something else starts afresh', () => {
    const changed = read(read([], 1, 0).sightings, 2, ORPHAN_MIN_AGE_MS);
    expect(changed.due).toEqual([]);
    expect(changed.sightings).toMatchObject([{ generation: 2, readings: 1, firstSeenAt: at(ORPHAN_MIN_AGE_MS) }]);
  });

  test('that is still there after it was asked to be removed is due again', () => {
    const first = read(read([], 1, 0).sightings, 1, ORPHAN_MIN_AGE_MS);
    expect(read(first.sightings, 1, ORPHAN_MIN_AGE_MS + 1).due).toHaveLength(1);
  });
});
