import { sql } from 'kysely';
import { signedIn, teamsWhere } from '../../kernel/authority.ts';
import type { AuditActorKind, AuditOutcome } from '../../kernel/audit/audit.ts';
import type { Page } from '../../kernel/paging.ts';
import type { Viewer } from '../../kernel/viewer.ts';
import type { AccountsDatabase, AuditEventRow } from '../tables.ts';

export interface AuditFilter {
  readonly teamId?: string | undefined;
  readonly actorKind?: AuditActorKind | undefined;
  readonly actorId?: string | undefined;
  readonly action?: string | undefined;
  readonly outcome?: AuditOutcome | undefined;
  readonly resourceId?: string | undefined;
  readonly since?: Date | undefined;
  readonly until?: Date | undefined;
}

/** Whose trail a viewer may read. */
interface AuditReach {
  readonly teams: 'ALL' | readonly string[];
  /** Their own events that belong to no team: signing in, their password. */
  readonly own: string;
}

/** The reading side of the audit trail. */
export class AuditService {
  readonly #database: AccountsDatabase;

  constructor(database: AccountsDatabase) {
    this.#database = database;
  }

  /** A page of the events that the viewer may see, newest first. */
  async list(viewer: Viewer | null, filter: AuditFilter, page: Page): Promise<AuditEventRow[]> {
    const { teams, own } = this.reach(viewer);
    const { teamId, actorKind, actorId, action, outcome, resourceId, since, until } = filter;
    return this.#database.query
      .selectFrom('AuditEvent')
      .selectAll()
      .$if(teams !== 'ALL', (q) =>
        q.where((eb) =>
          eb.or([
            eb('teamId', '=', sql<string>`any(${teams}::uuid[])`),
            eb.and([eb('teamId', 'is', null), eb('actorId', '=', own)]),
          ]),
        ),
      )
      .$if(teamId !== undefined, (q) => q.where('teamId', '=', teamId as string))
      .$if(actorKind !== undefined, (q) => q.where('actorKind', '=', actorKind as AuditActorKind))
      .$if(actorId !== undefined, (q) => q.where('actorId', '=', actorId as string))
      .$if(action !== undefined, (q) => q.where('action', '=', action as string))
      .$if(outcome !== undefined, (q) => q.where('outcome', '=', outcome as AuditOutcome))
      .$if(resourceId !== undefined, (q) => q.where('resourceId', '=', resourceId as string))
      .$if(since !== undefined, (q) => q.where('at', '>=', since as Date))
      .$if(until !== undefined, (q) => q.where('at', '<', until as Date))
      .$if(page.after !== undefined, (q) => q.where('id', '<', page.after as string))
      .$if(page.before !== undefined, (q) => q.where('id', '>', page.before as string))
      .orderBy('id', page.inverted ? 'asc' : 'desc')
      .limit(page.limit)
      .execute();
  }

  /** @throws {RookeryError} `UNAUTHENTICATED`, or `FORBIDDEN` for an API key. */
  reach(viewer: Viewer | null): AuditReach {
    const someone = signedIn(viewer);
    return { teams: teamsWhere(someone, 'audit:read'), own: someone.id };
  }
}

/** Whether an event is within a reach and matches a filter; the same question as the query's, for one event. */
export function matches({ teams, own }: AuditReach, filter: AuditFilter, event: AuditEventRow): boolean {
  const within = teams === 'ALL' || (event.teamId === null ? event.actorId === own : teams.includes(event.teamId));
  const { teamId, actorKind, actorId, action, outcome, resourceId, since, until } = filter;
  const wanted = { teamId, actorKind, actorId, action, outcome, resourceId };
  return (
    within &&
    Object.entries(wanted).every(
      ([key, value]) => value === undefined || event[key as keyof typeof wanted] === value,
    ) &&
    (since === undefined || event.at >= since) &&
    (until === undefined || event.at < until)
  );
}
