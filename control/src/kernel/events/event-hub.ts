import type { Logger } from '@rookery/wire/log.ts';
import pg from 'pg';
import type { Database, DatabaseConnection } from '../../database/database.ts';
import type { EventRow, EventTables } from './event.entity.ts';
import { EVENTS_CHANNEL } from './event-log.ts';

/** Newest events kept in memory; a reader that is further behind reads the table. Some KiB each. */
const RECENT_EVENTS = 5_000;

/** Events read from the table at a time. */
const PAGE = 500;

/** How often the table is looked at without having been told to, in ms: the bound on a lost notification. */
const POLL_MS = 1_000;

/** How long the database may take to accept the listening connection, in ms. */
const CONNECT_TIMEOUT_MS = 10_000;

/** How long to wait before dialling the database again after its connection broke, in ms. */
const RELISTEN_MS = 500;

/**
 * The reading side of the event log: follows it once per process and wakes whoever waits for more.
 *
 * Readers keep a position, not a queue. Nothing is held for a slow one, nothing can overflow, and
 * resuming after a lost connection is the same as going on.
 */
export class EventHub implements AsyncDisposable {
  readonly #database: Database<EventTables>;
  readonly #url: string;
  readonly #log: Logger;
  readonly #recent: EventRow[] = [];
  readonly #waiting = new Set<() => void>();
  #position = 0;
  #listener: pg.Client | undefined;
  #poll: NodeJS.Timeout | undefined;
  #pulling: Promise<void> | undefined;
  #again = false;
  #disposed = false;

  constructor(connection: DatabaseConnection, log: Logger) {
    this.#database = connection.as<EventTables>();
    this.#url = connection.url;
    this.#log = log;
  }

  /** Position of the newest event that this process has seen. */
  get position(): number {
    return this.#position;
  }

  async start(): Promise<void> {
    this.#position = await this.newestStored();
    await this.#listen();
    this.#poll = setInterval(() => this.pull(), POLL_MS);
  }

  /** Position of the oldest event that is kept, or undefined when there is none. */
  async oldest(): Promise<number | undefined> {
    const row = await this.#database.query
      .selectFrom('Event')
      .select(({ fn }) => fn.min('position').as('position'))
      .executeTakeFirst();
    return row?.position == null ? undefined : Number(row.position);
  }

  /** Position that was given out last, perhaps by another replica a moment ago. */
  async newestStored(): Promise<number> {
    const head = await this.#database.query
      .selectFrom('EventHead')
      .select('position')
      .where('id', '=', 1)
      .executeTakeFirst();
    return head?.position ?? 0;
  }

  /** Some of the events after a position, in order; none when the reader is up to date. */
  async read(after: number): Promise<readonly EventRow[]> {
    const first = this.#recent[0]?.position;
    if (first != null && after >= first - 1) {
      // Positions are dense, so the place of the next one can be computed.
      return this.#recent.slice(after - first + 1, after - first + 1 + PAGE);
    }
    if (after >= this.#position) return [];
    return this.#database.query
      .selectFrom('Event')
      .selectAll()
      .where('position', '>', after)
      .where('position', '<=', this.#position)
      .orderBy('position')
      .limit(PAGE)
      .execute();
  }

  /** Calls back once when there is an event after `after`, at once if there already is. Returns how to stop waiting. */
  onNext(after: number, wake: () => void): () => void {
    if (this.#position > after) {
      wake();
      return () => {};
    }
    this.#waiting.add(wake);
    return () => this.#waiting.delete(wake);
  }

  /** Looks at the table now. */
  pull(): void {
    if (this.#pulling) {
      this.#again = true;
      return;
    }
    this.#pulling = this.#pullAll()
      .catch((err: unknown) => {
        if (!this.#disposed) this.#log.warn({ err }, 'the event log cannot be read; it is tried again');
      })
      .finally(() => {
        this.#pulling = undefined;
        if (!this.#again || this.#disposed) return;
        this.#again = false;
        this.pull();
      });
  }

  async #pullAll(): Promise<void> {
    for (;;) {
      const page = await this.#database.query
        .selectFrom('Event')
        .selectAll()
        .where('position', '>', this.#position)
        .orderBy('position')
        .limit(PAGE)
        .execute();
      const newest = page.at(-1)?.position;
      if (newest == null) return;
      this.#recent.push(...page);
      if (this.#recent.length > RECENT_EVENTS) this.#recent.splice(0, this.#recent.length - RECENT_EVENTS);
      this.#position = newest;
      const woken = [...this.#waiting];
      this.#waiting.clear();
      for (const wake of woken) wake();
      // What has come meanwhile is told of by its own notification.
      if (page.length < PAGE) return;
    }
  }

  async #listen(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#url,
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    });
    client.on('notification', () => this.pull());
    client.on('error', (err) => {
      if (this.#listener !== client || this.#disposed) return;
      this.#listener = undefined;
      this.#log.warn({ err }, 'no notifications from the database; polling until it is back');
      setTimeout(() => void this.#relisten(), RELISTEN_MS).unref();
    });
    try {
      await client.connect();
      await client.query(`listen ${EVENTS_CHANNEL}`);
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
    // Disposed while it was connecting: nobody else would end it.
    if (this.#disposed) await client.end();
    else this.#listener = client;
  }

  async #relisten(): Promise<void> {
    if (this.#disposed) return;
    try {
      await this.#listen();
      this.pull();
    } catch {
      setTimeout(() => void this.#relisten(), RELISTEN_MS).unref();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    clearInterval(this.#poll);
    await this.#pulling;
    await this.#listener?.end().catch(() => {});
  }
}
