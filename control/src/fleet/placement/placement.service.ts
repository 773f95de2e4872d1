import { sql } from 'kysely';
import { UserError } from '../../kernel/user-errors.ts';
import type { FleetTransaction, HostRow } from '../tables.ts';
import { explain, Explainer, type Explanation } from './explanation.ts';
import { inPool, PLATFORM_POOL, placementFilters } from './filters.ts';
import {
  PLACEMENT_FILTERS,
  type Placement,
  type PlacementFilter,
  type PlacementRejection,
  type PlacementRequest,
  type PlacementStrategyName,
} from './placement.ts';
import { placementStrategy, type PlacementStrategy } from './strategies.ts';

/** No host takes the sandbox; says which filter turned away how many. */
export class NoHostFits extends UserError {
  readonly candidates: number;
  readonly rejections: PlacementRejection[];
  /** Whether no host could hold it even when empty. */
  readonly never: boolean;

  constructor({ considered, rejections, never }: Pick<Explanation, 'considered' | 'rejections' | 'never'>) {
    super('NO_HOST_FITS', describeRefusal(considered, rejections, never));
    this.candidates = considered;
    this.rejections = rejections;
    this.never = never;
  }
}

/**
 * How often a placement looks again when every host that fits is being placed on by somebody else at
 * that moment. Each of those takes some milliseconds; running out means hundreds won in between.
 */
const TRIES = 100;

/** Longest pause between two looks, in ms; the actual one is random, so that rivals do not stay in step. */
const MAX_PAUSE_MS = 15;

/**
 * Hosts that fit, of each pool, from which the strategy takes the best. They are found from a random
 * place on, so that concurrent placements look at different ones: the strategy is exact among so many
 * hosts, and beyond that as good as the best of a random choice. More makes it more exact and slower.
 */
const CHOICE = 32;

export interface PlacementsOptions {
  readonly strategy: PlacementStrategyName;
  /** Virtual CPUs that may be promised for each core. */
  readonly cpuOvercommit: number;
}

/** Finds places for sandboxes. */
export class Placements {
  readonly #strategy: PlacementStrategy;
  readonly #cpuOvercommit: number;
  readonly #explainer = new Explainer();

  constructor({ strategy, cpuOvercommit }: PlacementsOptions) {
    this.#strategy = placementStrategy(strategy);
    this.#cpuOvercommit = cpuOvercommit;
  }

  /**
   * Picks a host and reserves what the sandbox needs on it, in one statement inside the caller's
   * transaction. The capacity is checked on the locked row, so no concurrency can overbook a host.
   *
   * Hosts that somebody else is placing on are passed over, never waited for: a transaction that queued
   * for one host while it held another's lock could deadlock with its mirror image.
   *
   * @param tries looks before it gives up on hosts that fit and are being placed on by somebody else.
   * @returns the host after the reservation, and why it was chosen.
   * @throws {NoHostFits}
   */
  async reserve(
    tx: FleetTransaction,
    request: PlacementRequest,
    tries = TRIES,
  ): Promise<{ host: HostRow; placement: Placement }> {
    // Before a host is locked, so that it costs the lock no time.
    const explanation = await this.#explainer.explain(tx, request, this.#cpuOvercommit);
    for (let attempt = 1; ; attempt++) {
      const found = await this.#tryReserve(tx, request);
      if (found) return { host: found.host, placement: this.#placement(request, found.score, explanation) };
      const refusal = await explain(tx, request, this.#cpuOvercommit);
      if (refusal.candidates === 0 || attempt === tries) throw new NoHostFits(refusal);
      await new Promise((wake) => setTimeout(wake, 1 + Math.random() * MAX_PAUSE_MS));
    }
  }

  #placement(request: PlacementRequest, score: number | null, explanation: Explanation): Placement {
    const { considered, sampled, candidates, rejections } = explanation;
    return {
      strategy: this.#strategy.name,
      score,
      // It may have been counted before the host came, and the host was one.
      candidates: Math.max(candidates, 1),
      rejections,
      considered: Math.max(considered, 1),
      sampled,
      constraints: request.constraints,
      failedAttempts: [],
    };
  }

  async #tryReserve(
    tx: FleetTransaction,
    request: PlacementRequest,
  ): Promise<{ host: HostRow; score: number | null } | undefined> {
    const { order, score } = this.#strategy;
    const fits = sql.join(Object.values(placementFilters(request, this.#cpuOvercommit)), sql` and `);
    const { hostId } = request.constraints;
    const candidates =
      hostId === null
        ? sql`${someOf(PLATFORM_POOL, fits)} union all ${someOf(request.teamId, fits)}`
        : sql`select ${hostId}::uuid as id`;
    const { rows } = await sql<{ id: string; score: number | null }>`
      with chosen as (
        select host.id, ${score} as score from hosts as host
        where host.id = any(array(${candidates})) and ${fits}
          and host.deleted_at is null and (host.team_id is null or host.team_id = ${request.teamId}::uuid)
        order by ${order}, host.id
        limit 1
        for update skip locked
      )
      update hosts as host set
        allocated_sandboxes = host.allocated_sandboxes + 1,
        allocated_milli_vcpus = host.allocated_milli_vcpus + ${request.milliVcpus},
        allocated_memory_mb = host.allocated_memory_mb + ${request.memoryMb},
        allocated_disk_mb = host.allocated_disk_mb + ${request.diskMb},
        last_placement = (extract(epoch from clock_timestamp()) * 1000000)::bigint,
        revision = host.revision + 1
      from chosen where host.id = chosen.id
      returning host.id, chosen.score`.execute(tx);
    const [chosen] = rows;
    if (!chosen) return undefined;
    const host = await tx.selectFrom('Host').selectAll().where('id', '=', chosen.id).executeTakeFirstOrThrow();
    return { host, score: chosen.score };
  }
}

/** Up to {@link CHOICE} hosts of a pool that fit, from a random place of the pool on and round. */
function someOf(poolId: string, fits: ReturnType<typeof sql>) {
  const start = Math.floor(Math.random() * 2 ** 32) - 2 ** 31;
  const part = (side: '>=' | '<') => sql`(select host.id from hosts as host
    where ${inPool(poolId)} and uuid_hash("id") ${sql.raw(side)} ${start}::int and ${fits}
    order by uuid_hash("id") limit ${CHOICE})`;
  return sql`(select id from (${part('>=')} union all ${part('<')}) as pool limit ${CHOICE})`;
}

const FILTER_WORDS: Record<PlacementFilter, string> = {
  REQUESTED_HOST: 'not the requested host',
  STATUS: 'not online',
  TUNNEL: 'tunnel down',
  CORDONED: 'cordoned or being deleted',
  BYOC_DISABLED: 'of a team that may not bring hosts any more',
  RUNTIME: 'no usable runtime',
  CREATES_FAILING: 'failing to start sandboxes',
  FAILED_BEFORE: 'failed to start this one',
  ARCH: 'another architecture',
  LABELS: 'without the labels',
  TEMPLATE: 'without the template',
  CAPACITY: 'not enough free capacity',
};

function describeRefusal(hosts: number, rejections: readonly PlacementRejection[], never: boolean): string {
  if (hosts === 0) return 'No host takes this sandbox: the team has none, and neither has the platform.';
  const reasons = PLACEMENT_FILTERS.flatMap((name) => rejections.filter(({ filter }) => filter === name))
    .map(({ filter, hosts: count }) => `${count} ${FILTER_WORDS[filter]}`)
    .join(', ');
  return never
    ? `No host could ever hold this sandbox, not even an empty one (${reasons}).`
    : `No host can take this sandbox right now (of ${hosts}: ${reasons}).`;
}
