import fc from 'fast-check';
import type { Decide } from '../../src/fleet/sandboxes/sandbox.books.ts';
import type { ObservedSandbox } from '../../src/fleet/sandboxes/sandbox.report.ts';
import {
  ERROR_CAUSES,
  markPushed,
  noteTrouble,
  OBSERVED_STATUSES,
  PAUSE_CAUSES,
  requestDestroy,
  requestPause,
  requestResume,
  type Absence,
} from '../../src/fleet/sandboxes/sandbox.state.ts';
import type { SandboxRow } from '../../src/fleet/tables.ts';
import type { Term } from '../../src/kernel/leadership.ts';
import type { MemoryBooks } from './memory-books.ts';
import type { FleetBooks } from './sim-control.ts';
import type { TableBooks } from './table-books.ts';

/** So long that no machine is too slow for it: leases end because an operation makes them older. */
export const LEASE_MS = 3_600_000;

/** Between the leases of two hosts: which of two that end together is declared lost first would be nobody's decision. */
const SPACE_MS = 60_000;

/** The same in both books, in an order that ids have as well. */
const idOf = (kind: 1 | 2 | 3, n: number): string => `${kind}0000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
export const HOSTS = [0, 1, 2].map((n) => idOf(1, n));
export const REPLICAS = [0, 1].map((n) => idOf(3, n));

/** Both books, and what a caller knows: which sandboxes there are, and which term it judges in. */
export interface Pair {
  readonly memory: MemoryBooks;
  readonly tables: TableBooks;
  readonly all: readonly Kept[];
  sandboxes: number;
}

/** One of the two, with its terms. */
export interface Kept {
  readonly books: FleetBooks;
  readonly terms: Term[];
  readonly setLease: (hostId: string, seenAt: Date) => Promise<unknown>;
}

/** Does the same to one of them; what it answers is compared. */
type Act = (kept: Kept) => Promise<unknown>;

export interface Operation {
  readonly act: (pair: Pair) => Act;
}

/** The dates of the two books are not the same: each is written when it is. */
const DATED = ['deletedAt'] as const satisfies readonly (keyof SandboxRow)[];

const KEPT = [
  'id',
  'hostId',
  'milliVcpus',
  'memoryMb',
  'diskMb',
  'timeoutSeconds',
  'desiredState',
  'pauseCause',
  'generation',
  'observedGeneration',
  'observedEpoch',
  'status',
  'statusReason',
  'statusBeforeMissing',
  'holdsReservation',
  'startedAt',
  'lastActiveAt',
  'revision',
] as const satisfies readonly (keyof SandboxRow)[];

export function view(row: Partial<SandboxRow> | undefined): object | undefined {
  if (!row) return undefined;
  const dated = DATED.map((field) => [field, row[field] === undefined ? undefined : row[field] !== null]);
  return Object.fromEntries([...KEPT.map((field) => [field, row[field]]), ...dated]);
}

const operation = <T>(arbitrary: fc.Arbitrary<T>, act: (value: T, pair: Pair) => Act): fc.Arbitrary<Operation> =>
  arbitrary.map((value) => ({
    act: (pair) => act(value, pair),
    [fc.toStringMethod]: () => `${act.name}${fc.stringify(value)}`,
  }));

const host = fc.constantFrom(...HOSTS);
const replica = fc.constantFrom(...REPLICAS);
const which = fc.nat({ max: 7 });
/** Few, so that they meet. */
const epoch = fc.nat({ max: 4 });
const moment = fc.constantFrom(null, new Date(Date.UTC(2026, 0, 1)), new Date(Date.UTC(2026, 0, 2)));
const orphan = fc.record({
  sandboxId: fc.constantFrom(idOf(2, 90), idOf(2, 91)),
  generation: fc.constantFrom(1, 2),
  firstSeenAt: fc.constantFrom(new Date(Date.UTC(2026, 0, 1)), new Date(Date.UTC(2026, 0, 3))),
  lastSeenAt: fc.constant(new Date(Date.UTC(2026, 0, 4))),
  readings: fc.constantFrom(1, 2),
});
const said = fc.oneof(fc.record({ absentAsOf: fc.option(epoch, { freq: 2 }) }), {
  weight: 4,
  arbitrary: fc.record({
    /** Of the wish: an older one, this one, one that nobody has made. */
    generation: fc.constantFrom(-1, 0, 0, 0, 0, 1),
    epoch,
    status: fc.constantFrom(...OBSERVED_STATUSES),
    statusReason: fc.constantFrom(null, 'the disk is full'),
    startedAt: moment,
    lastActiveAt: moment,
    autoPaused: fc.boolean(),
    errorCause: fc.constantFrom(null, ...ERROR_CAUSES),
  }),
});
type Said = typeof said extends fc.Arbitrary<infer T> ? T : never;
/** Mostly of the host that the sandbox is on; `null` is that one. */
const speaker = fc.option(host, { freq: 1 });

/** One that there is, or once in a while one that there is not. */
const idAt = ({ sandboxes }: Pair, n: number): string => idOf(2, n % (sandboxes + 1));

function reportOf({ memory }: Pair, id: string, what: Said): ObservedSandbox | Absence {
  if ('absentAsOf' in what) return what;
  return { ...what, id, generation: Math.max((memory.sandboxes.get(id)?.generation ?? 1) + what.generation, 0) };
}

const DECIDES: Record<string, Decide> = {
  resume: requestResume,
  destroy: requestDestroy,
  push: markPushed,
  trouble: (state) => noteTrouble(state, 'The host did not answer.'),
  ...Object.fromEntries(PAUSE_CAUSES.map((cause) => [`pause ${cause}`, ((row) => requestPause(row, cause)) as Decide])),
};

/** A judge of this term, or of one that has been overtaken. */
const judge = fc.constantFrom(-1, -1, -1, -2);
const termOf = ({ terms }: Kept, at: number): Term => terms.at(at) ?? (terms.at(-1) as Term);

const create = operation(
  fc.record({ milliVcpus: fc.constantFrom(500, 1_000), timeoutSeconds: fc.constantFrom(null, 60) }),
  function create(what, pair) {
    const id = idOf(2, pair.sandboxes++);
    return ({ books }) => books.create({ id, ...what, memoryMb: 512, diskMb: 300 });
  },
);
const report = operation(
  fc.record({ which, from: speaker, said }),
  function report({ which: n, from, said: what }, pair) {
    const id = idAt(pair, n);
    const hostId = from ?? pair.memory.sandboxes.get(id)?.hostId ?? (HOSTS[0] as string);
    const told = reportOf(pair, id, what);
    return async ({ books }) => {
      const taken = await books.takeReport(hostId, id, told);
      return taken && { row: view(taken.row), push: taken.transition.push, leftBehind: taken.leftBehind };
    };
  },
);
const wish = operation(
  fc.record({ which, decide: fc.constantFrom(...Object.keys(DECIDES)) }),
  function wish({ which: n, decide }, pair) {
    const id = idAt(pair, n);
    return async ({ books }) => {
      const result = await books.transition('control', id, `sandbox.${decide}`, DECIDES[decide] as Decide);
      return result && { row: view(result.row), push: result.transition.push, refusal: result.transition.refusal };
    };
  },
);
const dial = operation(fc.record({ host, replica }), function dial(by) {
  return ({ books }) => books.tunnelReady(by.host, by.replica);
});

/** Whatever control does with its books, in any order. */
export const operations: fc.Arbitrary<Operation[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: create },
    { weight: 10, arbitrary: report },
    { weight: 5, arbitrary: wish },
    { weight: 4, arbitrary: dial },
    {
      weight: 5,
      arbitrary: operation(
        fc.record({ from: speaker, of: fc.array(fc.record({ which, said }), { minLength: 1, maxLength: 5 }) }),
        function reports({ from, of }, pair) {
          const told = new Map(
            of.map(({ which: n, said: what }) => [idAt(pair, n), reportOf(pair, idAt(pair, n), what)] as const),
          );
          const [first] = told.keys();
          const hostId = from ?? pair.memory.sandboxes.get(first as string)?.hostId ?? (HOSTS[0] as string);
          return ({ books }) => books.takeReports(hostId, told);
        },
      ),
    },
    operation(fc.record({ host, replica }), function hangUp(by) {
      return ({ books }) => books.tunnelLost(by.host, by.replica);
    }),
    operation(fc.record({ replica }), function clearOrphanedTunnels(by) {
      // By this term's judge: one that was overtaken is fenced off only where there is something to clear.
      return (kept) => kept.books.clearOrphanedTunnels(termOf(kept, -1), by.replica);
    }),
    operation(fc.record({ host, epoch }), function takeEpoch(of) {
      return ({ books }) => books.takeEpoch(of.host, of.epoch);
    }),
    operation(fc.record({ host, epoch, digest: fc.constantFrom('a', 'b') }), function keepDigest(of) {
      return ({ books }) => books.keepDigest(of.host, of.epoch, of.digest);
    }),
    operation(
      fc.record({ host, seen: fc.uniqueArray(orphan, { selector: ({ sandboxId }) => sandboxId, maxLength: 2 }) }),
      function keepOrphans(of) {
        return ({ books }) => books.keepOrphans(of.host, of.seen);
      },
    ),
    operation(fc.record({ host, failed: fc.nat({ max: 3 }) }), function canaries(of) {
      return async ({ books }) => {
        for (let n = 0; n < of.failed; n++) await books.noteCreate(of.host, 'the disk is full');
        if (of.failed === 0) await books.noteCreate(of.host, null);
      };
    }),
    {
      weight: 3,
      arbitrary: operation(fc.record({ host, epoch, digest: fc.constantFrom('a', 'b') }), function inventory(of) {
        return async ({ books }) => {
          const isNews = await books.takeEpoch(of.host, of.epoch);
          if (isNews) await books.keepDigest(of.host, of.epoch, of.digest);
          return isNews;
        };
      }),
    },
    {
      weight: 2,
      arbitrary: operation(
        fc.record({ inOrder: fc.shuffledSubarray(HOSTS, { minLength: 2 }), quota: fc.constantFrom(1, 2) }),
        function lostTogether({ inOrder, quota }) {
          return async (kept) => {
            const now = Date.now();
            for (const [n, id] of inOrder.entries())
              await kept.setLease(id, new Date(now - 3 * LEASE_MS + n * SPACE_MS));
            const { cutoff } = await kept.books.evidence(LEASE_MS);
            return kept.books.silence(termOf(kept, -1), cutoff, quota);
          };
        },
      ),
    },
    {
      weight: 3,
      arbitrary: operation(fc.record({ host, isInterrupted: fc.boolean() }), function lost(of) {
        return async (kept) => {
          await kept.setLease(of.host, new Date(Date.now() - 2 * LEASE_MS));
          const term = termOf(kept, -1);
          const { cutoff } = await kept.books.evidence(LEASE_MS);
          const silent = await kept.books.silence(term, cutoff, Number.POSITIVE_INFINITY);
          return of.isInterrupted ? [silent] : [silent, await kept.books.markMissing(term)];
        };
      }),
    },
    {
      weight: 3,
      arbitrary: operation(host, function beat(hostId) {
        return ({ books }) => books.beat(hostId);
      }),
    },
    {
      weight: 3,
      // In leases: in the future, some that end together, and one that ended long before.
      arbitrary: operation(fc.record({ host, age: fc.constantFrom(-2, 1.5, 1.6, 1.7, 20) }), function age(of) {
        const seenAt = new Date(Date.now() - of.age * LEASE_MS - HOSTS.indexOf(of.host) * SPACE_MS);
        return ({ setLease }) => setLease(of.host, seenAt);
      }),
    },
    {
      weight: 3,
      arbitrary: operation(
        fc.record({ judge, quota: fc.constantFrom(1, Number.POSITIVE_INFINITY) }),
        function silence(by) {
          return async (kept) => {
            const { cutoff } = await kept.books.evidence(LEASE_MS);
            return kept.books.silence(termOf(kept, by.judge), cutoff, by.quota);
          };
        },
      ),
    },
    {
      weight: 3,
      arbitrary: operation(judge, function markMissing(at) {
        return (kept) => kept.books.markMissing(termOf(kept, at));
      }),
    },
    {
      weight: 3,
      arbitrary: operation(judge, function askAgain(at) {
        return (kept) => kept.books.askAgain(termOf(kept, at));
      }),
    },
    operation(judge, function clampLeases(at) {
      return (kept) => kept.books.clampLeases(termOf(kept, at));
    }),
    operation(fc.constant(null), function newTerm() {
      return async ({ books, terms }) => terms.push(await books.newTerm(idOf(3, 0)));
    }),
  ),
  { minLength: 30, maxLength: 60, size: 'max' },
);
