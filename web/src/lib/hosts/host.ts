import type { HostConditionType, HostFieldsFragment, HostKind, HostStatus } from '#lib/gql/generated/graphql.ts';
import type { Viewer } from '#lib/session/session.svelte.ts';
import type { Tone } from '#lib/ui/tone.ts';

/** A host as the dashboard knows it. */
export type Host = HostFieldsFragment;
export type HostCondition = Host['conditions'][number];

export const hostStatus: Record<HostStatus, { label: string; tone: Tone; meaning: string }> = {
  PENDING: { label: 'Pending', tone: 'idle', meaning: 'Waiting for the agent to join with its token.' },
  ONLINE: { label: 'Online', tone: 'ok', meaning: 'The agent is heard.' },
  UNREACHABLE: { label: 'Unreachable', tone: 'warn', meaning: 'The agent has not been heard for a while.' },
};

export const hostKind: Record<HostKind, { label: string; tone: Tone }> = {
  PLATFORM: { label: 'Platform', tone: 'info' },
  BYOC: { label: 'BYOC', tone: 'idle' },
};

/** Typed by string, so that a server that is older or newer than this build does not break it. */
const conditionLabels: Readonly<Record<string, string>> = {
  BYOC_DISABLED: 'BYOC is off',
  CORDONED: 'Cordoned',
  CREATES_FAILING: 'Creates keep failing',
  DELETING: 'Being deleted',
  DISK_PRESSURE: 'Disk pressure',
  DRAINING: 'Draining',
  HEARTBEAT_MISSED: 'Heartbeat missed',
  MEMORY_PRESSURE: 'Memory pressure',
  NOT_REGISTERED: 'Not registered yet',
  NO_RUNTIME: 'No runtime',
  SANDBOX_RECORD_DAMAGED: 'Sandbox record damaged',
  TUNNEL_DOWN: 'Tunnel down',
  VERSION_SKEW: 'Version skew',
};

/** Whether it was cordoned, by somebody or by a drain. */
export const isCordoned = (host: Host): boolean => host.conditions.some(({ type }) => type === 'CORDONED');

export const drainState: Record<NonNullable<Host['drain']>['state'], { label: string; tone: Tone }> = {
  RUNNING: { label: 'Draining', tone: 'info' },
  COMPLETED: { label: 'Drained', tone: 'ok' },
  FAILED: { label: 'Drain failed', tone: 'bad' },
  CANCELLED: { label: 'Drain cancelled', tone: 'idle' },
};

/** A condition this build does not know yet still has a name worth showing. */
export function conditionLabel(type: HostConditionType): string {
  return conditionLabels[type] ?? type.toLowerCase().replaceAll('_', ' ');
}

/** "gVisor 1.0" reads better than two columns. */
export function runtimeLabel(host: Host): string | null {
  return host.runtime ? `${host.runtime.name} ${host.runtime.version}` : null;
}

/**
 * Whether to offer what changes a host. Only a courtesy: the server decides, and says so when they differ.
 */
export function mayManage(viewer: Viewer | null, host: Host): boolean {
  if (!viewer) return false;
  if (viewer.isAdmin) return true;
  return viewer.memberships.some(({ team, role }) => team.id === host.team?.id && role !== 'MEMBER');
}

/** What a host is found by. */
export function hostWords(host: Host): readonly (string | null | undefined)[] {
  return [host.name, host.teamName, host.kind, host.status, host.runtime?.name, host.arch];
}
