import { formatNumber } from '#lib/ui/format.ts';
import type { SandboxFieldsFragment, SandboxStatus } from '#lib/gql/generated/graphql.ts';
import type { Tone } from '#lib/ui/tone.ts';

/** A sandbox as the dashboard knows it. */
export type Sandbox = SandboxFieldsFragment;

/** `moving`: on its way to another status by itself, so the row shows a spinner. */
export const sandboxStatus: Record<SandboxStatus, { label: string; tone: Tone; moving?: true }> = {
  PENDING: { label: 'Pending', tone: 'info', moving: true },
  STARTING: { label: 'Starting', tone: 'info', moving: true },
  RUNNING: { label: 'Running', tone: 'ok' },
  PAUSING: { label: 'Pausing', tone: 'info', moving: true },
  PAUSED: { label: 'Paused', tone: 'idle' },
  RESUMING: { label: 'Resuming', tone: 'info', moving: true },
  STOPPING: { label: 'Stopping', tone: 'info', moving: true },
  STOPPED: { label: 'Stopped', tone: 'idle' },
  MISSING: { label: 'Missing', tone: 'warn' },
  ERROR: { label: 'Error', tone: 'bad' },
};

/** What a sandbox was when its host was last heard, as "was running"; null unless it is missing. */
export function wasBefore({
  status,
  statusBeforeMissing,
}: Pick<Sandbox, 'status' | 'statusBeforeMissing'>): string | null {
  if (status !== 'MISSING' || !statusBeforeMissing) return null;
  return `was ${sandboxStatus[statusBeforeMissing].label.toLowerCase()}`;
}

/** "5 min" of inactivity until it is paused, or "Never". */
export function idleTimeout({ timeoutSeconds }: Pick<Sandbox, 'timeoutSeconds'>): string {
  if (timeoutSeconds === null) return 'Never';
  if (timeoutSeconds % 3_600 === 0) return `${formatNumber(timeoutSeconds / 3_600)} h`;
  return timeoutSeconds % 60 === 0 ? `${formatNumber(timeoutSeconds / 60)} min` : `${formatNumber(timeoutSeconds)} s`;
}

/** Whether it still holds resources on a host. */
export function isLive(sandbox: Pick<Sandbox, 'status'>): boolean {
  return sandbox.status !== 'STOPPED' && sandbox.status !== 'ERROR';
}

/** Which of pausing and resuming to offer, if any; the server decides. */
export function pauseOrResume(sandbox: Pick<Sandbox, 'status'>): 'pause' | 'resume' | null {
  if (sandbox.status === 'PAUSED' || sandbox.status === 'PAUSING') return 'resume';
  return sandbox.status === 'RUNNING' || sandbox.status === 'RESUMING' ? 'pause' : null;
}

/** Names of the placement filters in words; one that this build does not know is shown as it is. */
const filterLabels: Readonly<Record<string, string>> = {
  ARCH: 'Another architecture',
  BYOC_DISABLED: 'BYOC is off for its team',
  CAPACITY: 'Not enough free capacity',
  CORDONED: 'Cordoned',
  CREATES_FAILING: 'Creates keep failing there',
  FAILED_BEFORE: 'This sandbox has failed there',
  LABELS: 'Other labels',
  REQUESTED_HOST: 'Not the chosen host',
  RUNTIME: 'No runtime',
  STATUS: 'Not online',
  TEMPLATE: 'Without the template',
  TUNNEL: 'Tunnel down',
};

export function rejectionLabel(filter: string): string {
  return filterLabels[filter] ?? filter.toLowerCase().replaceAll(/[_-]/g, ' ');
}
