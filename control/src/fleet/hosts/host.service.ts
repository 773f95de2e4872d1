import { sha256 } from '@rookery/wire/secrets.ts';
import { AgentEndpoint } from '@rookery/wire/endpoints.ts';
import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { isUniqueViolation } from '../../database/database.ts';
import { authorize, may, signedIn, teamsWhere } from '../../kernel/authority.ts';
import { inputField, parseInput } from '../../kernel/input.ts';
import type { AccountsPort } from '../../kernel/ports.ts';
import { IdempotencyKeyReused, InvalidInput, NameTaken, UserError } from '../../kernel/user-errors.ts';
import { actorOf, type Actor, type Viewer } from '../../kernel/viewer.ts';
import { toCursor } from '../../kernel/events/change-stream.ts';
import type { EventHub } from '../../kernel/events/event-hub.ts';
import { replaceRegistrationToken, type IssuedToken } from '../enrolment/registration-token.ts';
import type { Page } from '../../kernel/paging.ts';
import type { FleetDatabase, FleetEvents, FleetTransaction, HostLeaseRow, HostRow } from '../tables.ts';
import { HOST_KINDS, type HostKind, type HostStatus } from './host.state.ts';

/** The team may not bring its own hosts. */
export class TeamNotByoc extends UserError {
  constructor() {
    super('TEAM_NOT_BYOC', 'This team may not bring its own hosts; a platform admin can allow it.', [
      'input',
      'teamId',
    ]);
  }
}

export interface CreatedHost {
  readonly host: HostRow;
  readonly registrationToken: string;
  readonly registrationTokenExpiresAt: Date;
  readonly joinCommand: string;
  readonly cursor: string;
}

export interface HostFilter {
  readonly kind?: HostKind | undefined;
  readonly teamId?: string | undefined;
  readonly status?: HostStatus | undefined;
}

const createHostInput = z.object({
  name: inputField.name(),
  kind: z.enum(HOST_KINDS),
  teamId: z.string().nullish(),
  labels: inputField.labels().nullish(),
  provider: inputField.text(63).nullish(),
  availabilityZone: inputField.text(63).nullish(),
  idempotencyKey: inputField.idempotencyKey().nullish(),
});

export interface HostServiceDeps {
  readonly database: FleetDatabase;
  readonly events: FleetEvents;
  readonly hub: EventHub;
  readonly accounts: AccountsPort;
  /** Where agents reach control, without a slash at the end. */
  readonly agentUrl: () => string;
  /** How long a registration token can be spent, in seconds. */
  readonly registrationTokenSeconds: number;
}

/** Hosts as people see and make them. What agents do to them is in `enrolment/` and `agent-channel/`. */
export class HostService {
  readonly #deps: HostServiceDeps;

  constructor(deps: HostServiceDeps) {
    this.#deps = deps;
  }

  /**
   * Makes a host that waits for its machine, with a token that one machine can spend once.
   *
   * @param input ids in it are row ids.
   * @throws {InvalidInput | NameTaken | NotFound | NotPermitted | TeamNotByoc | IdempotencyKeyReused}
   */
  async create(viewer: Viewer | null, input: unknown): Promise<CreatedHost> {
    const someone = signedIn(viewer);
    const request = parseInput(createHostInput, input);
    const { name, kind, teamId, labels, provider, availabilityZone, idempotencyKey } = request;
    if (kind === 'BYOC' && !teamId)
      throw new InvalidInput('teamId: a BYOC host belongs to a team', ['input', 'teamId']);
    if (kind === 'PLATFORM' && teamId)
      throw new InvalidInput('teamId: a platform host belongs to no team', ['input', 'teamId']);
    const owner = { teamId: teamId ?? null };
    const team = owner.teamId === null ? undefined : await this.#deps.accounts.team(owner.teamId);
    if (kind === 'PLATFORM') authorize(someone, 'host:create', someone.isAdmin ? owner : undefined, 'kind of host');
    else authorize(someone, 'host:create', team && owner, 'team');
    if (team && !team.isByoc) throw new TeamNotByoc();

    const requestHash = sha256(JSON.stringify(request));
    const known = idempotencyKey ? await this.#retried(someone, idempotencyKey, requestHash) : undefined;
    if (known) return known;
    const fields = {
      name,
      kind,
      teamId: owner.teamId,
      labels: labels ?? [],
      provider: provider ?? null,
      availabilityZone: availabilityZone ?? null,
      createdBy: someone.id,
      idempotencyKey: idempotencyKey ?? null,
      requestHash,
    };
    try {
      return await this.#create(actorOf(someone), fields);
    } catch (error) {
      // The same request twice at once: the other one was first, and this is its repetition.
      const taken = error instanceof NameTaken || isUniqueViolation(error, 'hosts_idempotency_key');
      const first = taken && idempotencyKey ? await this.#retried(someone, idempotencyKey, requestHash) : undefined;
      if (!first) throw error;
      return first;
    }
  }

  /**
   * The platform host for the machine that control itself runs on (embedded mode), with a fresh
   * token. Nobody asks for it, so nobody is authorized; the name is made free when it is taken. One
   * that was made for the machine and never joined, because the first start was interrupted, is used.
   */
  async createLocal(machineName: string): Promise<CreatedHost> {
    const waiting = await this.#deps.database.transaction(async (tx) => {
      const host = await tx
        .selectFrom('Host')
        .selectAll()
        .where('provider', '=', LOCAL_PROVIDER)
        .where('createdBy', 'is', null)
        .where('registeredAt', 'is', null)
        .where('deletedAt', 'is', null)
        .where('requestHash', '=', sha256(machineName))
        .forUpdate()
        .executeTakeFirst();
      return host && this.#created(host, await this.#newToken(tx, host.id));
    });
    if (waiting) return waiting;

    const base = hostNameFor(machineName);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#create('control', {
          name: attempt === 1 ? base : `${base}-${attempt}`,
          kind: 'PLATFORM',
          teamId: null,
          labels: [],
          provider: LOCAL_PROVIDER,
          availabilityZone: null,
          createdBy: null,
          idempotencyKey: null,
          requestHash: sha256(machineName),
        });
      } catch (error) {
        if (!(error instanceof NameTaken) || attempt >= 100) throw error;
      }
    }
  }

  /** A host by its id, whoever asks; for the process itself. */
  async findForControl(id: string): Promise<HostRow | undefined> {
    return this.#deps.database.query
      .selectFrom('Host')
      .selectAll()
      .where('id', '=', id)
      .where('deletedAt', 'is', null)
      .executeTakeFirst();
  }

  async #create(
    actor: Actor,
    fields: Pick<
      HostRow,
      | 'name'
      | 'kind'
      | 'teamId'
      | 'labels'
      | 'provider'
      | 'availabilityZone'
      | 'createdBy'
      | 'idempotencyKey'
      | 'requestHash'
    >,
  ): Promise<CreatedHost> {
    const { host, ...token } = await this.#deps.events
      .transaction(actor, async (tx, record) => {
        const row = await tx
          .insertInto('Host')
          .values({ ...fields, id: uuidv7(), status: 'PENDING', agentConditions: [], createdAt: new Date() } as never)
          .returningAll()
          .executeTakeFirstOrThrow();
        await record([{ subject: 'HOST', change: 'CREATED', type: 'host.created', row }]);
        return { host: row, ...(await this.#newToken(tx, row.id)) };
      })
      .catch((error: unknown) => {
        if (isUniqueViolation(error, 'hosts_name_key')) throw new NameTaken('host', fields.name);
        throw error;
      });
    return this.#created(host, token);
  }

  /**
   * The answer to a request that was sent again because its answer was lost. Tokens are kept as
   * hashes only, so the host gets a fresh one in place of the one that nobody has seen.
   */
  async #retried(viewer: Viewer, idempotencyKey: string, requestHash: string): Promise<CreatedHost | undefined> {
    return this.#deps.database.transaction(async (tx) => {
      const host = await tx
        .selectFrom('Host')
        .selectAll()
        .where('createdBy', '=', viewer.id)
        .where('idempotencyKey', '=', idempotencyKey)
        .forUpdate()
        .executeTakeFirst();
      if (!host) return undefined;
      // Once a machine has joined, a second token would let a second machine in.
      if (host.requestHash !== requestHash || host.registeredAt || host.deletedAt) throw new IdempotencyKeyReused();
      return this.#created(host, await this.#newToken(tx, host.id));
    });
  }

  #newToken(tx: FleetTransaction, hostId: string): Promise<IssuedToken> {
    return replaceRegistrationToken(tx, hostId, this.#deps.registrationTokenSeconds);
  }

  #created(host: HostRow, { token, expiresAt }: IssuedToken): CreatedHost {
    return {
      host,
      registrationToken: token,
      registrationTokenExpiresAt: expiresAt,
      joinCommand: joinCommand(this.#deps.agentUrl(), token),
      cursor: toCursor(this.#deps.hub.position),
    };
  }

  /** The host, if the viewer may know of it. */
  async find(viewer: Viewer | null, id: string): Promise<HostRow | null> {
    return (await this.findMany(viewer, [id]))[0] ?? null;
  }

  async findMany(viewer: Viewer | null, ids: readonly string[]): Promise<HostRow[]> {
    const someone = signedIn(viewer);
    if (ids.length === 0) return [];
    const rows = await this.#deps.database.query
      .selectFrom('Host')
      .selectAll()
      .where('id', 'in', ids)
      .where('deletedAt', 'is', null)
      .execute();
    return rows.filter((host) => may(someone, 'host:read', host));
  }

  /** A page of the hosts that the viewer may see, newest first; one row more than asked for when there are more. */
  async list(viewer: Viewer | null, filter: HostFilter, page: Page): Promise<HostRow[]> {
    const rows = await this.#visible(signedIn(viewer), filter)
      .selectAll()
      .$if(page.after !== undefined, (q) => q.where('id', '<', page.after as string))
      .$if(page.before !== undefined, (q) => q.where('id', '>', page.before as string))
      .orderBy('id', page.inverted ? 'asc' : 'desc')
      .limit(page.limit)
      .execute();
    return rows;
  }

  async count(viewer: Viewer | null, filter: HostFilter): Promise<number> {
    const { count } = await this.#visible(signedIn(viewer), filter)
      .select(({ fn }) => fn.countAll().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  /** When hosts were last heard, and what they use; by host id. */
  async leases(hostIds: readonly string[]): Promise<HostLeaseRow[]> {
    if (hostIds.length === 0) return [];
    return this.#deps.database.query.selectFrom('HostLease').selectAll().where('hostId', 'in', hostIds).execute();
  }

  #visible(viewer: Viewer, { kind, teamId, status }: HostFilter) {
    const teams = teamsWhere(viewer, 'host:read');
    return this.#deps.database.query
      .selectFrom('Host')
      .where('deletedAt', 'is', null)
      .$if(teams !== 'ALL', (q) => q.where('teamId', '=', sql<string>`any(${teams}::uuid[])`))
      .$if(kind !== undefined, (q) => q.where('kind', '=', kind as HostKind))
      .$if(teamId !== undefined, (q) => q.where('teamId', '=', teamId as string))
      .$if(status !== undefined, (q) => q.where('status', '=', status as HostStatus));
  }
}

/** Where the machine of embedded mode is. */
const LOCAL_PROVIDER = 'local';

/** A machine's own name, as far as it can be a host's. */
function hostNameFor(machineName: string): string {
  const name = machineName
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .slice(0, 50)
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '');
  return name || 'local';
}

/** What to paste on the machine that is to become the host. */
export function joinCommand(agentUrl: string, token: string): string {
  const bundle = quoted(`${agentUrl}${AgentEndpoint.bundle}`);
  return `curl -fsSL ${bundle} -o rookery-agent.mjs && node rookery-agent.mjs join ${quoted(agentUrl)} ${token}`;
}

/** As one word of a shell. */
const quoted = (text: string): string => (/^[\w:/.~%-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
