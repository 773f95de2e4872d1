/**
 * What a host can be, and why it takes no new sandboxes. Pure: rows in, answers out.
 *
 * "What the host says" (its conditions) and "can we hear the host" (its status, its tunnel) are
 * separate facts and stay separate here.
 */

import { versionSkew } from './agent-version.ts';

export const HOST_KINDS = ['PLATFORM', 'BYOC'] as const;
export type HostKind = (typeof HOST_KINDS)[number];

export const HOST_STATUSES = ['PENDING', 'ONLINE', 'UNREACHABLE'] as const;
export type HostStatus = (typeof HOST_STATUSES)[number];

/** Conditions that an agent reports about its own machine. */
export const AGENT_CONDITION_TYPES = [
  'NO_RUNTIME',
  'DISK_PRESSURE',
  'MEMORY_PRESSURE',
  'SANDBOX_RECORD_DAMAGED',
] as const;
export type AgentConditionType = (typeof AGENT_CONDITION_TYPES)[number];

export interface AgentCondition {
  type: AgentConditionType;
  message: string;
}

export const HOST_CONDITION_TYPES = [
  ...AGENT_CONDITION_TYPES,
  'BYOC_DISABLED',
  'CORDONED',
  'CREDENTIALS_CLONED',
  'CREATES_FAILING',
  'DELETING',
  'DRAINING',
  'HEARTBEAT_MISSED',
  'LEFT',
  'NOT_REGISTERED',
  'TUNNEL_DOWN',
  'VERSION_SKEW',
] as const;
export type HostConditionType = (typeof HOST_CONDITION_TYPES)[number];

/** One thing that is wrong with a host or keeps it out of placement. */
export interface HostCondition {
  type: HostConditionType;
  message: string;
  /** Whether new sandboxes stay away because of it. */
  blocksPlacement: boolean;
}

/** The facts of a host's row that conditions follow from. */
export interface HostFacts {
  readonly status: HostStatus;
  readonly runtimeName: string | null;
  readonly agentVersion: string | null;
  readonly agentConditions: readonly AgentCondition[];
  readonly tunnelReplica: string | null;
  readonly cordonedAt: Date | null;
  readonly leftAt: Date | null;
  readonly deletingAt: Date | null;
  readonly quarantinedAt: Date | null;
  readonly drainingSince: Date | null;
  readonly byocDisabledAt: Date | null;
  readonly createFailures: number;
  readonly lastCreateError: string | null;
  readonly createsFailingSince: Date | null;
}

const BYOC_DISABLED = 'The team may not bring its own hosts any more.';
const CORDONED = 'The host was cordoned: it takes no new sandboxes.';

/** All that keeps a host from being simply fine, most telling first. */
export function hostConditions(host: HostFacts): HostCondition[] {
  const conditions: HostCondition[] = [];
  const blocked = (type: HostConditionType, message: string): void => {
    conditions.push({ type, message, blocksPlacement: true });
  };

  if (host.deletingAt) blocked('DELETING', 'The host is being deleted.');
  if (host.status === 'PENDING') {
    blocked('NOT_REGISTERED', 'No agent has joined with this host’s token yet.');
    // What people have decided holds before the machine comes; what the machine would say does not.
    if (host.byocDisabledAt) blocked('BYOC_DISABLED', BYOC_DISABLED);
    if (host.cordonedAt) blocked('CORDONED', CORDONED);
    return conditions;
  }
  if (host.leftAt) blocked('LEFT', 'Its operator took the host out of the fleet; a new token brings it back.');
  else if (host.status === 'UNREACHABLE')
    blocked('HEARTBEAT_MISSED', 'Nothing has been heard from the host for too long.');
  else if (host.tunnelReplica === null)
    blocked('TUNNEL_DOWN', 'Control cannot reach the agent through its tunnel yet.');
  if (host.quarantinedAt)
    blocked(
      'CREDENTIALS_CLONED',
      'Two machines have used this host’s credentials; make a new registration token and join with it on the one that is the host.',
    );
  if (host.byocDisabledAt) blocked('BYOC_DISABLED', BYOC_DISABLED);
  if (host.drainingSince) blocked('DRAINING', 'Its sandboxes are being moved out of the way.');
  if (host.cordonedAt) blocked('CORDONED', CORDONED);
  if (host.createsFailingSince) {
    blocked(
      'CREATES_FAILING',
      `The last ${host.createFailures} sandboxes could not be started here: ${host.lastCreateError ?? 'no reason was given'}. It is tried again from time to time.`,
    );
  }
  const skew = versionSkew(host.agentVersion);
  if (skew) conditions.push({ type: 'VERSION_SKEW', message: skew.message, blocksPlacement: skew.isIncompatible });
  for (const { type, message } of host.agentConditions) {
    conditions.push({ type, message, blocksPlacement: type === 'NO_RUNTIME' || type === 'DISK_PRESSURE' });
  }
  if (host.runtimeName === null && !host.agentConditions.some(({ type }) => type === 'NO_RUNTIME')) {
    blocked('NO_RUNTIME', 'The host has no OCI runtime.');
  }
  return conditions;
}

/** Whether new sandboxes may be placed on the host, capacity aside. */
export function isSchedulable(host: HostFacts): boolean {
  return !hostConditions(host).some((condition) => condition.blocksPlacement);
}
