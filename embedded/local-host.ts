import type { Control } from '@rookery/control/app.ts';
import { hostConditions, type HostConditionType } from '@rookery/control/fleet/hosts/host.state.ts';

/** How long the local host may take to come online before it is reported as it is, in ms. */
const PATIENCE_MS = 30_000;

const POLL_MS = 50;

/** Conditions that pass by themselves while an agent starts. */
const ON_THE_WAY: readonly HostConditionType[] = ['NOT_REGISTERED', 'TUNNEL_DOWN', 'HEARTBEAT_MISSED'];

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
