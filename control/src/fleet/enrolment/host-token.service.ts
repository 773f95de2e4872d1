import { sql } from 'kysely';
import { toCursor } from '../../kernel/events/change-stream.ts';
import type { EventHub } from '../../kernel/events/event-hub.ts';
import { authorize, may, signedIn } from '../../kernel/authority.ts';
import { NotFound, UserError } from '../../kernel/user-errors.ts';
import { actorOf, type Viewer } from '../../kernel/viewer.ts';
import { requestHost } from '../hosts/host-lifecycle.state.ts';
import { joinCommand, type CreatedHost, type HostService } from '../hosts/host.service.ts';
import type { FleetDatabase, FleetEvents, FleetTransaction, HostRow } from '../tables.ts';
import { credentialState, type CredentialState, type QuarantineCause } from './credential.state.ts';
import { replaceRegistrationToken } from './registration-token.ts';

/** The host's agent can come by itself; a new token would let another machine take its place. */
export class HostHasCredentials extends UserError {
  constructor() {
    super(
      'HOST_HAS_CREDENTIALS',
      'This host has working credentials. If its machine has lost them, ask again with `replaceCredentials`.',
      ['input', 'replaceCredentials'],
    );
  }
}

/** Two machines have the host's credentials, and a token decides between them. */
export class HostQuarantined extends UserError {
  constructor() {
    super(
      'HOST_QUARANTINED',
      'Two machines have used this host’s credentials. Compare `Host.credentials.holders`, and ask again with `resolveQuarantine` to let one of them go on.',
      ['input', 'resolveQuarantine'],
    );
  }
}

export class HostBeingDeleted extends UserError {
  constructor() {
    super('HOST_BEING_DELETED', 'This host is being deleted.');
  }
}

/** A machine that has used a host's credentials. */
export interface CredentialHolder {
  /** Where control saw it; a proxy's address when it came through one. */
  readonly address: string | null;
  readonly bootId: string | null;
  readonly machineId: string | null;
  readonly seenAt: Date | null;
}

/** What a host's credentials are worth, for those who manage it. */
export interface HostCredentialsView {
  readonly state: CredentialState;
  readonly quarantineCause: QuarantineCause | null;
  readonly quarantinedAt: Date | null;
  /** The machine that was last granted credentials, and in quarantine the other one after it. */
  readonly holders: readonly CredentialHolder[];
}

export interface RegenerateRequest {
  readonly hostId: string;
  readonly replaceCredentials: boolean;
  readonly resolveQuarantine: boolean;
}

export interface HostTokensDeps {
  readonly database: FleetDatabase;
  readonly events: FleetEvents;
  readonly hub: EventHub;
  readonly hosts: HostService;
  readonly agentUrl: () => string;
  readonly registrationTokenSeconds: number;
}

/** New registration tokens for hosts that exist, and what people may know of their credentials. */
export class HostTokens {
  readonly #deps: HostTokensDeps;

  constructor(deps: HostTokensDeps) {
    this.#deps = deps;
  }

  /**
   * Makes a token with which a machine becomes this host, again or for the first time. An older token
   * dies; credentials in use go on until the new token is spent, so that nothing stops meanwhile.
   *
   * @throws {HostHasCredentials | HostQuarantined | HostBeingDeleted | NotFound | NotPermitted}
   */
  async regenerate(viewer: Viewer | null, request: RegenerateRequest): Promise<CreatedHost> {
    const { hostId, replaceCredentials, resolveQuarantine } = request;
    const someone = signedIn(viewer);
    const { hosts, events, hub, agentUrl, registrationTokenSeconds } = this.#deps;
    authorize(someone, 'host:enrol', (await hosts.find(someone, hostId)) ?? undefined, 'host');
    return events.transaction(actorOf(someone), async (tx, record) => {
      const host = await tx
        .selectFrom('Host')
        .selectAll()
        .where('id', '=', hostId)
        .where('deletedAt', 'is', null)
        .forUpdate()
        .executeTakeFirst();
      if (!host) throw new NotFound('host');
      if (requestHost(host, 'NEW_TOKEN', new Date()).refusal) throw new HostBeingDeleted();
      const [view] = await readViews(tx, [host]);
      if (view?.state === 'CLONED' && !resolveQuarantine) throw new HostQuarantined();
      if (view?.state === 'WORKING' && !replaceCredentials) throw new HostHasCredentials();

      const { token, expiresAt } = await replaceRegistrationToken(tx, hostId, registrationTokenSeconds);
      const row = await tx
        .updateTable('Host')
        .set({ revision: host.revision + 1 })
        .where('id', '=', hostId)
        .returningAll()
        .executeTakeFirstOrThrow();
      await record([{ subject: 'HOST', change: 'UPDATED', type: 'host.token_regenerated', row }]);
      return {
        host: row,
        registrationToken: token,
        registrationTokenExpiresAt: expiresAt,
        joinCommand: joinCommand(agentUrl(), token),
        cursor: toCursor(hub.position),
      };
    });
  }

  /** In the order of the hosts; null where the viewer does not manage the host. */
  async views(viewer: Viewer | null, hosts: readonly HostRow[]): Promise<(HostCredentialsView | null)[]> {
    const someone = signedIn(viewer);
    const managed = hosts.filter((host) => may(someone, 'host:enrol', host));
    const views = await readViews(this.#deps.database.query, managed);
    return hosts.map((host) => views[managed.indexOf(host)] ?? null);
  }
}

async function readViews(
  query: Pick<FleetTransaction, 'selectFrom'>,
  hosts: readonly HostRow[],
): Promise<HostCredentialsView[]> {
  if (hosts.length === 0) return [];
  const rows = await query
    .selectFrom('HostIdentity as i')
    .selectAll('i')
    .select((eb) =>
      eb
        .selectFrom('RefreshToken as t')
        .select(({ fn }) => fn.max('t.expiresAt').as('until'))
        .whereRef('t.hostId', '=', 'i.hostId')
        .whereRef('t.familyId', '=', 'i.familyId')
        .where(({ or, eb: on, ref }) =>
          or([on('t.hash', '=', ref('i.headHash')), sql<boolean>`t.parent_hash is not distinct from i.head_hash`]),
        )
        .as('renewableUntil'),
    )
    .where(
      'i.hostId',
      'in',
      hosts.map(({ id }) => id),
    )
    .execute();
  const now = new Date();
  return hosts.map((host) => {
    const identity = rows.find(({ hostId }) => hostId === host.id);
    // An aggregate is not converted like the column it is of.
    const renewableUntil = identity?.renewableUntil ? new Date(identity.renewableUntil) : null;
    const isCloned = host.quarantinedAt !== null;
    const holders: CredentialHolder[] = [];
    if (identity?.seenAt) holders.push(identity);
    if (identity && isCloned)
      holders.push({
        address: identity.rivalAddress,
        bootId: identity.rivalBootId,
        machineId: identity.rivalMachineId,
        seenAt: identity.rivalSeenAt,
      });
    return {
      state: credentialState({ host, identity, renewableUntil }, now),
      quarantineCause: isCloned ? (identity?.quarantineCause ?? null) : null,
      quarantinedAt: host.quarantinedAt,
      holders,
    };
  });
}
