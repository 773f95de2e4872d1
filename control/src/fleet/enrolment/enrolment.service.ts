import { CloseCode } from '@rookery/wire/close-codes.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { sha256 } from '@rookery/wire/secrets.ts';
import { randomUUID } from 'node:crypto';
import type { Record as RecordChanges } from '../../kernel/events/event-log.ts';
import { observeHost } from '../hosts/host-lifecycle.state.ts';
import type { HostSpecs } from '../hosts/host.specs.ts';
import type { AccountsPort } from '../../kernel/ports.ts';
import type { FleetDatabase, FleetEvents, FleetTransaction, HostRow } from '../tables.ts';
import { endOfTunnels } from '../tunnels/tunnel.books.ts';
import type { CredentialIssuer, HostCredentials } from './credential.issuer.ts';
import {
  decideRefresh,
  decideRegistration,
  decideUse,
  isOtherMachine,
  REFUSALS,
  type OutOfTurn,
  type QuarantineCause,
  type Refusal,
} from './credential.state.ts';
import type { EnrolmentAudit } from './enrolment.audit.ts';
import {
  bindToken,
  enrolHost,
  lockHost,
  NO_RIVAL,
  saveIdentity,
  seen,
  touchHost,
  useLoader,
  type IdentityRow,
  type Machine,
} from './enrolment.rows.ts';
import { verifyProof } from './host-proof.ts';
import { dropRegistrationTokens } from './registration-token.ts';

/** A host that has proven itself on a request. */
export interface AuthenticatedHost {
  readonly hostId: string;
  /** Ends when the host is registered anew; see {@link Enrolment.stillStanding}. */
  readonly familyId: string;
  readonly machineId: string | null;
  /** When the access token expires that it was done with, in ms since the epoch. */
  readonly until: number;
}

export interface RegistrationRequest {
  readonly token: string;
  readonly publicKey: string;
  readonly proof: string;
  readonly hostId?: string | null | undefined;
  readonly specs: HostSpecs;
  readonly address: string | null;
}

export type RefreshRequest = { readonly refreshToken: string; readonly proof: string } & Machine;

export interface EnrolmentDeps {
  readonly database: FleetDatabase;
  readonly events: FleetEvents;
  readonly accounts: Pick<AccountsPort, 'team'>;
  readonly issuer: CredentialIssuer;
  readonly audit: EnrolmentAudit;
  /** Cuts every socket of a host. */
  readonly disconnect: (hostId: string, code: CloseCode, reason: string) => void;
  /** Cuts the tunnel of a host, and not its channel: in quarantine its lease goes on. */
  readonly cutTunnel: (hostId: string, code: CloseCode, reason: string) => void;
  readonly log: Logger;
}

/**
 * How machines become hosts and stay them: registration, rotation and the check of every connection.
 * What may happen is decided in `credential.state.ts`; here it is read and written, always under the
 * host's row lock.
 */
export class Enrolment {
  readonly #deps: EnrolmentDeps;
  readonly #uses: ReturnType<typeof useLoader>;

  constructor(deps: EnrolmentDeps) {
    this.#deps = deps;
    this.#uses = useLoader(deps.database);
  }

  /**
   * Spends a registration token. The token is bound to the key that presents it first; the same key
   * may present it again while it lives, so that a lost answer is simply asked for again. A host that
   * was registered before is the same host afterwards, and whatever credentials it had are over.
   *
   * @param request.hostId the host that the machine says it is already; another host's token is not spent then.
   * @throws {RookeryError} `UNAUTHENTICATED` with a {@link Refusal} or `PROOF_INVALID` as its reason,
   * `FORBIDDEN` with `TEAM_NOT_BYOC`, or `CONFLICT` with `REQUEST_OUT_OF_TURN` and the last sequence.
   */
  async register(request: RegistrationRequest): Promise<HostCredentials> {
    const { audit } = this.#deps;
    try {
      const issued = await this.#register(request);
      await audit.succeeded('host.register', issued.hostId, request.address);
      return issued;
    } catch (error) {
      const whose = () => this.#hostOf('RegistrationToken', sha256(request.token));
      await audit.refused('host.register', whose, request.address, error);
      throw error;
    }
  }

  async #register(request: RegistrationRequest): Promise<HostCredentials> {
    const { token, publicKey, proof, specs, address } = request;
    const { jkt, sequence } = await verifyProof(publicKey, proof, 'register', token);
    const machine: Machine = { machineId: specs.machineId, bootId: specs.bootId, address };
    const hash = sha256(token);
    const hostId = await this.#hostOf('RegistrationToken', hash);
    if (hostId === undefined) throw refused('TOKEN_UNKNOWN');
    // Before the transaction, as whatever else takes a connection.
    const [isAllowed, signer] = await Promise.all([this.#mayEnrol(hostId), this.#deps.issuer.signer()]);

    const outcome = await this.#deps.events.transaction(`host:${hostId}`, async (tx, record) => {
      const { host, identity } = await lockHost(tx, hostId);
      const registrationToken = await tx
        .selectFrom('RegistrationToken')
        .selectAll()
        .where('hash', '=', hash)
        .executeTakeFirst();
      const now = new Date();
      const asked = { jkt, sequence, machineId: machine.machineId, familyId: randomUUID() };
      const decision = decideRegistration(
        { token: registrationToken, host, identity, isAllowed },
        request.hostId ? { ...asked, claimedId: request.hostId } : asked,
        now,
      );
      // Not thrown here: what is written down about a refusal must be committed.
      if (decision.kind === 'REFUSE') {
        if (decision.misuse && host) await this.#recordMisuse(tx, record, host, hash);
        return { refusal: decision.reason };
      }
      if (decision.kind === 'OUT_OF_TURN') return { untimely: decision };
      if (!host) throw refused('TOKEN_UNKNOWN');
      if (decision.kind === 'REPEAT') {
        await tx.updateTable('HostIdentity').set(decision.changes).where('hostId', '=', hostId).execute();
        const { familyId } = identity as IdentityRow;
        const { parentHash } = decision;
        return {
          issued: await this.#deps.issuer.issue(tx, signer, { hostId, hostName: host.name, jkt, familyId, parentHash }),
        };
      }
      const { familyId } = decision.identity;
      if (!(await bindToken(tx, hash, jkt, familyId))) throw refused('TOKEN_USED');
      await saveIdentity(tx, hostId, {
        ...decision.identity,
        publicKey,
        ...seen(machine, now),
        ...NO_RIVAL,
      });
      const row = await enrolHost(tx, host, specs, now);
      const type = host.registeredAt ? 'host.recovered' : 'host.registered';
      await record([{ subject: 'HOST', change: 'UPDATED', type, row }]);
      const issued = await this.#deps.issuer.issue(tx, signer, {
        hostId,
        hostName: row.name,
        jkt,
        familyId,
        parentHash: decision.parentHash,
      });
      return { issued, replaced: identity !== undefined };
    });

    if ('refusal' in outcome) throw refused(outcome.refusal);
    if ('untimely' in outcome) throw outOfTurn(outcome.untimely);
    if (outcome.replaced)
      this.#deps.disconnect(hostId, CloseCode.Unauthorized, 'the host was registered anew, by a new token');
    return outcome.issued;
  }

  /**
   * Renews a host's credentials. The presented token stays valid until a newer one is used, so that
   * neither a crash nor a lost answer on either side locks the host out.
   *
   * @throws {RookeryError} `UNAUTHENTICATED`, the only proven refusal; with the reason `HOST_DELETED` it is signed.
   * `CONFLICT` with `REQUEST_OUT_OF_TURN` and the last sequence says nothing about the credentials.
   */
  async refresh(request: RefreshRequest): Promise<HostCredentials> {
    try {
      return await this.#refresh(request);
    } catch (error) {
      const whose = () => this.#hostOf('RefreshToken', sha256(request.refreshToken));
      await this.#deps.audit.refused('host.refresh', whose, request.address, error);
      throw error;
    }
  }

  async #refresh(request: RefreshRequest): Promise<HostCredentials> {
    const { refreshToken, proof, machineId, bootId, address } = request;
    const hash = sha256(refreshToken);
    const hostId = await this.#hostOf('RefreshToken', hash);
    if (hostId === undefined) throw refused('TOKEN_UNKNOWN');
    const signer = await this.#deps.issuer.signer();

    const outcome = await this.#deps.events.transaction(`host:${hostId}`, async (tx, record) => {
      const { host, identity } = await lockHost(tx, hostId);
      const token = await tx.selectFrom('RefreshToken').selectAll().where('hash', '=', hash).executeTakeFirst();
      if (!host || !identity || !token) return { refusal: 'TOKEN_UNKNOWN' as const };
      const { jkt, sequence } = await verifyProof(identity.publicKey, proof, 'refresh', refreshToken);
      const now = new Date();
      const decision = decideRefresh({ token, host, identity }, { sequence, machineId }, now);
      switch (decision.kind) {
        case 'DELETED':
          return { deleted: true as const };
        case 'REFUSE':
          return { refusal: decision.reason };
        case 'OUT_OF_TURN':
          return { untimely: decision };
        case 'QUARANTINE':
          await this.#quarantine(tx, record, host, decision.cause, request);
          return { refusal: 'CREDENTIALS_CLONED' as const };
        case 'RENEW': {
          const { changes, parentHash } = decision;
          await tx
            .updateTable('HostIdentity')
            .set({ ...changes, ...seen({ machineId: changes.machineId, bootId, address }, now) })
            .where('hostId', '=', hostId)
            .execute();
          const { familyId } = identity;
          return {
            issued: await this.#deps.issuer.issue(tx, signer, {
              hostId,
              hostName: host.name,
              jkt,
              familyId,
              parentHash,
            }),
          };
        }
      }
    });

    if ('deleted' in outcome) {
      throw new RookeryError('UNAUTHENTICATED', 'This host was deleted.', {
        reason: 'HOST_DELETED',
        retryable: false,
        details: { statements: await this.#deps.issuer.deletionStatements(hostId) },
      });
    }
    if ('refusal' in outcome) throw refused(outcome.refusal);
    if ('untimely' in outcome) throw outOfTurn(outcome.untimely);
    return outcome.issued;
  }

  /** The host behind an access token, if its credentials still stand; undefined otherwise. */
  async authenticate(accessToken: string | undefined): Promise<AuthenticatedHost | undefined> {
    const claims = accessToken ? await this.#deps.issuer.read(accessToken) : undefined;
    if (!claims) return undefined;
    const { hostId, jkt, refreshHash, until } = claims;
    const facts = await this.#uses.load(refreshHash);
    if (facts?.hostId !== hostId) return undefined;
    const { tokenFamilyId, parentHash, expiresAt, ...identity } = facts;
    const token = { hash: refreshHash, familyId: tokenFamilyId, parentHash, expiresAt };
    const use = decideUse({ token, host: facts, identity }, jkt);
    if (use.kind === 'REJECT') return undefined;
    if (use.changes) {
      // Conditional on what was read: two first uses at once of tokens issued side by side let one win.
      const { numUpdatedRows } = await this.#deps.database.query
        .updateTable('HostIdentity')
        .set(use.changes)
        .where('hostId', '=', hostId)
        .where('familyId', '=', identity.familyId)
        .where('headHash', 'is not distinct from', identity.headHash)
        .executeTakeFirst();
      if (numUpdatedRows === 0n) return this.authenticate(accessToken);
    }
    return { hostId, familyId: identity.familyId, machineId: identity.machineId, until };
  }

  /**
   * A request came from a host's credentials and a machine that is not the one they were given to.
   * Nothing when it is, so this may be called with every heartbeat.
   */
  async sighted(host: AuthenticatedHost, machine: Machine): Promise<void> {
    if (!isOtherMachine(host, machine.machineId)) return;
    const { hostId, familyId } = host;
    await this.#deps.events.transaction(`host:${hostId}`, async (tx, record) => {
      const locked = await lockHost(tx, hostId);
      if (!locked.host || locked.host.deletedAt || locked.host.quarantinedAt) return;
      if (locked.identity?.familyId !== familyId || !isOtherMachine(locked.identity, machine.machineId)) return;
      await this.#quarantine(tx, record, locked.host, 'SECOND_MACHINE', machine);
    });
  }

  /**
   * Two agents that are both alive say that they are this host.
   *
   * @param generation of the tunnel that the first is connected by.
   * @returns false when that tunnel is not the host's any more, so that nothing is proven.
   */
  async secondAgent(
    hostId: string,
    generation: number,
    incumbent: Pick<Machine, 'bootId' | 'address'>,
    rival: Machine & { readonly familyId: string },
  ): Promise<boolean> {
    return this.#deps.events.transaction(`host:${hostId}`, async (tx, record) => {
      const { host, identity } = await lockHost(tx, hostId);
      if (!host || !identity || host.deletedAt || host.quarantinedAt || host.tunnelGeneration !== generation)
        return false;
      // One whose credentials ended while the other was asked is nobody.
      if (identity.familyId !== rival.familyId || identity.revokedAt) return false;
      await tx
        .updateTable('HostIdentity')
        .set({ ...incumbent, seenAt: new Date() })
        .where('hostId', '=', hostId)
        .execute();
      await this.#quarantine(tx, record, host, 'SECOND_AGENT', rival);
      return true;
    });
  }

  /** Of hosts that proved themselves some time ago, those whose proof still counts. One query, whatever their number. */
  async stillStanding(hosts: readonly AuthenticatedHost[]): Promise<Set<AuthenticatedHost>> {
    if (hosts.length === 0) return new Set();
    const rows = await this.#deps.database.query
      .selectFrom('HostIdentity')
      .innerJoin('Host', 'Host.id', 'HostIdentity.hostId')
      .select(['hostId', 'familyId'])
      .where('hostId', 'in', [...new Set(hosts.map(({ hostId }) => hostId))])
      .where('Host.deletedAt', 'is', null)
      .where('HostIdentity.revokedAt', 'is', null)
      .execute();
    const families = new Map(rows.map(({ hostId, familyId }) => [hostId, familyId]));
    return new Set(hosts.filter(({ hostId, familyId }) => families.get(hostId) === familyId));
  }

  async #hostOf(table: 'RegistrationToken' | 'RefreshToken', hash: string): Promise<string | undefined> {
    const { query } = this.#deps.database;
    const row = await query.selectFrom(table).select('hostId').where('hash', '=', hash).executeTakeFirst();
    return row?.hostId;
  }

  /** Whether a machine may become this host now; nothing is remembered of it, as a team may be allowed again. */
  async #mayEnrol(hostId: string): Promise<boolean> {
    const { database, accounts } = this.#deps;
    const host = await database.query.selectFrom('Host').select('teamId').where('id', '=', hostId).executeTakeFirst();
    if (!host || host.teamId === null) return true;
    return (await accounts.team(host.teamId))?.isByoc ?? false;
  }

  async #recordMisuse(tx: FleetTransaction, record: RecordChanges, host: HostRow, hash: string): Promise<void> {
    this.#deps.log.warn({ hostId: host.id }, 'a registration token was presented by a second machine');
    await tx.updateTable('RegistrationToken').set({ misusedAt: new Date() }).where('hash', '=', hash).execute();
    const row = await touchHost(tx, host, {});
    await record([{ subject: 'HOST', change: 'UPDATED', type: 'host.registration_refused', row }]);
  }

  /** From here on the owner decides; tokens that were made before it cannot do so in their place. */
  async #quarantine(
    tx: FleetTransaction,
    record: RecordChanges,
    host: HostRow,
    cause: QuarantineCause,
    rival: Machine,
  ): Promise<void> {
    this.#deps.log.error(
      { hostId: host.id, cause, address: rival.address },
      'two machines use the credentials of a host',
    );
    const now = new Date();
    await dropRegistrationTokens(tx, host.id);
    await tx
      .updateTable('HostIdentity')
      .set({
        quarantineCause: cause,
        rivalMachineId: rival.machineId,
        rivalBootId: rival.bootId,
        rivalAddress: rival.address,
        rivalSeenAt: now,
      })
      .where('hostId', '=', host.id)
      .execute();
    const cloned = observeHost(host, { type: 'CLONED' }, now).changes;
    const row = await touchHost(tx, host, { ...cloned, ...endOfTunnels(host) });
    await record([{ subject: 'HOST', change: 'UPDATED', type: QUARANTINE_EVENTS[cause], row }]);
    // Other replicas, and this one if it comes too early, close theirs when they compare them with the books.
    setImmediate(() => this.#deps.cutTunnel(host.id, CloseCode.SecondAgent, 'two agents say that they are this host'));
  }
}

const QUARANTINE_EVENTS: Record<QuarantineCause, string> = {
  REFRESH_REUSED: 'host.refresh_reuse',
  SECOND_AGENT: 'host.second_agent',
  SECOND_MACHINE: 'host.second_machine',
};

function refused(reason: Refusal): RookeryError {
  // The only one that is not about who somebody is.
  const code = reason === 'TEAM_NOT_BYOC' ? 'FORBIDDEN' : 'UNAUTHENTICATED';
  return new RookeryError(code, REFUSALS[reason], { reason, retryable: false });
}

function outOfTurn({ lastSequence }: OutOfTurn): RookeryError {
  return new RookeryError('CONFLICT', `It is the turn of request ${lastSequence + 1} of this host.`, {
    reason: 'REQUEST_OUT_OF_TURN',
    retryable: true,
    details: { lastSequence },
  });
}
