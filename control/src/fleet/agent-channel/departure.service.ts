import { CloseCode } from '@rookery/wire/close-codes.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import { sha256 } from '@rookery/wire/secrets.ts';
import { compactVerify, importJWK } from 'jose';
import type { Enrolment } from '../enrolment/enrolment.service.ts';
import { revokeCredentials } from '../enrolment/registration-token.ts';
import { STATUSES_THAT_GO_MISSING } from '../sandboxes/sandbox.state.ts';
import { endOfTunnels } from '../tunnels/tunnel.books.ts';
import type { FleetDatabase, FleetEvents } from '../tables.ts';

/** How long the answer to a goodbye has to be on its way before the host's connections are cut, in ms. */
const ANSWER_MS = 1_000;

export interface DeparturesDeps {
  readonly database: FleetDatabase;
  readonly events: FleetEvents;
  readonly enrolment: Pick<Enrolment, 'authenticate'>;
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
   * Takes a host's goodbye.
   *
   * @param proof compact JWS by the host's key, so that a token that was found cannot send its host away.
   * @throws {RookeryError} `UNAUTHENTICATED` when the token or the proof is not good.
   */
  async leave({ accessToken, proof }: { accessToken: string; proof: string }): Promise<{ hostId: string }> {
    const { database, events, enrolment, disconnect } = this.#deps;
    const host = await enrolment.authenticate(accessToken);
    if (!host) throw refused('TOKEN_UNKNOWN', 'The access token is not known.');
    const { hostId } = host;
    const identity = await database.query
      .selectFrom('HostIdentity')
      .select('publicKey')
      .where('hostId', '=', hostId)
      .executeTakeFirst();
    if (!identity || !(await isGoodbye(identity.publicKey, proof, accessToken)))
      throw refused('PROOF_INVALID', 'The proof of possession of the host’s key is not valid.');

    await events.transaction(`host:${hostId}`, async (tx, record) => {
      const known = await tx
        .selectFrom('Host')
        .selectAll()
        .where('id', '=', hostId)
        .where('deletedAt', 'is', null)
        .forUpdate()
        .executeTakeFirst();
      if (!known) return;
      // With its token: one that was spent would let the same key ask again for credentials that are over.
      await revokeCredentials(tx, hostId);
      const row = await tx
        .updateTable('Host')
        .set({ status: 'UNREACHABLE', leftAt: new Date(), ...endOfTunnels(known), revision: known.revision + 1 })
        .where('id', '=', hostId)
        .returningAll()
        .executeTakeFirstOrThrow();
      await record([{ subject: 'HOST', change: 'UPDATED', type: 'host.left', row }]);
    });
    await this.#miss(hostId);
    // Later, because the answer goes through what is cut.
    setTimeout(() => disconnect(hostId, CloseCode.Unauthorized, 'the host has left'), ANSWER_MS).unref();
    return { hostId };
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

  /** The host has joined again. */
  async undo(hostId: string): Promise<void> {
    await this.#deps.events.transaction(`host:${hostId}`, async (tx, record) => {
      const row = await tx
        .updateTable('Host')
        .set(({ eb }) => ({ leftAt: null, revision: eb('revision', '+', 1) }))
        .where('id', '=', hostId)
        .where('leftAt', 'is not', null)
        .returningAll()
        .executeTakeFirst();
      if (row) await record([{ subject: 'HOST', change: 'UPDATED', type: 'host.returned', row }]);
    });
  }
}

function refused(reason: string, message: string): RookeryError {
  return new RookeryError('UNAUTHENTICATED', message, { reason, retryable: false });
}

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
