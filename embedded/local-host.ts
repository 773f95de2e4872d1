import { setTimeout as sleep } from 'node:timers/promises';
import type { Control } from '@rookery/control/app.ts';
import { hostConditions, type HostConditionType } from '@rookery/control/fleet/hosts/host.state.ts';

/** How long the local host may take to come online before it is reported as it is, in ms. */
const PATIENCE_MS = 30_000;

const POLL_MS = 50;

/** Conditions that pass by themselves while an agent starts. */
const ON_THE_WAY: readonly HostConditionType[] = ['NOT_REGISTERED', 'TUNNEL_DOWN', 'HEARTBEAT_MISSED'];

/** How soon it is noticed that the local host was deleted, in ms; each look is one small query. */
const DELETION_POLL_MS = 2_000;

/**
 * Resolves with true when the local host has been deleted, by whomever.
 *
 * @param signal ends the waiting, with false.
 */
export async function whenHostIsDeleted(control: Control, hostId: string, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    // A database that cannot be asked says nothing about the host.
    const exists = await control.fleet.services.hosts.findForControl(hostId).catch(() => 'unknown');
    if (!exists) return !signal.aborted;
    await sleep(DELETION_POLL_MS, undefined, { signal, ref: false }).catch(() => {});
  }
  return false;
}

/** Waits until the local host takes sandboxes, or has said why it does not. */
export async function whenHostSettles(
  control: Control,
  hostId: string,
): Promise<{ name: string; problem: string | undefined }> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const host = await control.fleet.services.hosts.findForControl(hostId);
    if (!host) return { name: hostId, problem: 'it was deleted.' };
    const blocking = hostConditions(host).find(({ blocksPlacement }) => blocksPlacement);
    // What the row says may be from before a kill -9: only a tunnel of this process counts.
    const reached = host.tunnelReplica === control.replicaId;
    if (!blocking && reached) return { name: host.name, problem: undefined };
    const settled = blocking && !ON_THE_WAY.includes(blocking.type);
    if (settled || Date.now() > deadline) {
      return { name: host.name, problem: blocking?.message ?? 'Its agent has not connected yet.' };
    }
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
}
