import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { reconcile, type SandboxBook } from './reconcile.ts';
import { OBSERVED_STATUSES, SANDBOX_STATUSES, type ObservedStatus } from './sandbox.state.ts';

const NOW = new Date('2026-01-01T00:00:00Z');
const HERE = 'here';
const EPOCH = 10;

const book = (fields: Partial<SandboxBook> = {}): SandboxBook =>
  ({
    id: 'a',
    hostId: HERE,
    desiredState: 'RUNNING',
    generation: 1,
    observedGeneration: 1,
    observedEpoch: 5,
    status: 'RUNNING',
    statusReason: null,
    statusBeforeMissing: null,
    holdsReservation: true,
    startedAt: NOW,
    lastActiveAt: null,
    deletedAt: null,
    ...fields,
  }) as SandboxBook;

const observed = (status: ObservedStatus = 'RUNNING', generation = 1, id = 'a') => ({
  id,
  generation,
  epoch: EPOCH,
  status,
  statusReason: null,
  startedAt: NOW,
  lastActiveAt: null,
});

const compare = (books: SandboxBook[], sandboxes: ReturnType<typeof observed>[], epoch = EPOCH) => {
  const { changed, ...rest } = reconcile(HERE, books, { epoch, sandboxes } as never, NOW);
  return { ...rest, changed: [...changed.keys()] };
};
const SAME = { changed: [], toPush: [], toRemove: [], orphans: [] };

describe('a host and our books', () => {
  test('that agree need nothing', () => {
    expect(compare([book()], [observed()])).toEqual(SAME);
  });

  test('a sandbox that went missing and is alive changes back', () => {
    expect(compare([book({ status: 'MISSING', statusBeforeMissing: 'RUNNING' })], [observed()])).toEqual({
      ...SAME,
      changed: ['a'],
    });
  });

  test('a sandbox that the host has confirmed once and does not have any more ends', () => {
    expect(compare([book()], [])).toEqual({ ...SAME, changed: ['a'] });
  });

  test('a sandbox that the host has never confirmed is told of again', () => {
    const unheard = book({ observedGeneration: 0, status: 'STARTING' });
    expect(compare([unheard], [])).toEqual({ ...SAME, toPush: ['a'] });
  });

  test('a row that is younger than the inventory is not touched', () => {
    expect(compare([book({ observedEpoch: EPOCH + 1 })], [])).toEqual(SAME);
    expect(compare([book({ observedEpoch: EPOCH + 1, status: 'STOPPED' })], [observed()])).toEqual(SAME);
  });

  test('a sandbox that was destroyed here is removed there at once, in whatever state', () => {
    const destroyed = book({ desiredState: 'DESTROYED', generation: 2, status: 'STOPPED', deletedAt: NOW });
    for (const status of OBSERVED_STATUSES)
      expect(compare([destroyed], [observed(status)])).toEqual({ ...SAME, toRemove: [{ id: 'a', generation: 2 }] });
  });

  test.each([
    ['unknown to our books', []],
    ['placed on another host', [book({ hostId: 'there' })]],
    ['deleted on another host', [book({ hostId: 'there', deletedAt: NOW, desiredState: 'DESTROYED' })]],
    ['ended in our books', [book({ status: 'STOPPED', holdsReservation: false })]],
    ['failed in our books', [book({ status: 'ERROR', holdsReservation: false })]],
  ])('a running sandbox that is %s is an orphan, and nothing else happens to it', (_what, books) => {
    expect(compare(books, [observed()])).toEqual({ ...SAME, orphans: [observed()] });
  });

  test('a sandbox that has ended on both sides is nobody’s orphan: its disk is its owner’s until it is destroyed', () => {
    expect(compare([book({ status: 'STOPPED' })], [observed('STOPPED')])).toEqual(SAME);
  });
});

test('whatever both say: rows of other hosts and deleted ones never change, and nothing is both wanted and an orphan', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(
        fc.record({
          id: fc.constantFrom('a', 'b', 'c', 'd'),
          hostId: fc.constantFrom(HERE, 'there'),
          desiredState: fc.constantFrom('RUNNING' as const, 'DESTROYED' as const),
          generation: fc.integer({ min: 1, max: 3 }),
          observedGeneration: fc.integer({ min: 0, max: 3 }),
          observedEpoch: fc.integer({ min: 0, max: 20 }),
          status: fc.constantFrom(...SANDBOX_STATUSES),
          deletedAt: fc.option(fc.constant(NOW)),
        }),
        { selector: ({ id }) => id },
      ),
      fc.uniqueArray(
        fc.record({
          id: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
          generation: fc.integer({ min: 1, max: 3 }),
          status: fc.constantFrom(...OBSERVED_STATUSES),
        }),
        { selector: ({ id }) => id },
      ),
      (rows, reports) => {
        const books = rows.map((row) => book(row));
        const sandboxes = reports.map(({ id, generation, status }) => observed(status, generation, id));
        const { changed, toPush, toRemove, orphans } = compare(books, sandboxes);
        const find = (id: string) => books.find((row) => row.id === id);
        for (const id of [...changed, ...toPush]) expect(find(id)).toMatchObject({ hostId: HERE, deletedAt: null });
        for (const { id } of toRemove) expect(find(id)).toMatchObject({ hostId: HERE, deletedAt: NOW });
        for (const { id } of orphans) {
          expect(toPush).not.toContain(id);
          expect(toRemove.map((sandbox) => sandbox.id)).not.toContain(id);
          const row = find(id);
          if (row?.hostId === HERE) expect(row.observedEpoch).toBeLessThanOrEqual(EPOCH);
        }
      },
    ),
    { numRuns: 2_000 },
  );
});
