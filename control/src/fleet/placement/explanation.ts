import { sql, type Kysely } from 'kysely';
import { LRUCache } from 'lru-cache';
import type { FleetTables } from '../tables.ts';
import { couldEverHold, eligible, placementFilters } from './filters.ts';
import {
  PLACEMENT_FILTERS,
  type PlacementFilter,
  type PlacementRejection,
  type PlacementRequest,
} from './placement.ts';

/** How the hosts that a team could use fare against a request. */
export interface Explanation {
  /** Hosts that were counted. */
  readonly considered: number;
  /** Whether there are more. */
  readonly sampled: boolean;
  readonly candidates: number;
  readonly rejections: PlacementRejection[];
  /** Whether no host could hold it even when empty. */
  readonly never: boolean;
}

/** Hosts counted to explain a placement that went well. More explains more, and costs every create some microseconds each. */
const SAMPLE = 200;

/** How old the explanation of a placement that went well may be, in ms: a burst of like requests is explained once. */
const FRESH_FOR_MS = 1_000;

/** Kinds of requests that are explained at the same time; one more is counted anew. */
const KINDS_KEPT = 1_000;

/**
 * Counts each host under the first filter that it fails.
 *
 * @param limit hosts looked at; all when it is not given.
 */
export async function explain(
  query: Kysely<FleetTables>,
  request: PlacementRequest,
  cpuOvercommit: number,
  limit?: number,
): Promise<Explanation> {
  const checks = placementFilters(request, cpuOvercommit);
  const firstFailed = sql.join(
    PLACEMENT_FILTERS.map((name) => sql`when not coalesce(${checks[name]}, false) then ${name}::text`),
    sql` `,
  );
  const { rows } = await sql<{ filter: PlacementFilter | null; hosts: string; couldEver: boolean }>`
    select case ${firstFailed} end as filter, count(*) as hosts,
      bool_or(coalesce(${couldEverHold(request, cpuOvercommit)}, true)) as "couldEver"
    from (select * from hosts as host where ${eligible(request.teamId)} limit ${limit === undefined ? null : limit + 1}) as host
    group by 1`.execute(query);
  const count = (filter: PlacementFilter | null): number =>
    Number(rows.find((row) => row.filter === filter)?.hosts ?? 0);
  const considered = rows.reduce((sum, row) => sum + Number(row.hosts), 0);
  return {
    considered,
    sampled: limit !== undefined && considered > limit,
    candidates: count(null),
    rejections: PLACEMENT_FILTERS.map((filter) => ({ filter, hosts: count(filter) })).filter(({ hosts }) => hosts > 0),
    never: rows.length > 0 && !rows.some((row) => !CHOSEN_BY_ASKER.has(row.filter) && row.couldEver),
  };
}

/** Filters that say nothing about whether another request of this size could ever be placed. */
const CHOSEN_BY_ASKER: ReadonlySet<PlacementFilter | null> = new Set(['REQUESTED_HOST', 'ARCH', 'LABELS', 'TEMPLATE']);

/** Explains placements that went well: roughly and rarely, because nobody waits for it. */
export class Explainer {
  readonly #known = new LRUCache<string, Promise<Explanation>>({ max: KINDS_KEPT, ttl: FRESH_FOR_MS });

  explain(query: Kysely<FleetTables>, request: PlacementRequest, cpuOvercommit: number): Promise<Explanation> {
    const kind = JSON.stringify(request);
    const known = this.#known.get(kind);
    if (known) return known;
    const explanation = explain(query, request, cpuOvercommit, SAMPLE);
    this.#known.set(kind, explanation);
    // A failure is not remembered.
    explanation.catch(() => this.#known.delete(kind));
    return explanation;
  }
}
