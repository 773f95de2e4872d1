import { sql, type RawBuilder } from 'kysely';
import type { PlacementStrategyName } from './placement.ts';

/** Which of the hosts that fit is taken. */
export interface PlacementStrategy {
  readonly name: PlacementStrategyName;
  /** Over a row of `hosts` called `host`: the best comes first. */
  readonly order: RawBuilder<unknown>;
  /** Why it was the best, as a number for people; see {@link Placement.score}. */
  readonly score: RawBuilder<number | null>;
  /** Of several sandboxes at once: one for each of the best hosts, or as many as the best one holds. */
  readonly several: 'SPREAD' | 'FILL';
}

/** Share of a host that is promised: of its CPUs or its memory, whichever is scarcer. */
const LOAD = sql<number>`greatest(host.allocated_milli_vcpus / nullif(host.cpu_cores * 1000.0::float8, 0),
  host.allocated_memory_mb / nullif(host.memory_mb::float8, 0))`;

const STRATEGIES: Readonly<Record<PlacementStrategyName, PlacementStrategy>> = {
  /** The host whose last sandbox is the longest ago. Scored by how long, in seconds. */
  ROUND_ROBIN: {
    name: 'ROUND_ROBIN',
    order: sql`host.last_placement`,
    score: sql`case when host.last_placement > 0
      then extract(epoch from clock_timestamp()) - host.last_placement / 1000000.0 end::float8`,
    several: 'SPREAD',
  },
  /** The emptiest host. Scored by its free share. */
  LEAST_LOADED: {
    name: 'LEAST_LOADED',
    order: sql`${LOAD}, host.last_placement`,
    score: sql`1 - ${LOAD}`,
    several: 'SPREAD',
  },
  /** The fullest host that still has room, so that others run empty. Scored by its promised share. */
  BIN_PACK: { name: 'BIN_PACK', order: sql`${LOAD} desc nulls last, host.id`, score: LOAD, several: 'FILL' },
};

export const placementStrategy = (name: PlacementStrategyName): PlacementStrategy => STRATEGIES[name];
