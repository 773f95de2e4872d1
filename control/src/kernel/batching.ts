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
  let waiting: { readonly dispatch: () => void; readonly timer: NodeJS.Timeout } | undefined;
  let last = Number.NEGATIVE_INFINITY;
  const send = (dispatch: () => void): void => {
    waiting = undefined;
    last = performance.now();
    dispatch();
  };
  return {
    cache: false,
    maxBatchSize: size,
    batchScheduleFn(dispatch) {
      // A second one while the first still waits: that one is full.
      if (waiting) {
        clearTimeout(waiting.timer);
        send(waiting.dispatch);
      }
      const waitMs = Math.max(WINDOW_MS, last + paceMs - performance.now());
      waiting = { dispatch, timer: setTimeout(() => send(dispatch), waitMs) };
    },
  };
}

/** What a loader answers: the row of each id, in the order of the ids, and null where there is none. */
export function inOrder<Row>(ids: readonly string[], rows: readonly Row[], idOf: (row: Row) => string): (Row | null)[] {
  const byId = new Map(rows.map((row) => [idOf(row), row]));
  return ids.map((id) => byId.get(id) ?? null);
}
