import { newSecret, sha256 } from '@rookery/wire/secrets.ts';
import { randomUUID } from 'node:crypto';
import type { ControlKey, Signer, SigningKeys } from '../../kernel/signing-keys.ts';
import type { FleetTransaction } from '../tables.ts';

/** What a host proves itself with from now on. */
export interface HostCredentials {
  readonly hostId: string;
  readonly hostName: string;
  readonly accessToken: string;
  readonly accessTokenExpiresInSeconds: number;
  readonly refreshToken: string;
  readonly refreshTokenExpiresInSeconds: number;
  /** What the agent checks control's signatures by; handed over again with every renewal, because keys change. */
  readonly controlKeys: readonly ControlKey[];
}

export interface CredentialLifetimes {
  /** How long a registration token can be spent, in seconds. Longer is kinder to slow hands and to whoever finds it. */
  readonly registrationTokenSeconds: number;
  /** Life of a host's access token, in seconds. It is checked against the database at each connection all the same. */
  readonly accessTokenSeconds: number;
  /** Life of a refresh token, in seconds: how long a host may be switched off and still come back by itself. */
  readonly refreshTokenSeconds: number;
}

/** What an access token says. */
export interface AccessClaims {
  readonly hostId: string;
  readonly jkt: string;
  /** Hash of the refresh token it was issued beside. */
  readonly refreshHash: string;
  /** When it expires, in ms since the epoch. */
  readonly until: number;
}

const ACCESS_TOKEN_TYPE = 'rookery-host+jwt';
const DELETION_TYPE = 'rookery-host-deleted+jws';
const AUDIENCE = 'rookery-agent-channel';

/** How long expired refresh tokens are remembered, in days, so that a host which was switched off for long learns that it was deleted. */
const EXPIRED_KEPT_DAYS = 365;

/** Makes and reads what control signs for hosts. */
export class CredentialIssuer {
  readonly #keys: SigningKeys;
  readonly #lifetimes: CredentialLifetimes;

  constructor(keys: SigningKeys, lifetimes: CredentialLifetimes) {
    this.#keys = keys;
    this.#lifetimes = lifetimes;
  }

  /** What {@link issue} signs with; to be had before the transaction begins. */
  signer(): Promise<Signer> {
    return this.#keys.signer('HOST');
  }

  /** A refresh token and an access token, the first of them written down in the caller's transaction. */
  async issue(
    tx: FleetTransaction,
    signer: Signer,
    to: { hostId: string; hostName: string; jkt: string; familyId: string; parentHash: string | null },
  ): Promise<HostCredentials> {
    const { hostId, hostName, jkt, familyId, parentHash } = to;
    const { accessTokenSeconds, refreshTokenSeconds } = this.#lifetimes;
    const refreshToken = newSecret('rkr');
    const hash = sha256(refreshToken);
    const now = Date.now();
    await tx
      .insertInto('RefreshToken')
      .values({
        hash,
        hostId,
        familyId,
        parentHash,
        createdAt: new Date(now),
        expiresAt: new Date(now + refreshTokenSeconds * 1_000),
      })
      .execute();
    await tx
      .deleteFrom('RefreshToken')
      .where('hostId', '=', hostId)
      .where('expiresAt', '<', new Date(now - EXPIRED_KEPT_DAYS * 86_400_000))
      .execute();
    return {
      hostId,
      hostName,
      accessToken: await signer.sign(ACCESS_TOKEN_TYPE, AUDIENCE, accessTokenSeconds, {
        sub: hostId,
        jti: randomUUID(),
        cnf: { jkt },
        rth: hash,
      }),
      accessTokenExpiresInSeconds: accessTokenSeconds,
      refreshToken,
      refreshTokenExpiresInSeconds: refreshTokenSeconds,
      controlKeys: signer.publicKeys,
    };
  }

  /** What a valid access token says; undefined for anything that is not one. */
  async read(accessToken: string): Promise<AccessClaims | undefined> {
    const claims = await this.#keys.verify('HOST', ACCESS_TOKEN_TYPE, AUDIENCE, accessToken);
    const jkt = (claims?.['cnf'] as { jkt?: unknown } | undefined)?.jkt;
    const refreshHash = claims?.['rth'];
    if (!claims?.sub || !claims.exp || typeof jkt !== 'string' || typeof refreshHash !== 'string') return undefined;
    return { hostId: claims.sub, jkt, refreshHash, until: claims.exp * 1_000 };
  }

  /**
   * Says that a host was deleted, once by every key that control has ever signed for hosts with: the
   * agent may have been away for longer than the newest of them exists. It does not expire, as ids are
   * not used again.
   */
  deletionStatements(hostId: string): Promise<string[]> {
    return this.#keys.signWithAll('HOST', DELETION_TYPE, { aud: AUDIENCE, sub: hostId });
  }
}
