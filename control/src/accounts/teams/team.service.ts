import { sha256 } from '@rookery/wire/secrets.ts';
import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { isUniqueViolation } from '../../database/database.ts';
import { authorize, may, person, signedIn, teamsWhere } from '../../kernel/authority.ts';
import { noteAuditSubject } from '../../kernel/audit/audit.ts';
import { inputField, parseInput } from '../../kernel/input.ts';
import { containing, type Page } from '../../kernel/paging.ts';
import type { FleetPort } from '../../kernel/ports.ts';
import { IdempotencyKeyReused } from '../../kernel/user-errors.ts';
import { actorOf, type Actor, type Viewer } from '../../kernel/viewer.ts';
import type { AccountsDatabase, AccountsEvents, TeamRow } from '../tables.ts';
import { changeTeam, teamResource } from './team.record.ts';

const teamName = () => inputField.text(63);

const createTeamInput = z.object({ name: teamName(), idempotencyKey: inputField.idempotencyKey().nullish() });
const renameTeamInput = z.object({ name: teamName() });

interface NewTeam {
  readonly name: string;
  readonly ownerId: string;
  readonly isByoc: boolean;
  readonly idempotencyKey?: string | null;
  readonly requestHash?: string;
}

export interface TeamServiceDeps {
  readonly database: AccountsDatabase;
  readonly events: AccountsEvents;
  readonly fleet: FleetPort;
}

/** Teams. Who belongs to them is in `member.service.ts`. */
export class TeamService {
  readonly #deps: TeamServiceDeps;

  constructor(deps: TeamServiceDeps) {
    this.#deps = deps;
  }

  /**
   * Makes a team that the viewer owns.
   *
   * @throws {InvalidInput | IdempotencyKeyReused}
   */
  async create(viewer: Viewer | null, input: unknown): Promise<TeamRow> {
    const someone = person(viewer);
    noteAuditSubject({ type: 'team', id: null, teamId: null });
    const request = parseInput(createTeamInput, input);
    const { name, idempotencyKey } = request;
    const requestHash = sha256(JSON.stringify(request));
    const retried = () =>
      idempotencyKey ? this.#retried(someone.id, idempotencyKey, requestHash) : Promise.resolve(undefined);
    const known = await retried();
    if (known) return known;
    try {
      return await this.createFor(actorOf(someone), {
        name,
        ownerId: someone.id,
        isByoc: false,
        idempotencyKey: idempotencyKey ?? null,
        requestHash,
      });
    } catch (error) {
      // The same request twice at once: the other one was first.
      const first = isUniqueViolation(error, 'teams_idempotency_key') ? await retried() : undefined;
      if (!first) throw error;
      return first;
    }
  }

  /** Makes a team with its first owner. */
  async createFor(actor: Actor, { ownerId, ...team }: NewTeam): Promise<TeamRow> {
    return this.#deps.events.transaction(actor, async (tx, record) => {
      const row = await tx
        .insertInto('Team')
        .values({ id: uuidv7(), ...team, createdAt: new Date(), createdBy: ownerId, revision: 1 })
        .returningAll()
        .executeTakeFirstOrThrow();
      await tx
        .insertInto('Membership')
        .values({ id: uuidv7(), teamId: row.id, userId: ownerId, role: 'OWNER', createdAt: new Date() })
        .execute();
      await record([{ subject: 'TEAM', change: 'CREATED', type: 'team.created', row: { ...row, teamId: row.id } }]);
      return row;
    });
  }

  /** @throws {InvalidInput | NotFound | NotPermitted} */
  async rename(viewer: Viewer | null, teamId: string, input: unknown): Promise<TeamRow> {
    const someone = signedIn(viewer);
    authorize(someone, 'team:rename', await teamResource(this.#deps.database, teamId), 'team');
    const { name } = parseInput(renameTeamInput, input);
    return this.#deps.events.transaction(actorOf(someone), (tx, record) =>
      changeTeam(tx, record, teamId, 'team.renamed', { name }),
    );
  }

  /**
   * Lets a team bring its own hosts, or no longer: then it gets no new ones and nothing is placed on
   * those it has, which stay visible and can be deleted.
   *
   * @throws {NotFound | NotPermitted}
   */
  async setByoc(viewer: Viewer | null, teamId: string, isByoc: boolean): Promise<TeamRow> {
    const someone = signedIn(viewer);
    authorize(someone, 'team:set-byoc', await teamResource(this.#deps.database, teamId), 'team');
    const team = await this.#deps.events.transaction(actorOf(someone), (tx, record) =>
      changeTeam(tx, record, teamId, isByoc ? 'team.byoc_enabled' : 'team.byoc_disabled', { isByoc }),
    );
    await this.#deps.fleet.teamByocChanged(teamId);
    return team;
  }

  /** A page of the teams that the viewer may know of, newest first. */
  async list(viewer: Viewer | null, search: string | undefined, page: Page): Promise<TeamRow[]> {
    return this.#listed(signedIn(viewer), search)
      .selectAll()
      .$if(page.after !== undefined, (q) => q.where('id', '<', page.after as string))
      .$if(page.before !== undefined, (q) => q.where('id', '>', page.before as string))
      .orderBy('id', page.inverted ? 'asc' : 'desc')
      .limit(page.limit)
      .execute();
  }

  async count(viewer: Viewer | null, search: string | undefined): Promise<number> {
    const { count } = await this.#listed(signedIn(viewer), search)
      .select(({ fn }) => fn.countAll().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  /** Those of the teams that the viewer may know of. */
  async visible(viewer: Viewer, ids: readonly string[]): Promise<TeamRow[]> {
    return this.byIds(ids.filter((id) => may(viewer, 'team:read', { teamId: id })));
  }

  /** Without regard to who asks; for the process itself. */
  async byIds(ids: readonly string[]): Promise<TeamRow[]> {
    if (ids.length === 0) return [];
    return this.#deps.database.query.selectFrom('Team').selectAll().where('id', 'in', ids).execute();
  }

  async byocIds(): Promise<string[]> {
    const rows = await this.#deps.database.query.selectFrom('Team').select('id').where('isByoc', '=', true).execute();
    return rows.map(({ id }) => id);
  }

  #listed(viewer: Viewer, search: string | undefined) {
    const teams = teamsWhere(viewer, 'team:read');
    const pattern = containing(search ?? '');
    return this.#deps.database.query
      .selectFrom('Team')
      .$if(teams !== 'ALL', (q) => q.where('id', '=', sql<string>`any(${teams}::uuid[])`))
      .$if(!!search, (q) => q.where('name', 'ilike', pattern));
  }

  async #retried(userId: string, key: string, requestHash: string): Promise<TeamRow | undefined> {
    const team = await this.#deps.database.query
      .selectFrom('Team')
      .selectAll()
      .where('createdBy', '=', userId)
      .where('idempotencyKey', '=', key)
      .executeTakeFirst();
    if (team && team.requestHash !== requestHash) throw new IdempotencyKeyReused();
    return team;
  }
}
