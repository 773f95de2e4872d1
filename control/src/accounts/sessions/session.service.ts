import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { parseInput } from '../../kernel/input.ts';
import type { SigningKeys } from '../../kernel/signing-keys.ts';
import { UserError } from '../../kernel/user-errors.ts';
import type { TeamRole, Viewer } from '../../kernel/viewer.ts';
import type { AccountsDatabase } from '../tables.ts';
import type { UserService } from '../users/user.service.ts';

/** Wrong e-mail or wrong password; which one is not said. */
export class InvalidCredentials extends UserError {
  constructor() {
    super('INVALID_CREDENTIALS', 'The e-mail address or the password is not right.');
  }
}

export interface SignedIn {
  readonly token: string;
  readonly expiresAt: Date;
  readonly viewer: Viewer;
}

/** How long a sign-in lasts, in seconds. Longer is more convenient on a lost laptop for its finder, too. */
const SESSION_LIFETIME_SECONDS = 12 * 60 * 60;

const TOKEN_TYPE = 'rookery-session+jwt';
const AUDIENCE = 'rookery-api';

const signInInput = z.object({
  email: z.string().trim().min(1, 'must not be empty').max(254, 'is too long'),
  // The bound keeps a request from buying minutes of hashing.
  password: z.string().min(1, 'must not be empty').max(1_024, 'is too long'),
});

export interface SessionServiceDeps {
  readonly database: AccountsDatabase;
  readonly keys: SigningKeys;
  readonly users: UserService;
}

/** Sign-ins. A session token is a JWT that names its session's row, which can be revoked at once. */
export class SessionService {
  readonly #deps: SessionServiceDeps;

  constructor(deps: SessionServiceDeps) {
    this.#deps = deps;
  }

  /** @throws {InvalidCredentials} */
  async signIn(input: unknown): Promise<SignedIn> {
    const { email, password } = parseInput(signInInput, input);
    const { database, keys, users } = this.#deps;
    const user = await users.withPassword(email, password);
    if (!user) throw new InvalidCredentials();
    const session = await database.query
      .insertInto('Session')
      .values({
        id: uuidv7(),
        userId: user.id,
        createdAt: new Date(),
        expiresAt: new Date(Date.now() + SESSION_LIFETIME_SECONDS * 1_000),
      })
      .returningAll()
      .executeTakeFirstOrThrow();
    const token = await keys.sign('SESSION', TOKEN_TYPE, AUDIENCE, SESSION_LIFETIME_SECONDS, {
      sub: user.id,
      sid: session.id,
      isAdmin: user.isAdmin,
    });
    const viewer = await this.viewer(token);
    if (!viewer) throw new Error('a session that was just made is not valid');
    return { token, expiresAt: session.expiresAt, viewer };
  }

  /** Ends the viewer's session; its token is refused from now on. */
  async signOut(viewer: Viewer): Promise<void> {
    await this.#deps.database.query
      .updateTable('Session')
      .set({ revokedAt: new Date() })
      .where('id', '=', viewer.sessionId)
      .execute();
  }

  /**
   * Who a token stands for, as the database says at this moment: signed out, demoted or removed from
   * a team counts at once. Null for a token that is missing, bad, expired or revoked.
   */
  async viewer(token: string | undefined): Promise<Viewer | null> {
    if (!token) return null;
    const claims = await this.#deps.keys.verify('SESSION', TOKEN_TYPE, AUDIENCE, token);
    const sessionId = claims?.['sid'];
    if (typeof sessionId !== 'string') return null;
    const rows = await this.#deps.database.query
      .selectFrom('Session')
      .innerJoin('User', 'User.id', 'Session.userId')
      .leftJoin('Membership', 'Membership.userId', 'User.id')
      .select(['User.id as userId', 'User.isAdmin', 'Session.expiresAt', 'Membership.teamId', 'Membership.role'])
      .where('Session.id', '=', sessionId)
      .where('Session.revokedAt', 'is', null)
      .where('Session.expiresAt', '>', new Date())
      .execute();
    const [first] = rows;
    if (!first) return null;
    const roles = new Map(
      rows.flatMap(({ teamId, role }) => (teamId && role ? [[teamId, role] as [string, TeamRole]] : [])),
    );
    return { userId: first.userId, sessionId, isAdmin: first.isAdmin, roles, expiresAt: first.expiresAt };
  }
}
