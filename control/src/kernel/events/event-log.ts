import type { Logger } from '@rookery/wire/log.ts';
import { sql, type Kysely } from 'kysely';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database, DatabaseConnection } from '../../database/database.ts';
import type { Actor } from '../viewer.ts';
import type { CHANGE_KINDS, EVENT_SUBJECTS, EventTables } from './event.entity.ts';

/** What happened to one thing, to be written with the change itself. */
export interface Change {
  readonly subject: (typeof EVENT_SUBJECTS)[number];
  readonly change: (typeof CHANGE_KINDS)[number];
  /** In the field's words: `host.registered`. */
  readonly type: string;
  /** The row after the change. */
  readonly row: ChangedRow;
  /** Whose doing it is, when that is not the transaction's actor. */
  readonly actor?: Actor;
}

interface ChangedRow {
  readonly id: string;
  readonly revision: number;
  /** Null for what only platform admins see. */
  readonly teamId: string | null;
  readonly hostId?: string | null;
}

/** Writes changes into the log of the transaction it came with. */
export type Record = (changes: readonly Change[]) => Promise<void>;

/** The channel on which replicas tell each other that the log has grown. */
export const EVENTS_CHANNEL = 'rookery_events';

/** Any constant; the same in every replica. */
const SEQUENCER_LOCK = 7_665_702;

/** Events sequenced in one statement; more makes one long transaction out of several short ones. */
const SEQUENCE_BATCH = 5_000;

/** Time between two rounds of sequencing while events keep coming, in ms. */
const ROUND_PACE_MS = 10;

/**
 * The writing side of the event log.
 *
 * An event row is inserted by the transaction of its change, without a position. After the commit
 * one statement at a time, across all replicas, numbers what is visible and has no number yet. So a
 * position never appears below one that was already read, however the transactions overlapped, and
 * the positions of one object follow its revisions: a second change of an object can only begin to
 * write after the first has committed (docs/adr/0003-events-are-sequenced-after-commit.md).
 */
export class EventLog<Tables = unknown> implements AsyncDisposable {
  readonly #database: Database<EventTables>;
  readonly #log: Logger;
  #sequencing: Promise<void> | undefined;
  #again = false;
  #disposed = false;

  constructor(connection: DatabaseConnection, log: Logger) {
    this.#database = connection.as<EventTables>();
    this.#log = log;
  }

  /** The same log, for changes of one subgraph's tables. */
  as<Own>(): EventLog<Own> {
    return this as unknown as EventLog<Own>;
  }

  /** Runs `work` in a transaction whose changes are logged through `record`, and sequences them after the commit. */
  async transaction<T>(actor: Actor, work: (tx: Kysely<Tables>, record: Record) => Promise<T>): Promise<T> {
    let wrote = false;
    const result = await this.#database.transaction((tx) =>
      work(tx as unknown as Kysely<Tables>, async (changes) => {
        wrote ||= changes.length > 0;
        await insertEvents(tx, actor, changes);
      }),
    );
    if (wrote) this.nudge();
    return result;
  }

  /** Sequences soon. Calls while it is under way are folded into one more round. */
  nudge(): void {
    if (this.#disposed) return;
    if (this.#sequencing) {
      this.#again = true;
      return;
    }
    this.#sequencing = this.#rounds();
  }

  async #rounds(): Promise<void> {
    do {
      this.#again = false;
      await this.sequence().catch((err: unknown) =>
        this.#log.warn({ err }, 'events could not be sequenced; the next round will'),
      );
      // What comes one by one goes together from the second round on.
      if (this.#again) await sleep(ROUND_PACE_MS);
    } while (this.#again);
    this.#sequencing = undefined;
  }

  /**
   * Numbers what has none. Also called by a loop, for the events of a process that died between its
   * commit and its sequencing.
   *
   * @returns how many events got a position.
   */
  async sequence(): Promise<number> {
    return this.#database.transaction(async (tx) => {
      // Held until after the commit is visible, so that the next round sees what this one did.
      await sql`select pg_advisory_xact_lock(${SEQUENCER_LOCK})`.execute(tx);
      const { rows } = await sql<{ count: string }>`
        with pending as (
          select id, row_number() over (order by id) as n
          from (select id from events where position is null order by id limit ${SEQUENCE_BATCH}) as batch
        ), head as (
          select coalesce((select position from event_head where id = 1), 0) as last
        ), numbered as (
          update events set position = head.last + pending.n from pending, head
          where events.id = pending.id returning events.position
        ), given as (
          select count(*) as count, max(position) as last from numbered
        ), written as (
          insert into event_head (id, position) select 1, last from given where count > 0
          on conflict (id) do update set position = excluded.position returning position
        )
        -- One notification a round, not one a transaction: NOTIFY serialises the commits that use it.
        select count, (select pg_notify(${EVENTS_CHANNEL}, position::text) from written) from given`.execute(tx);
      const count = Number(rows[0]?.count ?? 0);
      if (count === SEQUENCE_BATCH) this.#again = true;
      return count;
    });
  }

  /** Waits for a round that is under way. */
  async idle(): Promise<void> {
    while (this.#sequencing) await this.#sequencing;
  }

  /** Ends with the round that is under way; what is left is numbered by whoever comes next. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.idle();
    this.#disposed = true;
  }
}

async function insertEvents(tx: Kysely<EventTables>, actor: Actor, changes: readonly Change[]): Promise<void> {
  if (changes.length === 0) return;
  const rows = changes.map(({ subject, change, type, row, actor: own }) => ({
    subject,
    change,
    type,
    actor: own ?? actor,
    subject_id: row.id,
    revision: row.revision,
    team_id: row.teamId,
    host_id: subject === 'HOST' ? row.id : (row.hostId ?? null),
    state: row,
  }));
  // One parameter, however many there are: thousands of them cost more than what they say.
  await sql`
    insert into events (subject, change, type, actor, subject_id, revision, team_id, host_id, state)
    select subject, change, type, actor, subject_id, revision, team_id, host_id, state
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as event (
      subject text, change text, type text, actor text, subject_id uuid, revision int, team_id uuid, host_id uuid,
      state jsonb
    )`.execute(tx);
}
