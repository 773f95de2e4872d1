import { CloseCode } from '@rookery/wire/close-codes.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import { sha256 } from '@rookery/wire/secrets.ts';
import { compactVerify, importJWK } from 'jose';
import type { CredentialIssuer } from '../enrolment/credential.issuer.ts';
import type { EnrolmentAudit } from '../enrolment/enrolment.audit.ts';
import { lockHost, touchHost } from '../enrolment/enrolment.rows.ts';
import type { Enrolment } from '../enrolment/enrolment.service.ts';
import { observeHost } from '../hosts/host-lifecycle.state.ts';
import { revokeCredentials } from '../enrolment/registration-token.ts';
import { STATUSES_THAT_GO_MISSING } from '../sandboxes/sandbox.state.ts';
import { endOfTunnels } from '../tunnels/tunnel.books.ts';
import type { FleetDatabase, FleetEvents } from '../tables.ts';

/** How long the answer to a goodbye has to be on its way before the host's connections are cut, in ms. */
const ANSWER_MS = 1_000;

export interface Goodbye {
  readonly accessToken: string;
  readonly proof: string;
  readonly address: string | null;
}

export interface DeparturesDeps {
  readonly database: FleetDatabase;
  readonly events: FleetEvents;
  readonly enrolment: Pick<Enrolment, 'authenticate'>;
  readonly issuer: Pick<CredentialIssuer, 'read'>;
  readonly audit: EnrolmentAudit;
  /** Cuts what is connected of a host. */
  readonly disconnect: (hostId: string, code: CloseCode, reason: string) => void;
}

/**
 * Hosts that leave by their operator's wish. One that has left is unreachable at once, with the
 * reason said, and its credentials are worth nothing any more. The host itself stays in the books, as
 * do its sandboxes (missing, for as long as nobody knows what became of them): deleting it is its
 * owner's decision, and a new token brings it back as the same host.
 */
export class Departures {
  readonly #deps: DeparturesDeps;

  constructor(deps: DeparturesDeps) {
    this.#deps = deps;
  }

  /**
   * Takes a host's goodbye. One that has left already may say it again, because the answer may have
   * been lost.
   *
   * @param goodbye.proof compact JWS by the host's key, so that a token that was found cannot send its host away.
   * @throws {RookeryError} `UNAUTHENTICATED` when the token or the proof is not good, `CONFLICT` in quarantine.
   */
  async leave({ address, ...goodbye }: Goodbye): Promise<{ hostId: string }> {
    const { audit, issuer } = this.#deps;
    try {
      const hostId = (await this.#leave(goodbye, address)) ?? (await this.#hasLeft(goodbye));
      if (hostId === undefined) throw refused('TOKEN_UNKNOWN', 'The access token is not known.');
      return { hostId };
    } catch (error) {
      await audit.refused('host.leave', async () => (await issuer.read(goodbye.accessToken))?.hostId, address, error);
      throw error;
    }
  }

  /** @returns undefined when the access token is worth nothing. */
  async #leave({ accessToken, proof }: Omit<Goodbye, 'address'>, address: string | null): Promise<string | undefined> {
    const { database, events, enrolment, disconnect, audit } = this.#deps;
    const host = await enrolment.authenticate(accessToken);
    if (!host) return undefined;
    const { hostId, familyId } = host;
    const identity = await database.query
      .selectFrom('HostIdentity')
      .select('publicKey')
      .where('hostId', '=', hostId)
      .executeTakeFirst();
    if (!identity || !(await isGoodbye(identity.publicKey, proof, accessToken))) throw refusedProof();

    await events.transaction(`host:${hostId}`, async (tx, record) => {
      const { host: known, identity: current } = await lockHost(tx, hostId);
      // Whatever came in between has ended what the goodbye was said with.
      if (!known || known.deletedAt || current?.familyId !== familyId || current.revokedAt)
        throw refused('TOKEN_UNKNOWN', 'The access token is not known.');
      if (known.quarantinedAt) throw quarantined();
      // With its token: one that was spent would let the same key ask again for credentials that are over.
      await revokeCredentials(tx, hostId);
      const left = observeHost(known, { type: 'LEFT' }, new Date()).changes;
      const row = await touchHost(tx, known, { ...left, ...endOfTunnels(known) });
      await record([{ subject: 'HOST', change: 'UPDATED', type: 'host.left', row }]);
    });
    await audit.succeeded('host.leave', hostId, address);
    await this.#miss(hostId);
    // Later, because the answer goes through what is cut.
    setTimeout(() => disconnect(hostId, CloseCode.Unauthorized, 'the host has left'), ANSWER_MS).unref();
    return hostId;
  }

  /** @returns the host, if this goodbye could be that of a host which has left. */
  async #hasLeft({ accessToken, proof }: Omit<Goodbye, 'address'>): Promise<string | undefined> {
    const { database, issuer } = this.#deps;
    const claims = await issuer.read(accessToken);
    if (!claims) return undefined;
    const left = await database.query
      .selectFrom('HostIdentity')
      .innerJoin('Host', 'Host.id', 'HostIdentity.hostId')
      .select('publicKey')
      .where('hostId', '=', claims.hostId)
      .where('jkt', '=', claims.jkt)
      .where('Host.leftAt', 'is not', null)
      .executeTakeFirst();
    if (!left) return undefined;
    if (!(await isGoodbye(left.publicKey, proof, accessToken))) throw refusedProof();
    return claims.hostId;
  }

  /**
   * Nobody knows any more what becomes of its sandboxes. In a transaction of its own, as everywhere:
   * whoever holds a host's lock waits for no sandbox's. Should it be interrupted, the monitor does the same.
   */
  async #miss(hostId: string): Promise<void> {
    await this.#deps.events.transaction(`host:${hostId}`, async (tx, record) => {
      const sandboxes = await tx
        .updateTable('Sandbox')
        .set(({ eb, ref }) => ({
          status: 'MISSING',
          statusBeforeMissing: ref('status'),
          statusReason: 'Its host has left the fleet.',
          revision: eb('revision', '+', 1),
        }))
        .where('id', 'in', (live) =>
          live
            .selectFrom('Sandbox as s')
            .select('s.id')
            .where('s.hostId', '=', hostId)
            .where('s.status', 'in', STATUSES_THAT_GO_MISSING)
            .where('s.deletedAt', 'is', null)
            .orderBy('s.id')
            .forUpdate('s'),
        )
        .where('status', 'in', STATUSES_THAT_GO_MISSING)
        .returningAll()
        .execute();
      await record(sandboxes.map((row) => ({ subject: 'SANDBOX', change: 'UPDATED', type: 'sandbox.missing', row })));
    });
  }
}

function refused(reason: string, message: string): RookeryError {
  return new RookeryError('UNAUTHENTICATED', message, { reason, retryable: false });
}

const refusedProof = (): RookeryError =>
  refused('PROOF_INVALID', 'The proof of possession of the host’s key is not valid.');

/** A copy must not be able to take the host out of its fleet. */
const quarantined = (): RookeryError =>
  new RookeryError(
    'CONFLICT',
    'Two machines have used this host’s credentials; its owner must decide by a new token before either can leave.',
    { reason: 'CREDENTIALS_CLONED', retryable: false },
  );

async function isGoodbye(publicKey: string, proof: string, accessToken: string): Promise<boolean> {
  try {
    const key = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: publicKey }, 'EdDSA');
    const { payload } = await compactVerify(proof, key, { algorithms: ['EdDSA'] });
    const claims = JSON.parse(new TextDecoder().decode(payload)) as Record<string, unknown>;
    return claims['purpose'] === 'leave' && claims['token_sha256'] === sha256(accessToken);
  } catch {
    return false;
  }
}
