import { REPLICA_DEAD_AFTER_MS } from '../kernel/replica.ts';
import type { LoopDriver } from '../kernel/loops.ts';
import type { HostDrains } from './hosts/host-drain.service.ts';
import type { HostByoc } from './hosts/host-byoc.service.ts';
import type { HostDeletion } from './hosts/host-deletion.service.ts';
import type { HostPresence } from './hosts/host-presence.service.ts';
import type { Canaries } from './placement/canary.ts';
import type { Convergence } from './sandboxes/convergence.service.ts';
import type { FleetEvents } from './tables.ts';
import type { HostClientPool } from './tunnels/host-client-pool.ts';

export interface FleetLoopsDeps {
  readonly events: FleetEvents;
  readonly presence: HostPresence;
  readonly convergence: Convergence;
  readonly deletion: HostDeletion;
  readonly drains: HostDrains;
  readonly canaries: Canaries;
  readonly byoc: HostByoc;
  readonly tunnels: HostClientPool;
  readonly unreachableAfterMs: number;
}

/** The periodic passes that make right what events make fast. */
export function addFleetLoops(loops: LoopDriver, deps: FleetLoopsDeps): void {
  const { events, presence, convergence, deletion, drains, canaries, byoc, tunnels, unreachableAfterMs } = deps;
  const startedAt = Date.now();

  loops.add({
    name: 'event-sequencer',
    description: 'Numbers events whose process died before it could.',
    periodMs: 2_000,
    run: () => events.sequence(),
  });
  loops.add({
    name: 'host-monitor',
    description: 'Declares silent hosts unreachable and their sandboxes missing.',
    periodMs: Math.max(250, Math.min(5_000, unreachableAfterMs / 6)),
    run: async () => {
      // While control was away it heard nobody: every host gets a full period before it is judged.
      if (Date.now() - startedAt < unreachableAfterMs) return 0;
      const hosts = await presence.silence(unreachableAfterMs);
      await presence.markMissing();
      return hosts;
    },
  });
  loops.add({
    name: 'tunnel-cleaner',
    description: 'Keeps placements away from hosts whose tunnel was held by a control process that died.',
    periodMs: 2_000,
    run: () => presence.clearOrphanedTunnels(REPLICA_DEAD_AFTER_MS),
  });
  loops.add({
    name: 'tunnel-keeper',
    description: 'Puts right which hosts this control process reaches.',
    periodMs: 2_000,
    run: () => presence.assertTunnels(tunnels.provenHostIds),
  });
  loops.add({
    name: 'convergence',
    description: 'Pushes sandboxes that are not what they should be, on hosts that can be reached.',
    periodMs: 10_000,
    run: () => convergence.converge(),
  });
  loops.add({
    name: 'host-deletion',
    description: 'Finishes deletions that were interrupted.',
    periodMs: 5_000,
    run: () => deletion.resume(),
  });
  loops.add({
    name: 'host-drain',
    description: 'Moves the sandboxes of draining hosts out of the way, and says how far it has come.',
    periodMs: 1_000,
    run: () => drains.run(),
  });
  loops.add({
    name: 'canary',
    description: 'Tries hosts that failed to start sandboxes, and lets them back in when they can.',
    periodMs: 30_000,
    run: () => canaries.run(),
  });
  loops.add({
    name: 'host-byoc',
    description: 'Keeps hosts in step with whether their teams may bring any.',
    periodMs: 5_000,
    run: () => byoc.followTeams(),
  });
}
