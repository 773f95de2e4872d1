import { REPLICA_DEAD_AFTER_MS } from '../kernel/replica.ts';
import type { Leadership } from '../kernel/leadership.ts';
import type { LoopDriver } from '../kernel/loops.ts';
import type { HostDrains } from './hosts/host-drain.service.ts';
import type { HostByoc } from './hosts/host-byoc.service.ts';
import type { HostDeletion } from './hosts/host-deletion.service.ts';
import type { HostMonitor } from './monitor/monitor.service.ts';
import { monitorPeriod } from './monitor/monitor.state.ts';
import type { Canaries } from './placement/canary.ts';
import type { StartDeadlines } from './sandboxes/start-deadline.ts';
import type { Convergence } from './sandboxes/convergence.service.ts';
import type { FleetEvents } from './tables.ts';
import type { HostClientPool } from './tunnels/host-client-pool.ts';
import type { TunnelBooks } from './tunnels/tunnel.books.ts';

/** The loop that judges; see `monitor.service.ts`. */
export const MONITOR = 'host-monitor';

export interface FleetLoopsDeps {
  readonly leadership: Leadership;
  readonly events: FleetEvents;
  readonly monitor: HostMonitor;
  readonly convergence: Convergence;
  readonly startDeadlines: StartDeadlines;
  readonly deletion: HostDeletion;
  readonly drains: HostDrains;
  readonly canaries: Canaries;
  readonly byoc: HostByoc;
  readonly pool: HostClientPool;
  readonly tunnels: TunnelBooks;
  /** Silence after which a host is lost, in ms. */
  readonly leaseMs: number;
  /** See `FleetSettings`. */
  readonly orphanMinAgeMs: number;
}

/**
 * The periodic passes that make right what events make fast.
 *
 * What judges (declares something lost, finishes what others began) is the leader's. What is about this
 * process, its tunnels and the sandboxes behind them, each process does for itself.
 */
export function addFleetLoops(loops: LoopDriver, deps: FleetLoopsDeps): void {
  const {
    leadership,
    events,
    monitor,
    convergence,
    startDeadlines,
    deletion,
    drains,
    canaries,
    byoc,
    pool,
    tunnels,
    leaseMs,
    orphanMinAgeMs,
  } = deps;

  loops.add({
    name: 'event-sequencer',
    description: 'Numbers events whose process died before it could.',
    periodMs: 2_000,
    run: () => events.sequence(),
  });
  loops.add({
    name: MONITOR,
    description: 'Declares silent hosts unreachable and their sandboxes missing.',
    periodMs: monitorPeriod(leaseMs),
    run: leadership.judge((term) => monitor.pass(term)),
  });
  // What the last judge made of the fleet is not what this one makes of it.
  leadership.onElected(() => void loops.nudge(MONITOR));
  loops.add({
    name: 'tunnel-cleaner',
    description: 'Keeps placements away from hosts whose tunnel was held by a control process that died.',
    periodMs: 2_000,
    run: leadership.judge((term) => tunnels.clearOrphaned(term, REPLICA_DEAD_AFTER_MS)),
  });
  loops.add({
    name: 'tunnel-keeper',
    description: 'Puts right which hosts this control process reaches, and lets go of tunnels that were overtaken.',
    periodMs: 2_000,
    run: () => pool.check(),
  });
  loops.add({
    name: 'convergence',
    description: 'Pushes sandboxes that are not what they should be, on hosts that can be reached.',
    periodMs: 10_000,
    run: () => convergence.converge(),
  });
  loops.add({
    name: 'start-deadline',
    description: 'Ends the waiting for hosts that never say whether they have started a sandbox.',
    periodMs: 15_000,
    run: leadership.judge((term) => startDeadlines.pass(term)),
  });
  loops.add({
    name: 'orphans',
    description: 'Looks again at sandboxes that hosts run and nobody wants.',
    periodMs: Math.min(30_000, Math.max(500, orphanMinAgeMs / 4)),
    run: () => convergence.rereadOrphans(),
  });
  loops.add({
    name: 'host-deletion',
    description: 'Finishes deletions that were interrupted.',
    periodMs: 5_000,
    // A wish that was written down and is never taken back: doing it twice is doing it once, so the lock is enough.
    run: leadership.judge(() => deletion.resume()),
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
    // As for deletions: what the teams say is read anew each time.
    run: leadership.judge(() => byoc.followTeams()),
  });
}
