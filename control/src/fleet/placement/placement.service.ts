import { sql } from 'kysely';
import { UserError } from '../../kernel/user-errors.ts';
import type { FleetTransaction, HostRow } from '../tables.ts';
import { explain, Explainer, type Explanation } from './explanation.ts';
import { eligible, inPool, PLATFORM_POOL, placementFilters, roomFor } from './filters.ts';
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
export const TRIES = 100;

/** Longest pause between two looks, in ms; the actual one is random, so that rivals do not stay in step. */
const MAX_PAUSE_MS = 15;

/** Some milliseconds, until whoever holds the hosts that fit is done. */
export const pause = (): Promise<void> => new Promise((wake) => setTimeout(wake, 1 + Math.random() * MAX_PAUSE_MS));

/** What there is to say when nobody was asked. */
const NOBODY = { considered: 0, rejections: [], never: false };

/**
 * Hosts that fit, of each pool, from which the strategy takes the best. They are found from a random
 * place on, so that concurrent placements look at different ones: the strategy is exact among so many
 * hosts, and beyond that as good as the best of a random choice. More makes it more exact and slower.
 */
const CHOICE = 32;

/** A place, or why there is none. `busy`: there is one, and somebody else is placing on its host at the moment. */
export type PlacementOutcome =
  | { readonly hostId: string; readonly placement: Placement }
  | { readonly refusal: Explanation; readonly busy: boolean };

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
    for (let attempt = 1; ; attempt++) {
      const [outcome] = await this.reserveAll(tx, [request]);
      if (outcome && 'hostId' in outcome) {
        const { hostId, placement } = outcome;
        const host = await tx.selectFrom('Host').selectAll().where('id', '=', hostId).executeTakeFirstOrThrow();
        return { host, placement };
      }
      if (!outcome?.busy || attempt === tries) throw new NoHostFits(outcome?.refusal ?? NOBODY);
      await pause();
    }
  }

  /**
   * The same for several sandboxes, with a statement for each kind of them; one look each.
   *
   * @returns an outcome for each request.
   */
  async reserveAll(tx: FleetTransaction, requests: readonly PlacementRequest[]): Promise<PlacementOutcome[]> {
    const outcomes: PlacementOutcome[] = [];
    const kinds = Map.groupBy(requests.keys(), (index) => JSON.stringify(requests[index]));
    for (const indexes of kinds.values()) {
      const request = requests[indexes[0] as number] as PlacementRequest;
      // Before a host is locked, so that it costs the lock no time.
      const explanation = await this.#explainer.explain(tx, request, this.#cpuOvercommit);
      const waiting = [...indexes];
      while (waiting.length > 0) {
        const places = await this.#tryReserve(tx, request, waiting.length);
        if (places.length === 0) break;
        for (const { id, score, taken } of places) {
          const placement = this.#placement(request, score, explanation);
          for (const index of waiting.splice(0, taken)) outcomes[index] = { hostId: id, placement };
        }
      }
      if (waiting.length === 0) continue;
      const refusal = await explain(tx, request, this.#cpuOvercommit);
      for (const index of waiting) outcomes[index] = { refusal, busy: refusal.candidates > 0 };
    }
    return outcomes;
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

  /** Reserves up to `count` places, all on hosts that nobody else is placing on. */
  async #tryReserve(
    tx: FleetTransaction,
    request: PlacementRequest,
    count: number,
  ): Promise<{ id: string; score: number | null; taken: number }[]> {
    const { order, score, several } = this.#strategy;
    const fits = sql.join(Object.values(placementFilters(request, this.#cpuOvercommit)), sql` and `);
    const { hostId } = request.constraints;
    const choice = Math.max(CHOICE, count);
    const candidates =
      hostId === null
        ? sql`${someOf(PLATFORM_POOL, fits, choice)} union all ${someOf(request.teamId, fits, choice)}`
        : sql`select ${hostId}::uuid as id`;
    const taken = several === 'FILL' ? sql`least(${count}::int, ${roomFor(request, this.#cpuOvercommit)})` : sql`1`;
    const { rows } = await sql<{ id: string; score: number | null; taken: number }>`
      with chosen as (
        select host.id, ${score} as score, ${taken} as taken from hosts as host
        where host.id = any(array(${candidates})) and ${fits} and ${eligible(request.teamId)}
        order by ${order}, host.id
        limit ${several === 'FILL' ? 1 : count}
        for update skip locked
      )
      update hosts as host set
        allocated_sandboxes = host.allocated_sandboxes + chosen.taken,
        allocated_milli_vcpus = host.allocated_milli_vcpus + chosen.taken * ${request.milliVcpus},
        allocated_memory_mb = host.allocated_memory_mb + chosen.taken * ${request.memoryMb},
        allocated_disk_mb = host.allocated_disk_mb + chosen.taken * ${request.diskMb},
        last_placement = (extract(epoch from clock_timestamp()) * 1000000)::bigint,
        revision = host.revision + 1
      from chosen where host.id = chosen.id
      returning host.id, chosen.score, chosen.taken`.execute(tx);
    return rows;
  }
}

/** Hosts of a pool that fit, from a random place of the pool on and round. */
function someOf(poolId: string, fits: ReturnType<typeof sql>, choice: number) {
  const start = Math.floor(Math.random() * 2 ** 32) - 2 ** 31;
  const part = (side: '>=' | '<') => sql`(select host.id from hosts as host
    where ${inPool(poolId)} and uuid_hash("id") ${sql.raw(side)} ${start}::int and ${fits}
    order by uuid_hash("id") limit ${choice})`;
  return sql`(select id from (${part('>=')} union all ${part('<')}) as pool limit ${choice})`;
}

const FILTER_WORDS: Record<PlacementFilter, string> = {
  REQUESTED_HOST: 'not the requested host',
  STATUS: 'not online',
  TUNNEL: 'tunnel down',
  CORDONED: 'cordoned, quarantined or being deleted',
  BYOC_DISABLED: 'of a team that may not bring hosts any more',
  RUNTIME: 'no usable runtime or agent',
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
