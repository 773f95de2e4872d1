import type { HostObservation, HostState } from '../src/fleet/hosts/host-lifecycle.state.ts';
import { HOST_KINDS, HOST_STATUSES } from '../src/fleet/hosts/host.state.ts';

export const EARLIER = new Date('2026-01-01T00:00:00Z');
/** The control process that speaks in {@link observation}. */
export const REPLICA = '018f0000-0000-7000-8000-000000000001';
export const OTHER_REPLICA = '018f0000-0000-7000-8000-000000000002';

const MOMENTS = [
  'registeredAt',
  'cordonedAt',
  'leftAt',
  'deletingAt',
  'deletedAt',
  'quarantinedAt',
  'drainingSince',
  'byocDisabledAt',
] as const;

/** Every combination of what a host's row can say, possible or not: a function that is right for all is right for those that occur. */
export function everyHostState(): HostState[] {
  let states: Partial<HostState>[] = [{}];
  const times = (choices: readonly Partial<HostState>[]): void => {
    states = states.flatMap((state) => choices.map((choice) => ({ ...state, ...choice })));
  };
  times(HOST_STATUSES.map((status) => ({ status })));
  times(HOST_KINDS.map((kind) => ({ kind })));
  times([null, REPLICA, OTHER_REPLICA].map((tunnelReplica) => ({ tunnelReplica })));
  for (const moment of MOMENTS) times([{ [moment]: null }, { [moment]: EARLIER }]);
  times([
    { createFailures: 0, lastCreateError: null, createsFailingSince: null },
    { createFailures: 2, lastCreateError: 'earlier', createsFailingSince: null },
    { createFailures: 3, lastCreateError: 'earlier', createsFailingSince: EARLIER },
  ]);
  return states as HostState[];
}

export function observation(type: HostObservation['type']): HostObservation {
  if (type === 'TUNNEL_UP' || type === 'TUNNEL_DOWN') return { type, replicaId: REPLICA };
  if (type === 'CREATE_FAILED') return { type, error: 'no space' };
  return { type };
}
