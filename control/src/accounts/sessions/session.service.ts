import type { Caller } from '@rookery/wire/caller.ts';
import { newSecret, sha256 } from '@rookery/wire/secrets.ts';
import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { person } from '../../kernel/authority.ts';
import { parseInput } from '../../kernel/input.ts';
import type { SigningKeys } from '../../kernel/signing-keys.ts';
import { NotFound, UserError } from '../../kernel/user-errors.ts';
import type { TeamRole, UserViewer, Viewer } from '../../kernel/viewer.ts';
import type { AccountsDatabase, SessionRow, UserRow } from '../tables.ts';
import { normalizeEmail, type UserService } from '../users/user.service.ts';
import type { SignInMethod } from './session.entity.ts';
import type { SignInThrottle } from './sign-in-throttle.ts';

/** Wrong e-mail or wrong password; which one is not said. */
export class InvalidCredentials extends UserError {
  constructor(message = 'The e-mail address or the password is not right.') {
    super('INVALID_CREDENTIALS', message);
  }
}

/** What signing in gives. */
export interface SignedIn {
  /** A short-lived access token. */
  readonly token: string;
  readonly expiresAt: Date;
  /** Trades for new access tokens until the session ends. */
  readonly refreshToken: string;
  readonly refreshTokenExpiresAt: Date;
  readonly viewer: UserViewer;
}

/** A new access token of a session that goes on. */
export type Refreshed = Omit<SignedIn, 'refreshToken'>;

const TOKEN_TYPE = 'rookery-session+jwt';
const AUDIENCE = 'rookery-api';

/** How exact `lastUsedAt` is, in ms: not every request should cost a write. */
export const LAST_USED_RESOLUTION_MS = 60_000;

const signInInput = z.object({
  email: z.string().trim().min(1, 'must not be empty').max(254, 'is too long'),
  // The bound keeps a request from buying minutes of hashing.
  password: z.string().min(1, 'must not be empty').max(1_024, 'is too long'),
});

const refreshInput = z.object({ refreshToken: z.string().min(1, 'must not be empty').max(255, 'is too long') });

export interface SessionSettings {
  /** Life of an access token, in seconds. */
  readonly accessTokenSeconds: number;
  /** Life of a sign-in, in seconds. Longer is more convenient, on a lost laptop for its finder, too. */
  readonly sessionSeconds: number;
}

export interface SessionServiceDeps {
  readonly database: AccountsDatabase;
  readonly keys: SigningKeys;
  readonly users: UserService;
  readonly throttle: SignInThrottle;
  readonly settings: SessionSettings;
}

/**
 * Sign-ins. A session is a row; what proves it is its secret (a browser's cookie, a program's refresh
 * token) or a short access token that names it. Both are looked up on every request, so that signing
 * out takes effect at once (docs/adr/0008-sessions-are-rows.md).
 */
export class SessionService {
  readonly #deps: SessionServiceDeps;

  constructor(deps: SessionServiceDeps) {
    this.#deps = deps;
  }

  /** @throws {InvalidCredentials | TooManyAttempts | InvalidInput} */
  async signIn(input: unknown, caller: Caller): Promise<SignedIn> {
    const { email, password } = parseInput(signInInput, input);
    return this.open(await this.checkPassword(email, password, caller), 'PASSWORD', caller);
  }

  /**
   * The user with this password, with the throttle in front of it.
   *
   * @throws {InvalidCredentials | TooManyAttempts}
   */
  async checkPassword(email: string, password: string, caller: Caller): Promise<UserRow> {
    const { users, throttle } = this.#deps;
    const forgive = await throttle.attempt(normalizeEmail(email), caller.address);
    const user = await users.withPassword(email, password);
    if (!user) throw new InvalidCredentials();
    await forgive();
    return user;
  }

  /** Begins a session for a user who has proven themselves. */
  async open(user: UserRow, method: SignInMethod, caller: Caller): Promise<SignedIn> {
    const { database, settings } = this.#deps;
    const refreshToken = newSecret('rks');
    const session = await database.query
      .insertInto('Session')
      .values({
        id: uuidv7(),
        userId: user.id,
        secretHash: sha256(refreshToken),
        method,
        address: caller.address ?? null,
        userAgent: caller.userAgent ?? null,
        createdAt: new Date(),
        lastUsedAt: new Date(),
        expiresAt: new Date(Date.now() + settings.sessionSeconds * 1_000),
        revokedAt: null,
      })
      .returningAll()
      .executeTakeFirstOrThrow();
    const viewer = await this.#viewerOf(session.id);
    if (!viewer) throw new Error('a session that was just made is not valid');
    return { ...(await this.#accessToken(viewer, session.expiresAt)), refreshToken };
  }

  /**
   * A new access token. The refresh token stays the same: it is looked up each time, so it can be
   * revoked, and two tabs that refresh at once do not lock each other out.
   *
   * @throws {InvalidCredentials}
   */
  async refresh(input: unknown): Promise<Refreshed> {
    const { refreshToken } = parseInput(refreshInput, input);
    const session = await this.#bySecret(refreshToken);
    const viewer = session && (await this.#viewerOf(session.id));
    if (!session || !viewer) throw new InvalidCredentials('This session has ended; sign in again.');
    return this.#accessToken(viewer, session.expiresAt);
  }

  /** Ends the viewer's session; its secret and tokens are refused from now on. */
  async signOut(viewer: Viewer | null): Promise<void> {
    const someone = person(viewer);
    await this.#revoke(someone, someone.sessionId);
  }

  /** Ends all of the viewer's sessions, this one included. Returns how many. */
  async signOutEverywhere(viewer: Viewer | null): Promise<number> {
    return this.#revoke(person(viewer));
  }

  /** Ends another of the viewer's sessions. @throws {NotFound} */
  async end(viewer: Viewer | null, sessionId: string): Promise<void> {
    const ended = await this.#revoke(person(viewer), sessionId);
    if (ended === 0) throw new NotFound('session');
  }

  /** The viewer's sessions that are still good, newest first. */
  async list(viewer: Viewer | null): Promise<SessionRow[]> {
    return this.#deps.database.query
      .selectFrom('Session')
      .selectAll()
      .where('userId', '=', person(viewer).id)
      .where('revokedAt', 'is', null)
      .where('expiresAt', '>', new Date())
      .orderBy('id', 'desc')
      .execute();
  }

  /** Who an access token stands for at this moment; null for one that is bad, expired or revoked. */
  async viewerOfToken(token: string): Promise<UserViewer | null> {
    const claims = await this.#deps.keys.verify('SESSION', TOKEN_TYPE, AUDIENCE, token);
    const sessionId = claims?.['sid'];
    return typeof sessionId === 'string' ? this.#viewerOf(sessionId) : null;
  }

  /** Who a session's secret stands for at this moment. */
  async viewerOfSecret(secret: string): Promise<UserViewer | null> {
    const session = await this.#bySecret(secret);
    return session ? this.#viewerOf(session.id) : null;
  }

  /** As the database says now: signed out, demoted or removed from a team counts at once. */
  async #viewerOf(sessionId: string): Promise<UserViewer | null> {
    const rows = await this.#deps.database.query
      .selectFrom('Session')
      .innerJoin('User', 'User.id', 'Session.userId')
      .leftJoin('Membership', 'Membership.userId', 'User.id')
      .select([
        'User.id as userId',
        'User.email',
        'User.isAdmin',
        'Session.lastUsedAt',
        'Membership.teamId',
        'Membership.role',
      ])
      .where('Session.id', '=', sessionId)
      .where('Session.revokedAt', 'is', null)
      .where('Session.expiresAt', '>', new Date())
      .execute();
    const [first] = rows;
    if (!first) return null;
    if (isStale(first.lastUsedAt)) await this.#touch(sessionId);
    const roles = new Map(
      rows.flatMap(({ teamId, role }) => (teamId && role ? [[teamId, role] as [string, TeamRole]] : [])),
    );
    return { kind: 'USER', id: first.userId, label: first.email, sessionId, isAdmin: first.isAdmin, roles };
  }

  async #bySecret(secret: string): Promise<SessionRow | undefined> {
    return this.#deps.database.query
      .selectFrom('Session')
      .selectAll()
      .where('secretHash', '=', sha256(secret))
      .executeTakeFirst();
  }

  async #accessToken(viewer: UserViewer, sessionEndsAt: Date): Promise<Refreshed> {
    const { keys, settings } = this.#deps;
    const left = Math.floor((sessionEndsAt.getTime() - Date.now()) / 1_000);
    const seconds = Math.max(1, Math.min(settings.accessTokenSeconds, left));
    const expiresAt = new Date(Date.now() + seconds * 1_000);
    const token = await keys.sign('SESSION', TOKEN_TYPE, AUDIENCE, seconds, {
      sub: viewer.id,
      sid: viewer.sessionId,
      isAdmin: viewer.isAdmin,
    });
    return { token, expiresAt, refreshTokenExpiresAt: sessionEndsAt, viewer };
  }

  async #touch(sessionId: string): Promise<void> {
    await this.#deps.database.query
      .updateTable('Session')
      .set({ lastUsedAt: sql<Date>`now()` })
      .where('id', '=', sessionId)
      .execute();
  }

  async #revoke(viewer: UserViewer, sessionId?: string): Promise<number> {
    const { numUpdatedRows } = await this.#deps.database.query
      .updateTable('Session')
      .set({ revokedAt: new Date() })
      .where('userId', '=', viewer.id)
      .where('revokedAt', 'is', null)
      .$if(sessionId !== undefined, (q) => q.where('id', '=', sessionId as string))
      .executeTakeFirst();
    return Number(numUpdatedRows);
  }
}

/** Whether a `lastUsedAt` is old enough to be written again. */
export const isStale = (lastUsedAt: Date | null): boolean =>
  lastUsedAt === null || Date.now() - lastUsedAt.getTime() > LAST_USED_RESOLUTION_MS;
