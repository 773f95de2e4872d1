import { hash, verify } from '@node-rs/argon2';
import type { Caller } from '@rookery/wire/caller.ts';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { isUniqueViolation } from '../../database/database.ts';
import { authorizeAdmin, person } from '../../kernel/authority.ts';
import { noteAuditSubject } from '../../kernel/audit/audit.ts';
import { parseInput } from '../../kernel/input.ts';
import { containing, type Page } from '../../kernel/paging.ts';
import { NotFound, UserError } from '../../kernel/user-errors.ts';
import type { Viewer } from '../../kernel/viewer.ts';
import type { AccountsDatabase, AccountsTransaction, UserRow } from '../tables.ts';
import type { SignInThrottle } from '../sessions/sign-in-throttle.ts';

/** Somebody signs in with that address already. */
export class EmailTaken extends UserError {
  constructor() {
    super('EMAIL_TAKEN', 'There is an account with this e-mail address already.', ['input', 'email']);
  }
}

/** The platform must keep someone who can administer it. */
export class LastAdmin extends UserError {
  constructor() {
    super('LAST_ADMIN', 'This is the only platform admin; make somebody else one first.');
  }
}

/** The password to be changed was not given right. */
export class WrongPassword extends UserError {
  constructor() {
    super('WRONG_PASSWORD', 'The current password is not right.', ['input', 'currentPassword']);
  }
}

/**
 * Cost of a password hash: OWASP's argon2id recommendation of 19 MiB, two passes (some 25 ms). More
 * slows an attacker with the table as much as it slows a sign-in.
 */
const ARGON2_OPTIONS = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

/** A password as people choose them. The upper bound keeps a request from buying minutes of hashing. */
export const passwordField = z
  .string()
  .min(8, 'must have at least 8 characters')
  .max(1_024, 'must have at most 1024 characters');

export interface NewUser {
  readonly email: string;
  readonly name: string;
  /** Undefined for someone who only signs in elsewhere. */
  readonly password?: string | undefined;
  readonly isAdmin: boolean;
  /** Whether someone we trust vouches that the address is theirs. */
  readonly emailVerified: boolean;
}

const changePasswordInput = z.object({
  currentPassword: z.string().max(1_024, 'is too long'),
  newPassword: passwordField,
});

export interface UserServiceDeps {
  readonly database: AccountsDatabase;
  readonly throttle: SignInThrottle;
}

/** People who can sign in. */
export class UserService {
  readonly #deps: UserServiceDeps;
  /** A hash of nothing, against which unknown accounts are checked. */
  readonly #decoy = hash(uuidv7(), ARGON2_OPTIONS);

  constructor(deps: UserServiceDeps) {
    this.#deps = deps;
  }

  async anyExists(): Promise<boolean> {
    return (await this.#query.selectFrom('User').select('id').limit(1).executeTakeFirst()) !== undefined;
  }

  /** @throws {EmailTaken} */
  async create(user: NewUser, tx: AccountsTransaction = this.#query): Promise<UserRow> {
    const { email, name, password, isAdmin, emailVerified } = user;
    try {
      return await tx
        .insertInto('User')
        .values({
          id: uuidv7(),
          email: normalizeEmail(email),
          emailVerifiedAt: emailVerified ? new Date() : null,
          name,
          isAdmin,
          passwordHash: password === undefined ? null : await hash(password, ARGON2_OPTIONS),
          createdAt: new Date(),
        })
        .returningAll()
        .executeTakeFirstOrThrow();
    } catch (error) {
      throw isUniqueViolation(error, 'users_email_unique') ? new EmailTaken() : error;
    }
  }

  /**
   * The user with this e-mail and password; undefined when either is wrong. An unknown address takes
   * as long as a wrong password, so that addresses cannot be probed.
   */
  async withPassword(email: string, password: string): Promise<UserRow | undefined> {
    const user = await this.byEmail(email);
    const matches = await verify(user?.passwordHash ?? (await this.#decoy), password);
    return matches && user?.passwordHash ? user : undefined;
  }

  /**
   * Changes the viewer's password and ends their other sessions. Someone who has none yet, because
   * they sign in elsewhere, gives any current one.
   *
   * @throws {WrongPassword | TooManyAttempts | InvalidInput}
   */
  async changePassword(viewer: Viewer | null, input: unknown, caller: Caller): Promise<UserRow> {
    const someone = person(viewer);
    noteAuditSubject({ type: 'user', id: someone.id, teamId: null });
    const { currentPassword, newPassword } = parseInput(changePasswordInput, input);
    const [user] = await this.byIds([someone.id]);
    if (user?.passwordHash) {
      const forgive = await this.#deps.throttle.attempt(user.email, caller.address);
      if (!(await verify(user.passwordHash, currentPassword))) throw new WrongPassword();
      await forgive();
    }
    return this.setPassword(someone.id, newPassword, someone.sessionId);
  }

  /** Sets a password and ends all of the user's sessions but one. */
  async setPassword(userId: string, password: string, keepSessionId?: string): Promise<UserRow> {
    const passwordHash = await hash(password, ARGON2_OPTIONS);
    return this.#deps.database.transaction(async (tx) => {
      await tx
        .updateTable('Session')
        .set({ revokedAt: new Date() })
        .where('userId', '=', userId)
        .where('revokedAt', 'is', null)
        .$if(keepSessionId !== undefined, (q) => q.where('id', '!=', keepSessionId as string))
        .execute();
      return tx
        .updateTable('User')
        .set({ passwordHash })
        .where('id', '=', userId)
        .returningAll()
        .executeTakeFirstOrThrow();
    });
  }

  /**
   * Makes someone a platform admin, or no longer one.
   *
   * @param viewer undefined for the operator at the command line.
   * @throws {RookeryError} `FORBIDDEN`
   * @throws {NotFound | LastAdmin}
   */
  async setAdmin(viewer: Viewer | null | undefined, userId: string, isAdmin: boolean): Promise<UserRow> {
    if (viewer !== undefined) authorizeAdmin(viewer);
    noteAuditSubject({ type: 'user', id: userId, teamId: null });
    return this.#deps.database.transaction(async (tx) => {
      // All of them, so that two admins who demote each other at once do not leave none.
      const admins = await tx.selectFrom('User').select('id').where('isAdmin', '=', true).forUpdate().execute();
      if (!isAdmin && admins.length === 1 && admins[0]?.id === userId) throw new LastAdmin();
      const user = await tx
        .updateTable('User')
        .set({ isAdmin })
        .where('id', '=', userId)
        .returningAll()
        .executeTakeFirst();
      if (!user) throw new NotFound('user');
      return user;
    });
  }

  /** All users, newest first; for platform admins. */
  async list(viewer: Viewer | null, search: string | undefined, page: Page): Promise<UserRow[]> {
    return this.#all(viewer, search)
      .selectAll()
      .$if(page.after !== undefined, (q) => q.where('id', '<', page.after as string))
      .$if(page.before !== undefined, (q) => q.where('id', '>', page.before as string))
      .orderBy('id', page.inverted ? 'asc' : 'desc')
      .limit(page.limit)
      .execute();
  }

  async count(viewer: Viewer | null, search: string | undefined): Promise<number> {
    const { count } = await this.#all(viewer, search)
      .select(({ fn }) => fn.countAll().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  #all(viewer: Viewer | null, search: string | undefined) {
    authorizeAdmin(viewer);
    const pattern = containing(search ?? '');
    return this.#query
      .selectFrom('User')
      .$if(!!search, (q) => q.where((eb) => eb.or([eb('email', 'ilike', pattern), eb('name', 'ilike', pattern)])));
  }

  /** Those of the users that the viewer may know of: themselves and who shares a team with them; everyone for a platform admin. */
  async visible(viewer: Viewer, ids: readonly string[]): Promise<UserRow[]> {
    if (viewer.isAdmin || ids.length === 0) return this.byIds(ids);
    const teams = viewer.kind === 'USER' ? [...viewer.roles.keys()] : [viewer.teamId];
    const shared = await this.#query
      .selectFrom('Membership')
      .select('userId')
      .where('userId', 'in', ids)
      .where('teamId', 'in', teams.length > 0 ? teams : [NO_TEAM])
      .execute();
    const known = new Set([...shared.map(({ userId }) => userId), ...(viewer.kind === 'USER' ? [viewer.id] : [])]);
    return this.byIds(ids.filter((id) => known.has(id)));
  }

  async byIds(ids: readonly string[]): Promise<UserRow[]> {
    if (ids.length === 0) return [];
    return this.#query.selectFrom('User').selectAll().where('id', 'in', ids).execute();
  }

  async byEmail(email: string): Promise<UserRow | undefined> {
    return this.#query.selectFrom('User').selectAll().where('email', '=', normalizeEmail(email)).executeTakeFirst();
  }

  get #query() {
    return this.#deps.database.query;
  }
}

/** No team has it. */
const NO_TEAM = '00000000-0000-0000-0000-000000000000';

export const normalizeEmail = (email: string): string => email.trim().toLowerCase();
