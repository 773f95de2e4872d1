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

export type PlacementStrategy = 'round-robin';

/** In the order in which they are asked; the names are part of the API. */
export const PLACEMENT_FILTERS = ['requested-host', 'status', 'tunnel', 'cordoned', 'runtime', 'capacity'] as const;
export type PlacementFilter = (typeof PLACEMENT_FILTERS)[number];
