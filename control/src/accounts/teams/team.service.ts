import { v7 as uuidv7 } from 'uuid';
import { may } from '../../kernel/authority.ts';
import type { Viewer } from '../../kernel/viewer.ts';
import type { AccountsDatabase, TeamRow } from '../tables.ts';

/** Teams, and who belongs to them. */
export class TeamService {
  readonly #database: AccountsDatabase;

  constructor(database: AccountsDatabase) {
    this.#database = database;
  }

  /** Makes a team with its first owner. */
  async create(name: string, ownerId: string, isByoc: boolean): Promise<TeamRow> {
    return this.#database.transaction(async (tx) => {
      const team = await tx
        .insertInto('Team')
        .values({ id: uuidv7(), name, isByoc, createdAt: new Date() })
        .returningAll()
        .executeTakeFirstOrThrow();
      await tx
        .insertInto('Membership')
        .values({ id: uuidv7(), teamId: team.id, userId: ownerId, role: 'OWNER', createdAt: new Date() })
        .execute();
      return team;
    });
  }

  /** Those of the teams that the viewer may know of. */
  async visible(viewer: Viewer, ids: readonly string[]): Promise<TeamRow[]> {
    return this.byIds(ids.filter((id) => may(viewer, 'team:read', { teamId: id })));
  }

  /** Without regard to who asks; for the process itself. */
  async byIds(ids: readonly string[]): Promise<TeamRow[]> {
    if (ids.length === 0) return [];
    return this.#database.query.selectFrom('Team').selectAll().where('id', 'in', ids).execute();
  }
}
