import { sha256 } from '@rookery/wire/secrets.ts';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { sql } from 'kysely';
import { isUniqueViolation } from '../../database/database.ts';
import { authorize, may, signedIn, teamsWhere } from '../../kernel/authority.ts';
import { inputField, parseInput } from '../../kernel/input.ts';
import type { AccountsPort } from '../../kernel/ports.ts';
import { IdempotencyKeyReused, NotFound } from '../../kernel/user-errors.ts';
import { actorOf, type Viewer } from '../../kernel/viewer.ts';
import { toCursor } from '../../kernel/events/change-stream.ts';
import type { EventHub } from '../../kernel/events/event-hub.ts';
import type { Page } from '../../kernel/paging.ts';
import type { Placements } from '../placement/placement.service.ts';
import type { FleetDatabase, FleetEvents, SandboxRow } from '../tables.ts';
import type { Convergence } from './convergence.service.ts';
import { SandboxCreation } from './sandbox-creation.ts';
import { generateName } from './sandbox.names.ts';
import { transitionSandbox } from './sandbox.record.ts';
import { requestDestroy, type SandboxStatus } from './sandbox.state.ts';

export interface SandboxWithCursor {
  readonly sandbox: SandboxRow;
  /** Of an event not later than the one of this change. */
  readonly cursor: string;
}

export interface SandboxFilter {
  readonly hostId?: string | undefined;
  readonly teamId?: string | undefined;
  readonly status?: SandboxStatus | undefined;
}

/** Thirty days; a longer pause for inactivity is none. */
const MAX_TIMEOUT_SECONDS = 30 * 24 * 60 * 60;

const createSandboxInput = z.object({
  teamId: z.string().min(1, 'must not be empty'),
  name: inputField.name().nullish(),
  template: inputField
    .name()
    .nullish()
    .transform((template) => template ?? 'host'),
  vcpus: z
    .number()
    .min(0.1, 'must be at least 0.1')
    .max(256, 'must be at most 256')
    .nullish()
    .transform((vcpus) => vcpus ?? 1),
  memoryMb: z
    .int()
    .min(32, 'must be at least 32')
    .max(4_194_304)
    .nullish()
    .transform((mb) => mb ?? 512),
  diskMb: z
    .int()
    .min(32, 'must be at least 32')
    .max(67_108_864)
    .nullish()
    .transform((mb) => mb ?? 1_024),
  labels: inputField.labels().nullish(),
  timeoutSeconds: z.int().min(1, 'must be at least 1').max(MAX_TIMEOUT_SECONDS, 'must be at most 30 days').nullish(),
  hostId: z.string().nullish(),
  hostArch: inputField.text(63).nullish(),
  hostLabels: inputField.labels().nullish(),
  idempotencyKey: inputField.idempotencyKey().nullish(),
});

export interface SandboxServiceDeps {
  readonly database: FleetDatabase;
  readonly events: FleetEvents;
  readonly hub: EventHub;
  readonly accounts: AccountsPort;
  readonly convergence: Convergence;
  readonly placements: Placements;
}

/** Sandboxes as people see, make and destroy them. */
export class SandboxService {
  readonly #deps: SandboxServiceDeps;
  readonly #creation: SandboxCreation;

  constructor(deps: SandboxServiceDeps) {
    this.#deps = deps;
    this.#creation = new SandboxCreation(deps);
  }

  /**
   * Places a sandbox and has its host start it. Answers as soon as the place is reserved; `RUNNING`
   * follows as an event.
   *
   * With an idempotency key the same request answers with the same sandbox, for as long as it lives
   * and after.
   *
   * @throws {InvalidInput | NotFound | NotPermitted | NoHostFits | IdempotencyKeyReused}
   */
  async create(viewer: Viewer | null, input: unknown): Promise<SandboxWithCursor> {
    const someone = signedIn(viewer);
    const request = parseInput(createSandboxInput, input);
    const { teamId } = request;
    // Who is in a team knows that it exists.
    const exists = isOf(someone, teamId) || (await this.#deps.accounts.team(teamId)) !== undefined;
    authorize(someone, 'sandbox:create', exists ? { teamId } : undefined, 'team');
    await this.#requireVisibleHost(someone, request.hostId ?? null);

    const requestHash = sha256(JSON.stringify(request));
    const sandbox = await this.#place(someone, request, requestHash).catch(async (error: unknown) => {
      // Two requests with one key at once: the other one won.
      const key = isUniqueViolation(error, 'sandboxes_idempotency_key') ? request.idempotencyKey : undefined;
      const winner = key ? await this.#byIdempotencyKey(teamId, key) : undefined;
      if (!winner) throw error;
      return winner;
    });
    if (sandbox.requestHash !== requestHash) throw new IdempotencyKeyReused();
    this.#deps.convergence.nudge(sandbox.id);
    return this.#withCursor(sandbox);
  }

  /**
   * Wants the sandbox gone. Legal from every state; when its host is away the wish is kept.
   *
   * @throws {NotFound | NotPermitted}
   */
  async destroy(viewer: Viewer | null, sandboxId: string): Promise<SandboxWithCursor> {
    const someone = signedIn(viewer);
    const sandbox = await this.find(someone, sandboxId);
    authorize(someone, 'sandbox:destroy', sandbox ?? undefined, 'sandbox');
    const result = await this.#deps.events.transaction(actorOf(someone), (tx, record) =>
      transitionSandbox(tx, record, sandboxId, 'sandbox.destroy_requested', requestDestroy),
    );
    if (!result) throw new NotFound('sandbox');
    if (result.transition.push) this.#deps.convergence.nudge(sandboxId);
    return this.#withCursor(result.row);
  }

  async find(viewer: Viewer | null, id: string): Promise<SandboxRow | null> {
    return (await this.findMany(viewer, [id]))[0] ?? null;
  }

  async findMany(viewer: Viewer | null, ids: readonly string[]): Promise<SandboxRow[]> {
    const someone = signedIn(viewer);
    if (ids.length === 0) return [];
    const rows = await this.#deps.database.query
      .selectFrom('Sandbox')
      .selectAll()
      .where('id', 'in', ids)
      .where('deletedAt', 'is', null)
      .execute();
    return rows.filter((sandbox) => may(someone, 'sandbox:read', sandbox));
  }

  /** A page of the sandboxes that the viewer may see, newest first. */
  async list(viewer: Viewer | null, filter: SandboxFilter, page: Page): Promise<SandboxRow[]> {
    return this.#visible(signedIn(viewer), filter)
      .selectAll()
      .$if(page.after !== undefined, (q) => q.where('id', '<', page.after as string))
      .$if(page.before !== undefined, (q) => q.where('id', '>', page.before as string))
      .orderBy('id', page.inverted ? 'asc' : 'desc')
      .limit(page.limit)
      .execute();
  }

  async count(viewer: Viewer | null, filter: SandboxFilter): Promise<number> {
    const { count } = await this.#visible(signedIn(viewer), filter)
      .select(({ fn }) => fn.countAll().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  #place(viewer: Viewer, request: z.output<typeof createSandboxInput>, requestHash: string): Promise<SandboxRow> {
    const { teamId, template, vcpus, memoryMb, diskMb, timeoutSeconds } = request;
    const milliVcpus = Math.round(vcpus * 1_000);
    return this.#creation.create(actorOf(viewer), {
      request: {
        teamId,
        template,
        milliVcpus,
        memoryMb,
        diskMb,
        constraints: {
          hostId: request.hostId ?? null,
          arch: request.hostArch ?? null,
          labels: request.hostLabels ?? [],
        },
        failedHostIds: [],
      },
      fields: {
        id: uuidv7(),
        name: request.name ?? generateName(),
        teamId,
        template,
        milliVcpus,
        memoryMb,
        diskMb,
        labels: request.labels ?? [],
        timeoutSeconds: timeoutSeconds ?? null,
        desiredState: 'RUNNING',
        status: 'PENDING',
        idempotencyKey: request.idempotencyKey ?? null,
        requestHash,
        createdBy: viewer.id,
        createdAt: new Date(),
      },
    });
  }

  /** A host that the viewer may not know of is refused like one that does not exist. */
  async #requireVisibleHost(viewer: Viewer, hostId: string | null): Promise<void> {
    if (hostId === null) return;
    const host = await this.#deps.database.query
      .selectFrom('Host')
      .select(['teamId'])
      .where('id', '=', hostId)
      .where('deletedAt', 'is', null)
      .executeTakeFirst();
    authorize(viewer, 'host:read', host, 'host');
  }

  async #byIdempotencyKey(teamId: string, key: string): Promise<SandboxRow | undefined> {
    return this.#deps.database.query
      .selectFrom('Sandbox')
      .selectAll()
      .where('teamId', '=', teamId)
      .where('idempotencyKey', '=', key)
      .executeTakeFirst();
  }

  #withCursor(sandbox: SandboxRow): SandboxWithCursor {
    return { sandbox, cursor: toCursor(this.#deps.hub.position) };
  }

  #visible(viewer: Viewer, { hostId, teamId, status }: SandboxFilter) {
    const teams = teamsWhere(viewer, 'sandbox:read');
    return this.#deps.database.query
      .selectFrom('Sandbox')
      .where('deletedAt', 'is', null)
      .$if(teams !== 'ALL', (q) => q.where('teamId', '=', sql<string>`any(${teams}::uuid[])`))
      .$if(hostId !== undefined, (q) => q.where('hostId', '=', hostId as string))
      .$if(teamId !== undefined, (q) => q.where('teamId', '=', teamId as string))
      .$if(status !== undefined, (q) => q.where('status', '=', status as SandboxStatus));
  }
}

const isOf = (viewer: Viewer, teamId: string): boolean =>
  viewer.kind === 'API_KEY' ? viewer.teamId === teamId : viewer.roles.has(teamId);
