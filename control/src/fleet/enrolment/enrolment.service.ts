import { RookeryError } from '@rookery/wire/errors.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { newSecret, sha256 } from '@rookery/wire/secrets.ts';
import { calculateJwkThumbprint, compactVerify, importJWK } from 'jose';
import { randomUUID } from 'node:crypto';
import type { SigningKeys } from '../../kernel/signing-keys.ts';
import { specsToColumns, type HostSpecs } from '../hosts/host.specs.ts';
import type { FleetDatabase, FleetEvents, FleetTransaction, HostRow } from '../tables.ts';

/** What a host proves itself with from now on. */
export interface HostCredentials {
  readonly hostId: string;
  readonly hostName: string;
  readonly accessToken: string;
  readonly accessTokenExpiresInSeconds: number;
  readonly refreshToken: string;
  readonly refreshTokenExpiresInSeconds: number;
}

/** A host that has proven itself on a request. */
export interface AuthenticatedHost {
  readonly hostId: string;
}

/** Life of a host's access token, in seconds. It is checked against the database at each connection all the same. */
const ACCESS_TOKEN_SECONDS = 7 * 24 * 60 * 60;

/** Life of a refresh token, in seconds: how long a host may be switched off and still come back by itself. */
const REFRESH_TOKEN_SECONDS = 60 * 24 * 60 * 60;

const TOKEN_TYPE = 'rookery-host+jwt';
const AUDIENCE = 'rookery-agent-channel';

export interface EnrolmentDeps {
  readonly database: FleetDatabase;
  readonly events: FleetEvents;
  readonly keys: SigningKeys;
  readonly log: Logger;
}

/** How machines become hosts and stay them: registration, rotation and the check of every connection. */
export class Enrolment {
  readonly #deps: EnrolmentDeps;

  constructor(deps: EnrolmentDeps) {
    this.#deps = deps;
  }

  /**
   * Spends a registration token. The token is bound to the key that presents it first; the same key
   * may present it again while it lives, so that a lost answer is simply asked for again.
   *
   * @throws {RookeryError} `UNAUTHENTICATED` with reason `TOKEN_UNKNOWN`, `TOKEN_USED`,
   *   `TOKEN_EXPIRED` or `PROOF_INVALID`.
   */
  async register(request: {
    token: string;
    publicKey: string;
    proof: string;
    specs: HostSpecs;
  }): Promise<HostCredentials> {
    const { token, publicKey, proof, specs } = request;
    const jkt = await verifyProof(publicKey, proof, 'register', token);
    const hash = sha256(token);
    const hostId = await this.#bindToken(hash, jkt);
    return this.#deps.events.transaction(`host:${hostId}`, async (tx, record) => {
      const now = new Date();
      // First, as everywhere: whoever locks a host and something of its own locks the host before it.
      const host = await tx
        .selectFrom('Host')
        .selectAll()
        .where('id', '=', hostId)
        .where('deletedAt', 'is', null)
        .forUpdate()
        .executeTakeFirst();
      if (!host) throw refused('TOKEN_UNKNOWN', 'This registration token belongs to no host.');
      await tx
        .insertInto('HostIdentity')
        .values({ hostId, publicKey, jkt, revokedAt: null, createdAt: now })
        .onConflict((conflict) => conflict.column('hostId').doUpdateSet({ publicKey, jkt, revokedAt: null }))
        .execute();
      // Registered is heard; the inventory of a new state directory counts from the beginning.
      await tx
        .insertInto('HostLease')
        .values({
          hostId,
          seenAt: now,
          load1: 0,
          memoryUsedMb: 0,
          diskUsedMb: 0,
          inventoryDigest: null,
          inventoryEpoch: 0,
        })
        .onConflict((conflict) =>
          conflict.column('hostId').doUpdateSet({ seenAt: now, inventoryDigest: null, inventoryEpoch: 0 }),
        )
        .execute();
      await tx.updateTable('Sandbox').set({ observedEpoch: 0 }).where('hostId', '=', hostId).execute();
      const row = await tx
        .updateTable('Host')
        .set({ ...specsToColumns(specs), registeredAt: host.registeredAt ?? now, revision: host.revision + 1 })
        .where('id', '=', hostId)
        .returningAll()
        .executeTakeFirstOrThrow();
      await record([{ subject: 'HOST', change: 'UPDATED', type: 'host.registered', row }]);
      return this.#issue(tx, row, jkt, 1);
    });
  }

  /**
   * Renews a host's credentials. The presented token stays valid until a newer one is used, so that
   * neither a crash nor a lost answer on either side locks the host out.
   *
   * @throws {RookeryError} `UNAUTHENTICATED`, the only proven refusal.
   */
  async refresh(request: { refreshToken: string; proof: string }): Promise<HostCredentials> {
    const { refreshToken, proof } = request;
    const hash = sha256(refreshToken);
    return this.#deps.database.transaction(async (tx) => {
      const token = await tx
        .selectFrom('RefreshToken')
        .innerJoin('HostIdentity', 'HostIdentity.hostId', 'RefreshToken.hostId')
        .innerJoin('Host', 'Host.id', 'RefreshToken.hostId')
        .select([
          'RefreshToken.hostId',
          'RefreshToken.generation',
          'RefreshToken.expiresAt',
          'RefreshToken.retiredAt',
          'HostIdentity.publicKey',
          'HostIdentity.revokedAt',
          'Host.deletedAt',
        ])
        .where('RefreshToken.hash', '=', hash)
        .forUpdate(['RefreshToken'])
        .executeTakeFirst();
      if (!token) throw refused('TOKEN_UNKNOWN', 'This refresh token is not known.');
      const jkt = await verifyProof(token.publicKey, proof, 'refresh', refreshToken);
      if (token.deletedAt || token.revokedAt)
        throw refused('TOKEN_UNKNOWN', 'This host was deleted or its credentials were revoked.');
      if (token.retiredAt) {
        this.#deps.log.warn({ hostId: token.hostId }, 'a refresh token was presented that a newer one has replaced');
        throw refused('TOKEN_USED', 'A newer refresh token has replaced this one.');
      }
      if (token.expiresAt < new Date()) throw refused('TOKEN_EXPIRED', 'This refresh token has expired.');

      const now = new Date();
      await tx.updateTable('RefreshToken').set({ usedAt: now }).where('hash', '=', hash).execute();
      // Its first use proves that it arrived: what came before it and beside it is over.
      await tx
        .updateTable('RefreshToken')
        .set({ retiredAt: now })
        .where('hostId', '=', token.hostId)
        .where('hash', '!=', hash)
        .where('generation', '<=', token.generation)
        .where('retiredAt', 'is', null)
        .execute();
      const host = await tx.selectFrom('Host').selectAll().where('id', '=', token.hostId).executeTakeFirstOrThrow();
      return this.#issue(tx, host, jkt, token.generation + 1);
    });
  }

  /** The host behind an access token, if its credentials still stand; undefined otherwise. */
  async authenticate(accessToken: string | undefined): Promise<AuthenticatedHost | undefined> {
    if (!accessToken) return undefined;
    const claims = await this.#deps.keys.verify('HOST', TOKEN_TYPE, AUDIENCE, accessToken);
    const jkt = (claims?.['cnf'] as { jkt?: string } | undefined)?.jkt;
    if (!claims?.sub || !jkt) return undefined;
    const host = await this.#deps.database.query
      .selectFrom('HostIdentity')
      .innerJoin('Host', 'Host.id', 'HostIdentity.hostId')
      .select('Host.id')
      .where('Host.id', '=', claims.sub)
      .where('Host.deletedAt', 'is', null)
      .where('HostIdentity.revokedAt', 'is', null)
      .where('HostIdentity.jkt', '=', jkt)
      .executeTakeFirst();
    return host && { hostId: host.id };
  }

  /** One statement, so that of two machines that race with one token exactly one wins. */
  async #bindToken(hash: string, jkt: string): Promise<string> {
    const { query } = this.#deps.database;
    const bound = await query
      .updateTable('RegistrationToken')
      .set(({ fn, ref, val }) => ({
        boundJkt: fn.coalesce(ref('boundJkt'), val(jkt)),
        boundAt: fn.coalesce(ref('boundAt'), val(new Date())),
      }))
      .where('hash', '=', hash)
      .where('expiresAt', '>', new Date())
      .where((eb) => eb.or([eb('boundJkt', 'is', null), eb('boundJkt', '=', jkt)]))
      .returning('hostId')
      .executeTakeFirst();
    if (bound) return bound.hostId;

    const token = await query
      .selectFrom('RegistrationToken')
      .select(['boundJkt', 'hostId'])
      .where('hash', '=', hash)
      .executeTakeFirst();
    if (!token)
      throw refused(
        'TOKEN_UNKNOWN',
        'This registration token is not known; create the host again or make a new token for it.',
      );
    if (token.boundJkt && token.boundJkt !== jkt) {
      this.#deps.log.warn({ hostId: token.hostId }, 'a registration token was presented by a second machine');
      throw refused('TOKEN_USED', 'This registration token was already used by another machine.');
    }
    throw refused('TOKEN_EXPIRED', 'This registration token has expired; make a new one for the host.');
  }

  async #issue(tx: FleetTransaction, host: HostRow, jkt: string, generation: number): Promise<HostCredentials> {
    const refreshToken = newSecret('rkr');
    await tx
      .insertInto('RefreshToken')
      .values({
        hash: sha256(refreshToken),
        hostId: host.id,
        generation,
        createdAt: new Date(),
        expiresAt: new Date(Date.now() + REFRESH_TOKEN_SECONDS * 1_000),
      })
      .execute();
    return {
      hostId: host.id,
      hostName: host.name,
      accessToken: await this.#deps.keys.sign('HOST', TOKEN_TYPE, AUDIENCE, ACCESS_TOKEN_SECONDS, {
        sub: host.id,
        jti: randomUUID(),
        cnf: { jkt },
      }),
      accessTokenExpiresInSeconds: ACCESS_TOKEN_SECONDS,
      refreshToken,
      refreshTokenExpiresInSeconds: REFRESH_TOKEN_SECONDS,
    };
  }
}

function refused(reason: string, message: string): RookeryError {
  return new RookeryError('UNAUTHENTICATED', message, { reason, retryable: false });
}

/**
 * Checks that whoever sent a token holds the key: a compact JWS over the purpose and the token's
 * hash. It carries no time, so that a machine with a wrong clock can still join.
 *
 * @returns the key's thumbprint (RFC 7638).
 */
async function verifyProof(
  publicKey: string,
  proof: string,
  purpose: 'register' | 'refresh',
  token: string,
): Promise<string> {
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: publicKey };
  try {
    const { payload } = await compactVerify(proof, await importJWK(jwk, 'EdDSA'), { algorithms: ['EdDSA'] });
    const claims = JSON.parse(new TextDecoder().decode(payload)) as { purpose?: unknown; token_sha256?: unknown };
    if (claims.purpose === purpose && claims.token_sha256 === sha256(token)) return await calculateJwkThumbprint(jwk);
  } catch {
    // Told apart from a mismatch by nobody.
  }
  throw refused('PROOF_INVALID', 'The proof of possession of the host’s key is not valid.');
}
