import type { Caller } from '@rookery/wire/caller.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { v7 as uuidv7 } from 'uuid';
import type { Database, DatabaseConnection } from '../../database/database.ts';
import type { EventLog } from '../events/event-log.ts';
import type { Actor } from '../viewer.ts';
import type { AuditEventRow, AuditTables } from './audit.entity.ts';
import type { AuditActor, AuditOutcome, AuditSubject } from './audit.ts';

/** Something worth keeping that is not a mutation of the public API. */
export interface SecurityEvent {
  /** `token.refused`, `host.refresh_reuse`. */
  readonly action: string;
  readonly actor: AuditActor;
  readonly subject?: AuditSubject | undefined;
  readonly outcome: AuditOutcome;
  readonly code?: string | undefined;
  readonly detail?: Readonly<Record<string, unknown>> | undefined;
  readonly caller?: Caller | undefined;
}

/** How an operation ended. */
export interface AuditedEnd {
  readonly outcome: AuditOutcome;
  readonly code: string | null;
  readonly subject: AuditSubject | undefined;
  /** Who it turned out to be: of a sign-in, the person who is now signed in. */
  readonly actor?: AuditActor | undefined;
}

/** The writing side of the audit trail. What is complete also goes into the event log, where subscriptions read it. */
export class AuditLog {
  readonly #database: Database<AuditTables>;
  readonly #events: EventLog<AuditTables>;
  readonly #log: Logger;

  constructor(connection: DatabaseConnection, events: EventLog, log: Logger) {
    this.#database = connection.as<AuditTables>();
    this.#events = events.as<AuditTables>();
    this.#log = log;
  }

  /**
   * Writes down that an operation begins, before it may do anything.
   *
   * @returns the id to complete it by.
   * @throws when it cannot be written; the operation must then not run.
   */
  async begin(
    action: string,
    actor: AuditActor,
    detail: Readonly<Record<string, unknown>>,
    caller: Caller,
  ): Promise<string> {
    const id = uuidv7();
    await this.#database.query
      .insertInto('AuditEvent')
      .values({ id, action, ...actorColumns(actor), ...callerColumns(caller), detail: { ...detail }, at: new Date() })
      .execute();
    return id;
  }

  /** Completes what {@link begin} began. Never throws: the operation has happened, whatever becomes of this. */
  async end(id: string, { outcome, code, subject, actor }: AuditedEnd): Promise<void> {
    try {
      await this.#events.transaction('control', async (tx, record) => {
        const row = await tx
          .updateTable('AuditEvent')
          .set({
            outcome,
            code,
            completedAt: new Date(),
            revision: 2,
            ...subjectColumns(subject),
            ...(actor ? actorColumns(actor) : {}),
          })
          .where('id', '=', id)
          .returningAll()
          .executeTakeFirstOrThrow();
        await record([asChange(row)]);
      });
    } catch (err) {
      this.#log.error({ err, auditEventId: id, outcome, code }, 'an audit event could not be completed');
    }
  }

  /** Writes down something that is over. Never throws: a security event must not become a second failure. */
  async record({ action, actor, subject, outcome, code, detail, caller }: SecurityEvent): Promise<void> {
    try {
      await this.#events.transaction(actorOf(actor), async (tx, record) => {
        const row = await tx
          .insertInto('AuditEvent')
          .values({
            id: uuidv7(),
            action,
            outcome,
            code: code ?? null,
            ...actorColumns(actor),
            ...subjectColumns(subject),
            ...callerColumns(caller ?? {}),
            detail: { ...detail },
            at: new Date(),
            completedAt: new Date(),
            revision: 2,
          })
          .returningAll()
          .executeTakeFirstOrThrow();
        await record([asChange(row)]);
      });
    } catch (err) {
      this.#log.error({ err, action, outcome, code }, 'a security event could not be written down');
    }
  }
}

const actorColumns = ({ kind, id, label }: AuditActor) => ({ actorKind: kind, actorId: id, actorLabel: label });

const callerColumns = ({ address, userAgent }: Caller) => ({
  address: address ?? null,
  userAgent: userAgent ?? null,
});

const subjectColumns = (subject: AuditSubject | undefined) =>
  subject ? { resourceType: subject.type, resourceId: subject.id, teamId: subject.teamId } : {};

const asChange = (row: AuditEventRow) => ({
  subject: 'AUDIT' as const,
  change: 'CREATED' as const,
  type: 'audit.recorded',
  row,
});

function actorOf({ kind, id }: AuditActor): Actor {
  if (id === null) return 'control';
  if (kind === 'USER') return `user:${id}`;
  if (kind === 'API_KEY') return `api-key:${id}`;
  return kind === 'HOST' ? `host:${id}` : 'control';
}
