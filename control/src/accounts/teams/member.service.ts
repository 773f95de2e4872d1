import { v7 as uuidv7 } from 'uuid';
import { authorize, person, signedIn } from '../../kernel/authority.ts';
import { NotFound, UserError } from '../../kernel/user-errors.ts';
import { actorOf, type Actor, type TeamRole, type Viewer } from '../../kernel/viewer.ts';
import type { AccountsDatabase, AccountsEvents, AccountsTransaction, MembershipRow, TeamRow } from '../tables.ts';
import type { Record as RecordChanges } from '../../kernel/events/event-log.ts';
import { changeTeam, lockTeam, teamResource } from './team.record.ts';

/** A team must keep an owner. */
export class LastOwner extends UserError {
  constructor() {
    super('LAST_OWNER', 'This is the team’s only owner; make somebody else one first.');
  }
}

export class AlreadyMember extends UserError {
  constructor() {
    super('ALREADY_MEMBER', 'That person is a member of the team already.', ['input', 'email']);
  }
}

export interface MemberServiceDeps {
  readonly database: AccountsDatabase;
  readonly events: AccountsEvents;
}

/** Who belongs to a team, and as what. Every change holds the team's lock, so that an owner always remains. */
export class MemberService {
  readonly #deps: MemberServiceDeps;

  constructor(deps: MemberServiceDeps) {
    this.#deps = deps;
  }

  /** The members of some teams, oldest first. The teams must be visible to whoever asks. */
  async ofTeams(teamIds: readonly string[]): Promise<MembershipRow[]> {
    if (teamIds.length === 0) return [];
    return this.#deps.database.query
      .selectFrom('Membership')
      .selectAll()
      .where('teamId', 'in', teamIds)
      .orderBy('id')
      .execute();
  }

  /**
   * Makes someone a member. Called with the team's lock held.
   *
   * @throws {AlreadyMember}
   */
  async add(
    tx: AccountsTransaction,
    record: RecordChanges,
    { teamId, userId, role }: { teamId: string; userId: string; role: TeamRole },
  ): Promise<TeamRow> {
    const added = await tx
      .insertInto('Membership')
      .values({ id: uuidv7(), teamId, userId, role, createdAt: new Date() })
      .onConflict((conflict) => conflict.columns(['teamId', 'userId']).doNothing())
      .returning('id')
      .executeTakeFirst();
    if (!added) throw new AlreadyMember();
    return changeTeam(tx, record, teamId, 'team.member_added');
  }

  /**
   * Admins move members and admins; who is or becomes an owner takes an owner.
   *
   * @throws {NotFound | NotPermitted | LastOwner}
   */
  async updateRole(viewer: Viewer | null, teamId: string, userId: string, role: TeamRole): Promise<MembershipRow> {
    const someone = signedIn(viewer);
    const target = await this.#find(teamId, userId);
    const owners = role === 'OWNER' || target?.role === 'OWNER';
    authorize(
      someone,
      owners ? 'member:update-owner' : 'member:update',
      await teamResource(this.#deps.database, teamId),
      'team',
    );
    return this.#change(actorOf(someone), teamId, 'team.member_role_changed', async (tx) => {
      const { role: before } = await this.#require(tx, teamId, userId);
      // It may have become one since it was looked at.
      if (before === 'OWNER') authorize(someone, 'member:update-owner', { teamId, id: teamId }, 'team');
      if (before === 'OWNER' && role !== 'OWNER') await this.#requireAnotherOwner(tx, teamId, userId);
      return tx
        .updateTable('Membership')
        .set({ role })
        .where('teamId', '=', teamId)
        .where('userId', '=', userId)
        .returningAll()
        .executeTakeFirstOrThrow();
    });
  }

  /** @throws {NotFound | NotPermitted | LastOwner} */
  async remove(viewer: Viewer | null, teamId: string, userId: string): Promise<MembershipRow> {
    const someone = signedIn(viewer);
    const target = await this.#find(teamId, userId);
    const action = target?.role === 'OWNER' ? 'member:remove-owner' : 'member:remove';
    authorize(someone, action, await teamResource(this.#deps.database, teamId), 'team');
    return this.#remove(actorOf(someone), teamId, userId, 'team.member_removed', (membership) => {
      if (membership.role === 'OWNER') authorize(someone, 'member:remove-owner', { teamId, id: teamId }, 'team');
    });
  }

  /** @throws {NotFound | LastOwner} */
  async leave(viewer: Viewer | null, teamId: string): Promise<MembershipRow> {
    const someone = person(viewer);
    authorize(someone, 'team:leave', await teamResource(this.#deps.database, teamId), 'team');
    return this.#remove(actorOf(someone), teamId, someone.id, 'team.member_left');
  }

  #remove(
    actor: Actor,
    teamId: string,
    userId: string,
    type: string,
    check: (membership: MembershipRow) => void = () => {},
  ): Promise<MembershipRow> {
    return this.#change(actor, teamId, type, async (tx) => {
      const membership = await this.#require(tx, teamId, userId);
      check(membership);
      if (membership.role === 'OWNER') await this.#requireAnotherOwner(tx, teamId, userId);
      await tx.deleteFrom('Membership').where('id', '=', membership.id).execute();
      return membership;
    });
  }

  #change<T>(actor: Actor, teamId: string, type: string, work: (tx: AccountsTransaction) => Promise<T>): Promise<T> {
    return this.#deps.events.transaction(actor, async (tx, record) => {
      await lockTeam(tx, teamId);
      const result = await work(tx);
      await changeTeam(tx, record, teamId, type);
      return result;
    });
  }

  async #require(tx: AccountsTransaction, teamId: string, userId: string): Promise<MembershipRow> {
    const membership = await tx
      .selectFrom('Membership')
      .selectAll()
      .where('teamId', '=', teamId)
      .where('userId', '=', userId)
      .executeTakeFirst();
    if (!membership) throw new NotFound('member');
    return membership;
  }

  async #requireAnotherOwner(tx: AccountsTransaction, teamId: string, userId: string): Promise<void> {
    const other = await tx
      .selectFrom('Membership')
      .select('id')
      .where('teamId', '=', teamId)
      .where('role', '=', 'OWNER')
      .where('userId', '!=', userId)
      .limit(1)
      .executeTakeFirst();
    if (!other) throw new LastOwner();
  }

  async #find(teamId: string, userId: string): Promise<MembershipRow | undefined> {
    return this.#deps.database.query
      .selectFrom('Membership')
      .selectAll()
      .where('teamId', '=', teamId)
      .where('userId', '=', userId)
      .executeTakeFirst();
  }
}
