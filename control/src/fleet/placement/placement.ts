import type { Label } from '../hosts/host.entity.ts';

/** Why a sandbox is where it is; kept with the sandbox. */
export interface Placement {
  strategy: PlacementStrategyName;
  /** What the strategy ranked the host by; the highest wins. Null for one that was never placed on. */
  score: number | null;
  /** Of the hosts that were counted, those that passed every filter. */
  candidates: number;
  rejections: PlacementRejection[];
  /** Hosts that were counted. */
  considered: number;
  /** Whether there are more hosts than were counted. */
  sampled: boolean;
  /** What was asked for, so that another host can be found when this one fails. */
  constraints: PlacementConstraints;
  /** Hosts that it was placed on before, and that failed to start it. */
  failedAttempts: FailedAttempt[];
}

/** What its owner asks of a sandbox's host. */
export interface PlacementConstraints {
  /** Only this host. */
  hostId: string | null;
  /** Only hosts of this architecture, as the machine calls it: `x86_64`. */
  arch: string | null;
  /** Only hosts that carry all of these. */
  labels: Label[];
}

export interface FailedAttempt {
  hostId: string;
  error: string;
}

/** How many hosts one filter turned away. A host is counted under the first filter it fails. */
export interface PlacementRejection {
  filter: PlacementFilter;
  hosts: number;
}

export const PLACEMENT_STRATEGIES = ['ROUND_ROBIN', 'LEAST_LOADED', 'BIN_PACK'] as const;
export type PlacementStrategyName = (typeof PLACEMENT_STRATEGIES)[number];

/** In the order in which they are asked; the names are part of the API. */
export const PLACEMENT_FILTERS = [
  'REQUESTED_HOST',
  'STATUS',
  'TUNNEL',
  'CORDONED',
  'BYOC_DISABLED',
  'RUNTIME',
  'CREATES_FAILING',
  'FAILED_BEFORE',
  'ARCH',
  'LABELS',
  'TEMPLATE',
  'CAPACITY',
] as const;
export type PlacementFilter = (typeof PLACEMENT_FILTERS)[number];

/** What a sandbox needs of a host. */
export interface PlacementRequest {
  readonly teamId: string;
  readonly template: string;
  readonly milliVcpus: number;
  readonly memoryMb: number;
  readonly diskMb: number;
  readonly constraints: PlacementConstraints;
  /** Hosts that have failed to start it. */
  readonly failedHostIds: readonly string[];
}
