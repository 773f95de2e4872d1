import type { Logger } from '@rookery/wire/log.ts';
import { sql, type QueryExecutorProvider } from 'kysely';
import pg from 'pg';

/** The advisory lock of the election. Any constant; the same in every replica. */
export const LEADER_LOCK = 7_665_704;

/** How often the leader shows the database that it lives and the others ask whether it still does, in ms. Longer leaves the fleet without a judge for longer. */
const PING_MS = 1_000;

/**
 * Silence after which the database takes the lock from its holder, in ms. A crash frees it at once; this is for a
 * process that was stopped or cut off and whose connection lives on. Shorter changes leaders for every hiccup.
 */
const SESSION_TIMEOUT_MS = 10_000;

/**
 * How long a fenced transaction may do nothing, in ms: one whose process was stopped in the middle
 * would hold up the next leader, and every row it has locked.
 */
const FENCED_IDLE_MS = 5_000;

/** The leadership has changed hands since the judgement was made; nothing of it was written. */
export class FencedOff extends Error {
  override readonly name = 'FencedOff';
  constructor(epoch: number) {
    super(`the leadership of epoch ${epoch} has ended`);
  }
}

/** One stretch of being the leader. */
export interface Term {
  /** Grows with every change of hands, across all replicas and restarts. */
  readonly epoch: number;
  /**
   * Lets a transaction write only if this term still lasts, and keeps the next one from beginning
   * before its commit. To be called first in every transaction of a judge.
   *
   * @throws {FencedOff}
   */
  fence(tx: QueryExecutorProvider): Promise<void>;
}

export interface LeadershipDeps {
  /** PostgreSQL itself: a pooler that shares sessions would share the lock. */
  readonly url: string;
  readonly replicaId: string;
  readonly log: Logger;
  /** Default 10 s. */
  readonly sessionTimeoutMs?: number;
}

/**
 * Elects one of the replicas to judge: to declare hosts lost, to finish what others began, to throw old things away.
 *
 * The election is a session's advisory lock. PostgreSQL frees it when the session ends, and ends the
 * session when nothing is heard from it, so that a stopped process does not hold it for ever. But a
 * process that wakes up does not know yet what has happened: so the lock only says who may begin, and
 * the epoch, checked in every transaction that writes a judgement, who may still write.
 */
export class Leadership implements AsyncDisposable {
  readonly #deps: LeadershipDeps;
  readonly #stop = new AbortController();
  readonly #listeners: (() => void)[] = [];
  #running: Promise<void> | undefined;
  #term: Term | undefined;

  constructor(deps: LeadershipDeps) {
    this.#deps = deps;
  }

  /** The term of this process, as far as it knows; {@link Term.fence} knows better. */
  get term(): Term | undefined {
    return this.#term;
  }

  /** Called at the beginning of every term from now on. */
  onElected(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Stands for election until disposed. Resolves after the first attempt, so that a lone process leads from its start. */
  async start(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#running = this.#run(resolve);
    await promise;
  }

  /**
   * A loop's pass that only the leader makes.
   *
   * @param pass what is written in it, it writes behind `term.fence`.
   * @returns for {@link Loop.run}; undefined says that somebody else does it.
   */
  judge(pass: (term: Term) => Promise<number>): () => Promise<number | undefined> {
    return async () => {
      const term = this.#term;
      if (!term) return undefined;
      try {
        return await pass(term);
      } catch (error) {
        if (!(error instanceof FencedOff)) throw error;
        this.#deps.log.warn({ epoch: term.epoch }, 'a judgement came too late and was not written');
        return undefined;
      }
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(onFirstAttempt: () => void): Promise<void> {
    const { log } = this.#deps;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#hold(onFirstAttempt);
      } catch (err) {
        if (!signal.aborted) log.warn({ err }, 'the election has no connection to the database; trying again');
      }
      this.#term = undefined;
      onFirstAttempt();
      await pause(PING_MS, signal);
    }
  }

  /** One connection, from dialling to its end; most of the time it holds the lock or waits for it. */
  async #hold(onFirstAttempt: () => void): Promise<void> {
    const { url, log, sessionTimeoutMs = SESSION_TIMEOUT_MS } = this.#deps;
    const { signal } = this.#stop;
    const client = new pg.Client({
      connectionString: url,
      application_name: 'rookery leader',
      connectionTimeoutMillis: SESSION_TIMEOUT_MS,
      // A database that does not answer is one that may have given the lock away.
      query_timeout: sessionTimeoutMs,
    });
    // Without a listener a broken connection would end the process; the next query fails with it.
    client.on('error', () => (this.#term = undefined));
    client.on('end', () => (this.#term = undefined));
    try {
      await client.connect();
      await client.query(`set idle_session_timeout = ${sessionTimeoutMs}`);
      while (!signal.aborted) {
        if (this.#term) await client.query('select 1');
        else if (await this.#elected(client)) log.info({ epoch: this.#epoch }, 'this process leads the fleet');
        onFirstAttempt();
        await pause(PING_MS, signal);
      }
    } finally {
      this.#term = undefined;
      await client.end().catch(() => {});
    }
  }

  get #epoch(): number | undefined {
    return this.#term?.epoch;
  }

  async #elected(client: pg.Client): Promise<boolean> {
    const locked = await client.query<{ locked: boolean }>('select pg_try_advisory_lock($1) as locked', [LEADER_LOCK]);
    if (!locked.rows[0]?.locked) return false;
    // Waits for transactions of the last term: they hold the row.
    const { rows } = await client.query<{ epoch: string }>(
      `insert into leadership (id, epoch, replica_id) values (1, 1, $1)
       on conflict (id) do update set epoch = leadership.epoch + 1, replica_id = $1, since = now()
       returning epoch`,
      [this.#deps.replicaId],
    );
    const epoch = Number(rows[0]?.epoch);
    this.#term = { epoch, fence: (tx) => fence(tx, epoch) };
    for (const listener of this.#listeners) listener();
    return true;
  }
}

async function fence(tx: QueryExecutorProvider, epoch: number): Promise<void> {
  await sql`set local idle_in_transaction_session_timeout = ${sql.lit(FENCED_IDLE_MS)}`.execute(tx);
  const { rows } = await sql<{ epoch: string }>`select epoch from leadership where id = 1 for share`.execute(tx);
  if (Number(rows[0]?.epoch) !== epoch) throw new FencedOff(epoch);
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
