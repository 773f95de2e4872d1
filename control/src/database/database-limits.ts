import pg from 'pg';

/** How long a control process waits for its database, in ms. What takes longer is an outage, and said to be one. */
export interface DatabaseLimits {
  /** Until a connection is had, be it a new one or one of the pool's. */
  readonly connectMs: number;
  /** For a lock, of a row or of an advisory one: whoever holds it for so long hangs. */
  readonly lockMs: number;
  /** For one statement, by the server. */
  readonly statementMs: number;
  /** Between two statements of a transaction: a process that was stopped in one keeps its locks from everybody for so long. */
  readonly idleInTransactionMs: number;
  /** For an answer, whatever the server does about its own limits: it may be stopped itself, or no packet of it arrive. */
  readonly answerMs: number;
  /** For the trivial query that readiness is. */
  readonly probeMs: number;
}

/**
 * Every statement of ours takes milliseconds; the sets of the monitor, of a fleet of ten thousand, a second.
 * Shorter takes a busy disk for an outage. Longer keeps callers waiting who could have gone on to another replica.
 */
export const DATABASE_LIMITS: DatabaseLimits = {
  connectMs: 10_000,
  lockMs: 10_000,
  statementMs: 20_000,
  idleInTransactionMs: 20_000,
  answerMs: 25_000,
  probeMs: 5_000,
};

/**
 * A connection that is given up when an answer is overdue.
 *
 * Without this `pg` would put it back into the pool with the query still under way, perhaps in the middle of a
 * transaction, which the next one to get it would then commit.
 */
export class LimitedClient extends pg.Client {
  // The overloads of `pg` end here: whatever was asked, what matters is how its promise ends.
  override query(...asked: unknown[]): never {
    const answer = (super.query as (...args: unknown[]) => unknown).apply(this, asked);
    if (answer instanceof Promise)
      answer.catch((error: unknown) => {
        if (isOverdue(error)) this.#giveUp(error);
      });
    return answer as never;
  }

  #giveUp(error: Error): void {
    (this as unknown as { connection: { stream: { destroy(error: Error): void } } }).connection.stream.destroy(error);
  }
}

const isOverdue = (error: unknown): error is Error => error instanceof Error && error.message === 'Query read timeout';
