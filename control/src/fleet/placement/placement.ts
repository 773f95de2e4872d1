/** Why a sandbox is where it is; kept with the sandbox. */
export interface Placement {
  strategy: PlacementStrategy;
  /** Hosts that passed every filter at the moment of the decision. */
  candidates: number;
  rejections: PlacementRejection[];
}

/** How many hosts one filter turned away. A host is counted under the first filter it fails. */
export interface PlacementRejection {
  filter: PlacementFilter;
  hosts: number;
}

export const PLACEMENT_STRATEGIES = ['ROUND_ROBIN'] as const;
export type PlacementStrategy = (typeof PLACEMENT_STRATEGIES)[number];

/** In the order in which they are asked; the names are part of the API. */
export const PLACEMENT_FILTERS = ['REQUESTED_HOST', 'STATUS', 'TUNNEL', 'CORDONED', 'RUNTIME', 'CAPACITY'] as const;
export type PlacementFilter = (typeof PLACEMENT_FILTERS)[number];
