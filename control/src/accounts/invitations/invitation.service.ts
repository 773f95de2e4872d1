import type { Caller } from '@rookery/wire/caller.ts';
import { newSecret, sha256 } from '@rookery/wire/secrets.ts';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { authorize, may, signedIn } from '../../kernel/authority.ts';
import { noteAuditSubject } from '../../kernel/audit/audit.ts';
import { inputField, parseInput } from '../../kernel/input.ts';
import { InvalidInput, NotFound, UserError } from '../../kernel/user-errors.ts';
import { actorOf, TEAM_ROLES, type TeamRole, type Viewer } from '../../kernel/viewer.ts';
import type { SessionService, SignedIn } from '../sessions/session.service.ts';
import type { AccountsDatabase, AccountsEvents, InvitationRow, TeamRow, UserRow } from '../tables.ts';
import { AlreadyMember, type MemberService } from '../teams/member.service.ts';
import { changeTeam, lockTeam, teamResource } from '../teams/team.record.ts';
import { normalizeEmail, passwordField, type UserService } from '../users/user.service.ts';

/** The invitation is for another address than the one that is signed in. */
export class InvitationForSomeoneElse extends UserError {
  constructor() {
    super('INVITATION_FOR_SOMEONE_ELSE', 'This invitation is for another e-mail address; sign out and open it again.');
  }
}

/** An invitation, and what its receiver needs; the token is shown once. */
export interface CreatedInvitation {
  readonly invitation: InvitationRow;
  readonly token: string;
}

export interface AcceptedInvitation {
  readonly team: TeamRow;
  readonly role: TeamRole;
  /** Set when nobody was signed in before. */
  readonly signedIn: SignedIn | null;
}

/** How long an invitation can be accepted, in seconds. */
const INVITATION_SECONDS = 7 * 24 * 60 * 60;

const inviteInput = z.object({
  email: z.email('is not an e-mail address').max(254, 'is too long'),
  role: z.enum(TEAM_ROLES),
});

const acceptInput = z.object({
  token: z.string().min(1, 'must not be empty').max(255, 'is too long'),
  name: inputField.text(100).nullish(),
  password: passwordField.nullish(),
});

export interface InvitationServiceDeps {
  readonly database: AccountsDatabase;
  readonly events: AccountsEvents;
  readonly users: UserService;
  readonly members: MemberService;
  readonly sessions: SessionService;
}

/**
 * How people come into teams: an invitation for an address, accepted by whoever has its token (which
 * the inviter hands over) or has signed in with that address, verified.
 *
 * Inviting looks the same whether or not the address has an account, so that nobody can probe for one.
 */
export class InvitationService {
  readonly #deps: InvitationServiceDeps;

  constructor(deps: InvitationServiceDeps) {
    this.#deps = deps;
  }

  /**
   * Invites an address. A second invitation replaces the first, and its token.
   *
   * @throws {InvalidInput | NotFound | NotPermitted | AlreadyMember}
   */
  async invite(viewer: Viewer | null, teamId: string, input: unknown): Promise<CreatedInvitation> {
    const someone = signedIn(viewer);
    const given = parseInput(inviteInput, input);
    const action = given.role === 'OWNER' ? 'member:invite-owner' : 'member:invite';
    authorize(someone, action, await teamResource(this.#deps.database, teamId), 'team');
    const email = normalizeEmail(given.email);
    const token = newSecret('rki');
    const invitation = await this.#deps.events.transaction(actorOf(someone), async (tx, record) => {
      await lockTeam(tx, teamId);
      const member = await tx
        .selectFrom('Membership')
        .innerJoin('User', 'User.id', 'Membership.userId')
        .select('Membership.id')
        .where('Membership.teamId', '=', teamId)
        .where('User.email', '=', email)
        .executeTakeFirst();
      if (member) throw new AlreadyMember();
      await tx
        .updateTable('Invitation')
        .set({ canceledAt: new Date() })
        .where('teamId', '=', teamId)
        .where('email', '=', email)
        .where('acceptedAt', 'is', null)
        .where('canceledAt', 'is', null)
        .execute();
      const row = await tx
        .insertInto('Invitation')
        .values({
          id: uuidv7(),
          teamId,
          email,
          role: given.role,
          tokenHash: sha256(token),
          invitedBy: someone.id,
          createdAt: new Date(),
          expiresAt: new Date(Date.now() + INVITATION_SECONDS * 1_000),
        })
        .returningAll()
        .executeTakeFirstOrThrow();
      await changeTeam(tx, record, teamId, 'team.member_invited');
      return row;
    });
    return { invitation, token };
  }

  /** Takes an invitation back, or declines it. @throws {NotFound | NotPermitted} */
  async cancel(viewer: Viewer | null, invitationId: string): Promise<InvitationRow> {
    const someone = signedIn(viewer);
    const invitation = await this.#deps.database.query
      .selectFrom('Invitation')
      .selectAll()
      .where('id', '=', invitationId)
      .executeTakeFirst();
    const isTheirs = invitation && (await this.#pendingFor(someone)).some(({ id }) => id === invitationId);
    if (!isTheirs) authorize(someone, 'invitation:cancel', invitation, 'invitation');
    const { teamId } = invitation as InvitationRow;
    return this.#deps.events.transaction(actorOf(someone), async (tx, record) => {
      await lockTeam(tx, teamId);
      const canceled = await tx
        .updateTable('Invitation')
        .set({ canceledAt: new Date() })
        .where('id', '=', invitationId)
        .where('acceptedAt', 'is', null)
        .where('canceledAt', 'is', null)
        .returningAll()
        .executeTakeFirst();
      if (!canceled) throw new NotFound('invitation');
      await changeTeam(tx, record, teamId, 'team.invitation_canceled');
      return canceled;
    });
  }

  /** The open invitation that a token belongs to, with its team. @throws {NotFound} */
  async preview(token: string): Promise<{ invitation: InvitationRow; team: TeamRow }> {
    const invitation = await this.#open().where('tokenHash', '=', sha256(token)).executeTakeFirst();
    const team =
      invitation &&
      (await this.#deps.database.query
        .selectFrom('Team')
        .selectAll()
        .where('id', '=', invitation.teamId)
        .executeTakeFirst());
    if (!invitation || !team) throw new NotFound('invitation');
    return { invitation, team };
  }

  /**
   * Joins a team. Whoever is signed in joins as themselves; anyone else gives a name and a password
   * for a new account, or the password of the account that the address already has.
   *
   * @throws {InvalidInput | NotFound | InvitationForSomeoneElse | InvalidCredentials | TooManyAttempts | AlreadyMember}
   */
  async accept(viewer: Viewer | null, input: unknown, caller: Caller): Promise<AcceptedInvitation> {
    const { token, name, password } = parseInput(acceptInput, input);
    const { invitation } = await this.preview(token);
    noteAuditSubject({ type: 'invitation', id: invitation.id, teamId: invitation.teamId });
    if (viewer) {
      if (viewer.kind !== 'USER' || viewer.label !== invitation.email) throw new InvitationForSomeoneElse();
      return { team: await this.#join(invitation, async () => viewer.id), role: invitation.role, signedIn: null };
    }
    const { users, sessions } = this.#deps;
    if (!password) throw new InvalidInput('password: must not be empty', ['input', 'password']);
    let user: UserRow | undefined;
    if (await users.byEmail(invitation.email)) user = await sessions.checkPassword(invitation.email, password, caller);
    const team = await this.#join(invitation, async (tx) => {
      user ??= await users.create(
        { email: invitation.email, name: name ?? invitation.email, password, isAdmin: false, emailVerified: false },
        tx,
      );
      return user.id;
    });
    return { team, role: invitation.role, signedIn: await sessions.open(user as UserRow, 'INVITATION', caller) };
  }

  /** Joins by an invitation to the viewer's own, verified address, without its token. @throws {NotFound | AlreadyMember} */
  async acceptOwn(viewer: Viewer | null, invitationId: string): Promise<AcceptedInvitation> {
    const someone = signedIn(viewer);
    const invitation = (await this.#pendingFor(someone)).find(({ id }) => id === invitationId);
    if (!invitation) throw new NotFound('invitation');
    noteAuditSubject({ type: 'invitation', id: invitation.id, teamId: invitation.teamId });
    return { team: await this.#join(invitation, async () => someone.id), role: invitation.role, signedIn: null };
  }

  /** Open invitations to the viewer's address, if it is verified: anybody can claim one that is not. */
  async pendingFor(viewer: Viewer | null): Promise<InvitationRow[]> {
    return this.#pendingFor(signedIn(viewer));
  }

  /** Open invitations of a team; none for who may not see them. */
  async ofTeam(viewer: Viewer, teamId: string): Promise<InvitationRow[]> {
    if (!may(viewer, 'invitation:read', { teamId })) return [];
    return this.#open().where('teamId', '=', teamId).orderBy('id').execute();
  }

  async #pendingFor(viewer: Viewer): Promise<InvitationRow[]> {
    if (viewer.kind !== 'USER') return [];
    const [user] = await this.#deps.users.byIds([viewer.id]);
    if (!user?.emailVerifiedAt) return [];
    return this.#open().where('email', '=', user.email).orderBy('id').execute();
  }

  async #join(
    invitation: InvitationRow,
    userId: (tx: Parameters<MemberService['add']>[0]) => Promise<string>,
  ): Promise<TeamRow> {
    const { teamId, role } = invitation;
    return this.#deps.events.transaction('control', async (tx, record) => {
      await lockTeam(tx, teamId);
      const spent = await tx
        .updateTable('Invitation')
        .set({ acceptedAt: new Date() })
        .where('id', '=', invitation.id)
        .where('acceptedAt', 'is', null)
        .where('canceledAt', 'is', null)
        .where('expiresAt', '>', new Date())
        .returning('id')
        .executeTakeFirst();
      if (!spent) throw new NotFound('invitation');
      return this.#deps.members.add(tx, record, { teamId, userId: await userId(tx), role });
    });
  }

  #open() {
    return this.#deps.database.query
      .selectFrom('Invitation')
      .selectAll()
      .where('acceptedAt', 'is', null)
      .where('canceledAt', 'is', null)
      .where('expiresAt', '>', new Date());
  }
}
