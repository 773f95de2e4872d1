import { silentLogger } from '@rookery/wire/log.ts';
import { FencedOff, type Term } from '../../src/kernel/leadership.ts';
import { InterruptionWatch, toleranceFor } from '../../src/fleet/monitor/interruption-watch.ts';
import { HostMonitor, type MonitorStore } from '../../src/fleet/monitor/monitor.service.ts';
import { Convergence } from '../../src/fleet/sandboxes/convergence.service.ts';
import type { SandboxBooks } from '../../src/fleet/sandboxes/sandbox.books.ts';
import type { Inventory, ObservedSandbox } from '../../src/fleet/sandboxes/sandbox.report.ts';
import type { Connection } from './network.ts';
import type { Random } from './random.ts';
import { observedBy, type ControlDoor, type SimAgent } from './sim-agent.ts';
import { newProcess, type SimProcess, type VirtualTime } from './virtual-time.ts';

/** How soon PostgreSQL takes the leadership from a process that is stopped, in ms; see `leadership.ts`. */
const SESSION_TIMEOUT_MS = 10_000;

/** The two ways to keep books (in memory, in PostgreSQL) as the simulation needs them. */
export interface FleetBooks extends SandboxBooks, MonitorStore {
  /** A heartbeat: renews the lease, and brings the host back if it was away. @returns the digest known of its inventory. */
  beat(hostId: string): Promise<string | null>;
  tunnelReady(hostId: string, replicaId: string): Promise<boolean>;
  tunnelLost(hostId: string, replicaId: string): Promise<void>;
  /** Clears the tunnels of all replicas but this one. */
  clearOrphanedTunnels(term: Term, livingReplicaId: string): Promise<void>;
  /** The next term begins. */
  newTerm(replicaId: string): Promise<Term>;
  /** Reserves a place and makes a sandbox, as `createSandbox`. @returns its id, or undefined when there is no place. */
  create(sandbox: NewSandbox): Promise<string | undefined>;
  /** Of these hosts, those that take no sandboxes because they have failed to start too many. */
  failing(hostIds: readonly string[]): Promise<string[]>;
  /** A canary has started on a host, or failed to. */
  noteCreate(hostId: string, error: string | null): Promise<void>;
}

export interface NewSandbox {
  readonly id: string;
  readonly milliVcpus: number;
  readonly memoryMb: number;
  readonly diskMb: number;
  readonly timeoutSeconds: number | null;
}

/** Who leads: what the advisory lock is to real processes. */
export class Seat {
  holder: SimProcess | undefined;

  isFree(now: number, stoppedSince: (process: SimProcess) => number | undefined): boolean {
    if (!this.holder?.alive) return true;
    const since = stoppedSince(this.holder);
    return since !== undefined && now - since >= SESSION_TIMEOUT_MS;
  }
}

export interface SimControlDeps {
  readonly name: string;
  readonly time: VirtualTime;
  readonly random: Random;
  /** As this process reaches them: late, and not at all during an outage. */
  readonly books: FleetBooks;
  readonly seat: Seat;
  readonly stoppedSince: (process: SimProcess) => number | undefined;
  /** This machine's wall clock. */
  readonly wallClock: () => number;
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  readonly orphanMinAgeMs: number;
  /** One is about to be started, which is in no books. */
  readonly onCanary: (sandboxId: string) => void;
}

interface SimClient {
  inventory(ms: number): Promise<Inventory>;
  applySandbox(spec: never, generation: number, ms: number): Promise<ObservedSandbox>;
  removeSandbox(id: string, generation: number, ms: number): Promise<void>;
}

interface SimTunnel {
  readonly client: SimClient;
  readonly connection: Connection;
  proven: boolean;
}

/**
 * A control process: the real convergence and the real monitor on the books, with a pool of tunnels that does on the
 * simulated network what `HostClientPool` does on sockets.
 */
export class SimControl implements ControlDoor {
  readonly process: SimProcess;
  readonly convergence: Convergence;
  readonly replicaId: string;
  readonly #deps: SimControlDeps;
  readonly #tunnels = new Map<string, SimTunnel>();
  readonly #monitor: HostMonitor;
  #term: Term | undefined;

  static start(deps: SimControlDeps): SimControl {
    const process = newProcess(deps.name);
    return deps.time.as(process, () => new SimControl(deps, process));
  }

  private constructor(deps: SimControlDeps, process: SimProcess) {
    const { time, random, books, leaseMs, orphanMinAgeMs } = deps;
    this.#deps = deps;
    this.process = process;
    this.replicaId = random.uuid();
    const log = silentLogger();
    const pool = {
      get: (hostId: string) => this.#tunnels.get(hostId)?.client,
      find: async (hostId: string) => this.#tunnels.get(hostId)?.client,
      tunnels: this.#tunnels,
      get provenHostIds() {
        return [...this.tunnels].filter(([, { proven }]) => proven).map(([hostId]) => hostId);
      },
    };
    this.convergence = new Convergence({ books, pool: pool as never, orphanMinAgeMs, log });
    const watch = new InterruptionWatch(toleranceFor(leaseMs), { monotonic: () => time.now, wall: deps.wallClock });
    this.#monitor = new HostMonitor({ store: books, watch, leaseMs, log, now: () => time.now });

    this.#every(1_000, () => this.#stand());
    this.#every(5_000, () => this.#judge((term) => this.#monitor.pass(term)));
    this.#every(2_000, () => this.#judge((term) => books.clearOrphanedTunnels(term, this.replicaId)));
    this.#every(2_000, async () => {
      for (const hostId of pool.provenHostIds) await books.tunnelReady(hostId, this.replicaId);
    });
    this.#every(10_000, () => this.convergence.converge());
    this.#every(orphanMinAgeMs / 4, () => this.convergence.rereadOrphans());
    this.#every(30_000, async () => {
      for (const hostId of await books.failing(pool.provenHostIds)) await this.#canary(hostId);
    });
  }

  async heartbeat(hostId: string, digest: string) {
    const known = await this.#deps.books.beat(hostId);
    return {
      wantInventory: known !== digest,
      nextHeartbeatMs: this.#deps.heartbeatMs * this.#deps.random.between(0.9, 1.1),
    };
  }

  async report(hostId: string, full: boolean, inventory: Inventory): Promise<void> {
    if (full) await this.convergence.reconcile(hostId, inventory);
    else await this.convergence.report(hostId, inventory.sandboxes);
  }

  adopt(agent: SimAgent, connection: Connection): void {
    const { hostId } = agent;
    const tunnel: SimTunnel = { client: this.#clientOf(agent, connection), connection, proven: false };
    const previous = this.#tunnels.get(hostId);
    this.#tunnels.set(hostId, tunnel);
    previous?.connection.end();
    connection.onEnd(this.process, () => {
      if (this.#tunnels.get(hostId) !== tunnel) return;
      this.#tunnels.delete(hostId);
      void this.#deps.books.tunnelLost(hostId, this.replicaId).catch(() => {});
    });
    void this.#prove(hostId, tunnel);
  }

  async #prove(hostId: string, tunnel: SimTunnel): Promise<void> {
    try {
      const inventory = await tunnel.client.inventory(10_000);
      if (this.#tunnels.get(hostId) !== tunnel) return;
      tunnel.proven = true;
      await this.convergence.reconcile(hostId, inventory);
      await this.#deps.books.tunnelReady(hostId, this.replicaId);
      if (!this.#tunnels.has(hostId)) await this.#deps.books.tunnelLost(hostId, this.replicaId);
    } catch {
      tunnel.connection.end();
    }
  }

  /** What `HostClient` is on a real tunnel. */
  #clientOf(agent: SimAgent, connection: Connection): SimClient {
    const ask = <T>(work: () => Promise<T>, ms: number): Promise<T> => connection.call(this.process, work, ms);
    return {
      inventory: (ms: number) => ask(() => Promise.resolve(agent.inventory()), ms),
      applySandbox: (
        { desiredState, ...spec }: { desiredState: 'RUNNING' | 'PAUSED' } & Record<string, never>,
        generation: number,
        ms: number,
      ) =>
        ask(async () => observedBy(agent, await agent.supervisor.apply(spec as never, desiredState, generation)), ms),
      removeSandbox: (id: string, generation: number, ms: number) =>
        ask(() => agent.supervisor.remove(id, generation).then(() => {}), ms),
    };
  }

  /** What `Canaries` does. */
  async #canary(hostId: string): Promise<void> {
    const host = this.#tunnels.get(hostId)?.client;
    if (!host) return;
    const id = this.#deps.random.uuid();
    this.#deps.onCanary(id);
    const spec = { name: 'canary', template: 'host', vcpus: 0.1, memoryMb: 64, diskMb: 32, timeoutSeconds: null };
    try {
      const { status } = await host.applySandbox({ ...spec, id, desiredState: 'RUNNING' } as never, 1, 60_000);
      await this.#deps.books.noteCreate(hostId, status === 'RUNNING' ? null : `The canary is ${status}.`);
    } finally {
      await host.removeSandbox(id, 1, 60_000);
    }
  }

  async #stand(): Promise<void> {
    const { seat, books, time, stoppedSince } = this.#deps;
    if (this.#term || !seat.isFree(time.now, stoppedSince)) return;
    seat.holder = this.process;
    try {
      this.#term = await books.newTerm(this.replicaId);
    } catch (error) {
      // With the connection the lock is gone.
      seat.holder = undefined;
      throw error;
    }
  }

  async #judge(pass: (term: Term) => Promise<unknown>): Promise<void> {
    const term = this.#term;
    if (!term) return;
    try {
      await pass(term);
    } catch (error) {
      if (error instanceof FencedOff) this.#term = undefined;
      else if (this.#deps.seat.holder === this.process) {
        // The connection that holds the lock breaks with the database.
        this.#term = undefined;
        this.#deps.seat.holder = undefined;
      }
    }
  }

  /** A background loop: at its period, never twice at once, and a failure is the next pass. */
  #every(periodMs: number, pass: () => Promise<unknown>): void {
    const { time, random } = this.#deps;
    const turn = (): void => {
      void pass()
        .catch(() => {})
        .then(() => time.plan(periodMs, turn, this.process));
    };
    time.plan(periodMs * random.next(), turn, this.process);
  }
}
