import type { Inventory, ObservedSandbox } from './sandbox.report.ts';
import { isEnded, observe, type Absence, type SandboxState } from './sandbox.state.ts';

/** The part of a sandbox's row that reconciling reads. */
export interface SandboxBook extends SandboxState {
  readonly id: string;
  readonly hostId: string;
}

/** How a host differs from our books, and what to do about it. */
export interface Differences {
  /** Rows that change, with what the host says of each. */
  readonly changed: Map<string, ObservedSandbox | Absence>;
  /** Sandboxes that the host must be told of (again). */
  readonly toPush: string[];
  /** Sandboxes that were destroyed here, and that the host has all the same. */
  readonly toRemove: { readonly id: string; readonly generation: number }[];
  /** Sandboxes that the host has and nobody wants; see `orphan.state.ts`. */
  readonly orphans: ObservedSandbox[];
}

/**
 * Compares everything a host has with everything it should have. Pure.
 *
 * INVARIANT: a row that is younger than the inventory is not touched: the epoch as of which it is known is above
 * that of the list, which may have been taken before the sandbox was made or after which it has changed.
 *
 * @param books the host's rows, and whatever else is known of the sandboxes in the inventory.
 */
export function reconcile(
  hostId: string,
  books: readonly SandboxBook[],
  { epoch, sandboxes }: Inventory,
  now: Date,
): Differences {
  const reported = new Map(sandboxes.map((sandbox) => [sandbox.id, sandbox]));
  const known = new Map(books.map((book) => [book.id, book]));
  const differences: Differences = { changed: new Map(), toPush: [], toRemove: [], orphans: [] };

  for (const book of books) {
    if (book.hostId !== hostId || book.deletedAt) continue;
    const report = reported.get(book.id) ?? { absentAsOf: epoch };
    const { changes, push } = observe(book, report, now);
    if (Object.keys(changes).length > 0) differences.changed.set(book.id, report);
    if (push && !isOver(book)) differences.toPush.push(book.id);
  }
  for (const sandbox of sandboxes) {
    const book = known.get(sandbox.id);
    if (book?.hostId === hostId && book.deletedAt)
      differences.toRemove.push({ id: book.id, generation: book.generation });
    else if (isOrphan(hostId, book, sandbox, epoch)) differences.orphans.push(sandbox);
  }
  return differences;
}

function isOrphan(hostId: string, book: SandboxBook | undefined, sandbox: ObservedSandbox, epoch: number): boolean {
  if (!book || book.hostId !== hostId) return true;
  // What has ended there as well is kept until somebody destroys it: its disk is still its owner's.
  return isOver(book) && !isEnded(sandbox.status) && book.observedEpoch <= epoch;
}

/** It has ended, and nobody has asked for it to be destroyed: there is nothing to tell its host. */
const isOver = ({ status, desiredState }: SandboxBook): boolean => isEnded(status) && desiredState !== 'DESTROYED';
