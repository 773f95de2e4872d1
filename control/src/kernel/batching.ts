import type DataLoader from 'dataloader';

/** Longest that a question waits for others to be asked with while it is quiet, in ms. */
const WINDOW_MS = 2;

/** Least time between two statements unless they are full, in ms. */
const PACE_MS = 10;

/**
 * Options of a loader that puts what many hosts need at the same moment into one statement, and remembers nothing: after
 * an outage a whole fleet comes back at once, and a statement for each would take minutes. What is loaded is read, or
 * written, after it was asked for.
 *
 * @param size how many go into one statement; more makes fewer statements, and blocks the process for longer while
 *   their rows are made.
 * @param paceMs least time between two statements, in ms, unless they are full. One that comes alone does not wait for
 *   it; the more come, the more go together. Default {@link PACE_MS}; more for what costs more, like a transaction.
 */
export function together<Key, Value>(size: number, paceMs = PACE_MS): DataLoader.Options<Key, Value> {
  let dispatchAt = Number.NEGATIVE_INFINITY;
  return {
    cache: false,
    maxBatchSize: size,
    batchScheduleFn(dispatch) {
      const now = performance.now();
      // A second one while the first still waits: that one is full.
      const isFull = now < dispatchAt;
      const waitMs = isFull ? WINDOW_MS : Math.max(WINDOW_MS, dispatchAt + paceMs - now);
      dispatchAt = now + waitMs;
      setTimeout(dispatch, waitMs);
    },
  };
}
