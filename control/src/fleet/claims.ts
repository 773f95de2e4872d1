import type pg from 'pg';
import { DATABASE_LIMITS, LimitedClient } from '../database/database-limits.ts';

/** First halves of advisory locks; any constants, the same in every replica. */
export const ClaimKind = { deletion: 7_665_710, drain: 7_665_711 } as const;

/** How often a connection with claims shows the database that its process lives, in ms. */
const PING_MS = 1_000;

/**
 * Silence after which the database takes its claims from a process, in ms: one that was stopped keeps its connection,
 * and with it all others from the work. Shorter takes claims from a process that has a hiccup.
 */
const SESSION_TIMEOUT_MS = 10_000;

/**
 * Claims on pieces of work that only one control process should be at.
 *
 * A claim is an advisory lock of one database connection that is kept for nothing else: it goes with the
 * process, however that ends, so that what a killed one has left can be taken up at once. A lock in a
 * transaction of the pool would do too, and would keep a connection of the pool for as long as the work takes.
 *
 * When the connection is lost the claims are lost, and two processes may be at the same work: it must be
 * repeatable from any point.
 */
export class Claims implements AsyncDisposable {
  readonly #url: string;
  readonly #held = new Set<string>();
  #client: Promise<pg.Client> | undefined;

  readonly #sessionTimeoutMs: number;

  /** @param sessionTimeoutMs default 10 s. */
  constructor(url: string, sessionTimeoutMs = SESSION_TIMEOUT_MS) {
    this.#url = url;
    this.#sessionTimeoutMs = sessionTimeoutMs;
  }

  /**
   * Does a piece of work unless somebody is at it.
   *
   * @param id of what is worked on.
   * @returns undefined when somebody else is at it, in this process or in another.
   */
  async exclusively<T>(
    kind: (typeof ClaimKind)[keyof typeof ClaimKind],
    id: string,
    work: () => Promise<T>,
  ): Promise<T | undefined> {
    const name = `${kind}:${id}`;
    if (this.#held.has(name)) return undefined;
    this.#held.add(name);
    try {
      const client = await this.#connected();
      const { rows } = await client.query<{ mine: boolean }>('select pg_try_advisory_lock($1, hashtext($2)) as mine', [
        kind,
        id,
      ]);
      if (!rows[0]?.mine) return undefined;
      try {
        return await work();
      } finally {
        // When that fails the connection is gone, and the lock with it.
        await client.query('select pg_advisory_unlock($1, hashtext($2))', [kind, id]).catch(() => {});
      }
    } finally {
      this.#held.delete(name);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.then((connected) => connected.end()).catch(() => {});
  }

  #connected(): Promise<pg.Client> {
    if (this.#client) return this.#client;
    const client: pg.Client = new LimitedClient({
      connectionString: this.#url,
      keepAlive: true,
      connectionTimeoutMillis: DATABASE_LIMITS.connectMs,
      query_timeout: DATABASE_LIMITS.answerMs,
    });
    let pings: NodeJS.Timeout | undefined;
    const connecting = client.connect().then(async () => {
      await client.query(`set idle_session_timeout = ${this.#sessionTimeoutMs}`);
      // One that fails has lost the connection, which is heard of below.
      pings = setInterval(() => void client.query('select 1').catch(() => {}), PING_MS);
      return client;
    });
    const lose = (): void => {
      clearInterval(pings);
      if (this.#client === connecting) this.#client = undefined;
    };
    client.on('error', lose);
    client.on('end', lose);
    connecting.catch(lose);
    this.#client = connecting;
    return connecting;
  }
}
