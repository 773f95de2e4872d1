import type { Control } from '@rookery/control/app.ts';
import { hostConditions } from '@rookery/control/fleet/hosts/host.state.ts';

/** How long the local host may take to come online before it is reported as it is, in ms. */
const PATIENCE_MS = 30_000;

const POLL_MS = 50;

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
    if (!blocking) return { name: host.name, problem: undefined };
    const transient =
      blocking.type === 'NOT_REGISTERED' || blocking.type === 'TUNNEL_DOWN' || blocking.type === 'HEARTBEAT_MISSED';
    if (!transient || Date.now() > deadline) return { name: host.name, problem: blocking.message };
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
}
