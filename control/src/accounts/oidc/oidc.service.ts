import type { Caller } from '@rookery/wire/caller.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { newSecret, sha256 } from '@rookery/wire/secrets.ts';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { isUniqueViolation } from '../../database/database.ts';
import type { AuditLog } from '../../kernel/audit/audit-log.ts';
import { noteAuditSubject } from '../../kernel/audit/audit.ts';
import { parseInput } from '../../kernel/input.ts';
import { UserError } from '../../kernel/user-errors.ts';
import type { SessionService, SignedIn } from '../sessions/session.service.ts';
import type { AccountsDatabase, AccountsTransaction, UserRow } from '../tables.ts';
import { EmailTaken, normalizeEmail, type UserService } from '../users/user.service.ts';
import { OidcClient, type OidcClaims } from './oidc.client.ts';
import type { OidcSettings } from './oidc.config.ts';

/** There is no identity provider. */
export class OidcNotConfigured extends UserError {
  constructor() {
    super('OIDC_NOT_CONFIGURED', 'Signing in elsewhere is not set up here.');
  }
}

/** The provider did not say who somebody is, or not someone who may come in. Why exactly is in the log. */
export class OidcRefused extends UserError {
  constructor(message = 'Signing in did not work; please try again.') {
    super('OIDC_REFUSED', message);
  }
}

export interface OidcSignInStarted {
  /** Where to send the person. */
  readonly authorizationUrl: string;
  /** Names the flow; give it back with the callback. */
  readonly flow: string;
}

/** How long somebody may take at the provider, in seconds. */
const FLOW_SECONDS = 600;

const startInput = z.object({
  redirectUri: z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).max(2_000, 'is too long'),
});

const completeInput = z.object({
  flow: z.string().min(1, 'must not be empty').max(255, 'is too long'),
  callbackUrl: z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).max(8_000, 'is too long'),
});

/** What the table takes of what a provider says. */
const claimsSchema = z.object({
  issuer: z.string().max(2_000),
  subject: z.string().min(1).max(255),
  email: z.email().max(254).optional().catch(undefined),
  emailVerified: z.boolean(),
  name: z
    .string()
    .transform((name) =>
      name
        .replaceAll(/\p{Cc}/gu, ' ')
        .trim()
        .slice(0, 100),
    )
    .optional(),
});

export interface OidcServiceDeps {
  readonly database: AccountsDatabase;
  readonly users: UserService;
  readonly sessions: SessionService;
  readonly audit: AuditLog;
  /** Undefined when nobody signs in elsewhere. */
  readonly settings: OidcSettings | undefined;
  readonly log: Logger;
}

/** How an account came to be that somebody has signed in to, for the audit trail. */
interface Match {
  readonly user: UserRow;
  readonly how: 'KNOWN' | 'LINKED' | 'CREATED';
  readonly passwordRemoved: boolean;
}

/** Signing in at an OpenID Connect provider (docs/adr/0011-oidc-in-control.md). */
export class OidcService {
  readonly #deps: OidcServiceDeps;
  readonly #client: OidcClient | undefined;

  constructor(deps: OidcServiceDeps) {
    this.#deps = deps;
    this.#client = deps.settings && new OidcClient(deps.settings);
  }

  /** What the sign-in page may offer; null without a provider. */
  get provider(): { readonly name: string } | null {
    const { settings } = this.#deps;
    return settings ? { name: settings.name } : null;
  }

  /**
   * Begins a sign-in.
   *
   * @throws {OidcNotConfigured | OidcRefused | InvalidInput}
   */
  async start(input: unknown): Promise<OidcSignInStarted> {
    const client = this.#configured();
    const { redirectUri } = parseInput(startInput, input);
    const { authorizationUrl, ...proof } = await this.#asked(() => client.start(redirectUri));
    const flow = newSecret('rkf');
    const { query } = this.#deps.database;
    await query.deleteFrom('OidcFlow').where('expiresAt', '<', new Date()).execute();
    const expiresAt = new Date(Date.now() + FLOW_SECONDS * 1_000);
    await query
      .insertInto('OidcFlow')
      .values({ secretHash: sha256(flow), ...proof, redirectUri, expiresAt })
      .execute();
    return { authorizationUrl, flow };
  }

  /**
   * Ends a sign-in, and begins a session. A flow answers once, whether or not it succeeds.
   *
   * @throws {OidcNotConfigured | OidcRefused | InvalidInput}
   */
  async complete(input: unknown, caller: Caller): Promise<SignedIn> {
    const client = this.#configured();
    const { flow, callbackUrl } = parseInput(completeInput, input);
    const begun = await this.#deps.database.query
      .deleteFrom('OidcFlow')
      .where('secretHash', '=', sha256(flow))
      .where('expiresAt', '>', new Date())
      .returningAll()
      .executeTakeFirst();
    if (!begun) throw this.#refusal('unknown, spent or expired flow');
    // Of what came back only the parameters count: where to is what the provider was told.
    const callback = new URL(begun.redirectUri);
    callback.search = new URL(callbackUrl).search;
    const claims = claimsSchema.safeParse(await this.#asked(() => client.complete(callback, begun)));
    if (!claims.success) throw this.#refusal(`claims that cannot be kept: ${claims.error.message}`);
    const match = await this.#match(claims.data as OidcClaims);
    noteAuditSubject({ type: 'user', id: match.user.id, teamId: null });
    await this.#audit(match, claims.data.issuer, caller);
    return this.#deps.sessions.open(match.user, 'OIDC', caller);
  }

  #configured(): OidcClient {
    if (!this.#client) throw new OidcNotConfigured();
    return this.#client;
  }

  /** Whose account it is. Two browsers of one new person may ask at once: the second finds what the first has made. */
  async #match(claims: OidcClaims): Promise<Match> {
    const attempt = (): Promise<Match> => this.#deps.database.transaction((tx) => this.#matchIn(tx, claims));
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof EmailTaken) && !isUniqueViolation(error, 'user_identities_subject')) throw error;
      return attempt();
    }
  }

  async #matchIn(tx: AccountsTransaction, claims: OidcClaims): Promise<Match> {
    const known = await tx
      .selectFrom('UserIdentity')
      .innerJoin('User', 'User.id', 'UserIdentity.userId')
      .selectAll('User')
      .where('issuer', '=', claims.issuer)
      .where('subject', '=', claims.subject)
      .executeTakeFirst();
    if (known) return { user: known, how: 'KNOWN', passwordRemoved: false };
    const { email, emailVerified } = claims;
    if (!email || !emailVerified)
      throw this.#refusal('no verified e-mail address', 'Your account there has no verified e-mail address.');
    const existing = await tx
      .selectFrom('User')
      .selectAll()
      .where('email', '=', normalizeEmail(email))
      .forUpdate()
      .executeTakeFirst();
    const match = existing ? await this.#vouchedFor(tx, existing) : await this.#create(tx, email, claims.name);
    await tx
      .insertInto('UserIdentity')
      .values({
        id: uuidv7(),
        userId: match.user.id,
        issuer: claims.issuer,
        subject: claims.subject,
        createdAt: new Date(),
      })
      .execute();
    return match;
  }

  /**
   * An account that the address has already. When nobody has vouched for the address before, somebody
   * else may have made the account with it: they are put out, and their password with them.
   */
  async #vouchedFor(tx: AccountsTransaction, user: UserRow): Promise<Match> {
    if (user.emailVerifiedAt) return { user, how: 'LINKED', passwordRemoved: false };
    await tx
      .updateTable('Session')
      .set({ revokedAt: new Date() })
      .where('userId', '=', user.id)
      .where('revokedAt', 'is', null)
      .execute();
    const taken = await tx
      .updateTable('User')
      .set({ passwordHash: null, emailVerifiedAt: new Date() })
      .where('id', '=', user.id)
      .returningAll()
      .executeTakeFirstOrThrow();
    return { user: taken, how: 'LINKED', passwordRemoved: user.passwordHash !== null };
  }

  async #create(tx: AccountsTransaction, email: string, name: string | undefined): Promise<Match> {
    const { users, settings } = this.#deps;
    const domains = settings?.allowedDomains ?? [];
    const domain = normalizeEmail(email).split('@').at(-1) ?? '';
    if (domains.length > 0 && !domains.includes(domain))
      throw this.#refusal('domain not allowed', 'Accounts with this e-mail address cannot be made here.');
    const user = await users.create({ email, name: name || email, isAdmin: false, emailVerified: true }, tx);
    return { user, how: 'CREATED', passwordRemoved: false };
  }

  async #audit({ user, how, passwordRemoved }: Match, issuer: string, caller: Caller): Promise<void> {
    if (how === 'KNOWN') return;
    await this.#deps.audit.record({
      action: how === 'CREATED' ? 'user.created' : 'user.identity_linked',
      actor: { kind: 'USER', id: user.id, label: user.email },
      subject: { type: 'user', id: user.id, teamId: null },
      outcome: 'SUCCEEDED',
      detail: { issuer, ...(passwordRemoved ? { passwordRemoved } : {}) },
      caller,
    });
  }

  /** Runs what the provider takes part in. */
  async #asked<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.#refusal(describe(error));
    }
  }

  #refusal(reason: string, message?: string): OidcRefused {
    this.#deps.log.warn({ reason }, 'a sign-in at the identity provider was refused');
    return new OidcRefused(message);
  }
}

/** An error and its causes in one line: what the provider said, and no tokens. */
function describe(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error; at instanceof Error && parts.length < 4; at = at.cause) {
    const { code, error: said } = at as { code?: unknown; error?: unknown };
    parts.push([at.message, code, said].filter((part) => typeof part === 'string').join(' '));
  }
  return parts.join(': ') || 'unknown';
}
