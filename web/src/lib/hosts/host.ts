import type { HostConditionType, HostFieldsFragment, HostKind, HostStatus } from '#lib/gql/generated/graphql.ts';
import { isLive, type Sandbox } from '#lib/sandboxes/sandbox.ts';
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
  CREDENTIALS_CLONED: 'Used by two machines',
  CREATES_FAILING: 'Creates keep failing',
  DELETING: 'Being deleted',
  DISK_PRESSURE: 'Disk pressure',
  DRAINING: 'Draining',
  HEARTBEAT_MISSED: 'Not heard',
  LEFT: 'Left the fleet',
  MEMORY_PRESSURE: 'Memory pressure',
  NOT_REGISTERED: 'Not registered yet',
  NO_RUNTIME: 'No runtime',
  SANDBOX_RECORD_DAMAGED: 'Sandbox record damaged',
  TUNNEL_DOWN: 'Not connected',
  VERSION_SKEW: 'Version skew',
};

export function hasCondition(host: Pick<Host, 'conditions'>, wanted: HostConditionType): boolean {
  return host.conditions.some(({ type }) => type === wanted);
}

/** Whether it was cordoned, by somebody or by a drain. */
export const isCordoned = (host: Host): boolean => hasCondition(host, 'CORDONED');

/** How a host is, in a word. One that was taken out of the fleet is silent on purpose. */
export function hostStanding(host: Pick<Host, 'status' | 'conditions'>): {
  label: string;
  tone: Tone;
  meaning: string;
} {
  return hasCondition(host, 'LEFT')
    ? { label: 'Left', tone: 'idle', meaning: 'Its operator took it out of the fleet; a new token brings it back.' }
    : hostStatus[host.status];
}

const joinWarnings: Readonly<Record<string, string>> = {
  AGENT_NOT_BUILT: 'There is no agent to download.',
  AGENT_URL_LOCAL: 'The command works on this server only.',
  AGENT_URL_UNREACHABLE: 'The address in the command does not answer.',
};

/** Why a join command may not work, in a few words; empty for what this build does not know. */
export const joinWarning = (code: string): string => joinWarnings[code] ?? '';

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

const advice: Readonly<Record<string, string>> = {
  BYOC_DISABLED: 'A platform admin can enable BYOC for the team.',
  CREATES_FAILING:
    'A small test sandbox is started here now and then. As soon as one runs, the host takes sandboxes again by itself.',
  DISK_PRESSURE: 'Free some disk space on the machine.',
  HEARTBEAT_MISSED: 'Check that the machine is on and reaches the network, and what “rookery-agent status” says on it.',
  MEMORY_PRESSURE: 'Stop or pause some sandboxes, or give the machine more memory.',
  NOT_REGISTERED:
    'Run the join command on the machine. If it is lost or has expired, make a new token under Credentials.',
  NO_RUNTIME: 'Run “rookery-agent doctor” on the machine: it says what to install.',
  TUNNEL_DOWN: 'That mends itself within seconds, unless something on the way cuts long connections.',
};

/** What there is to do about a condition; null where its message says it, or this build does not know it. */
export const conditionAdvice = (type: HostConditionType): string | null => advice[type] ?? null;

/** What a drain still has to move out of the way, among the sandboxes on its host. */
export function leftToDrain<T extends Pick<Sandbox, 'status'>>(
  drain: Pick<NonNullable<Host['drain']>, 'policy' | 'state'>,
  sandboxes: readonly T[],
): readonly T[] {
  if (drain.state !== 'RUNNING' && drain.state !== 'FAILED') return [];
  return sandboxes.filter((sandbox) => isLive(sandbox) && (drain.policy === 'DESTROY' || sandbox.status !== 'PAUSED'));
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
