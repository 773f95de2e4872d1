import { ControlLossWatch } from '@rookery/agent/sandboxes/control-loss.ts';
import type { SandboxRecord } from '@rookery/agent/sandboxes/sandbox.state.ts';
import { SandboxSupervisor } from '@rookery/agent/sandboxes/sandbox.supervisor.ts';
import { SimulatedRuntime } from '@rookery/agent/runtime/simulated-runtime.ts';
import type { ContainerSpec, ContainerStatus, Runtime } from '@rookery/agent/runtime/runtime.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import type { Inventory, ObservedSandbox } from '../../src/fleet/sandboxes/sandbox.report.ts';
import type { Connection, Network } from './network.ts';
import type { Random } from './random.ts';
import { newProcess, type SimProcess, type VirtualTime } from './virtual-time.ts';

/** As the agent's own constants; see `agent/src/channel/control-channel.ts`. */
const ANSWER_DEADLINE_MS = 10_000;
const BACKOFF_CAP_MS = 15_000;
const COALESCE_MS = 50;

/** Epochs that a restart skips; see `EpochCounter`. */
const EPOCH_BLOCK = 1_000;

/** What control offers to an agent that dials. */
export interface ControlDoor {
  readonly process: SimProcess;
  heartbeat(hostId: string, digest: string): Promise<{ wantInventory: boolean; nextHeartbeatMs: number }>;
  report(hostId: string, full: boolean, inventory: Inventory): Promise<void>;
  adopt(agent: SimAgent, connection: Connection): void;
}

/** A machine: what is on its disk and what it runs outlives its agent. */
export class SimMachine {
  readonly hostId: string;
  readonly disk = new Map<string, SandboxRecord>();
  readonly tombstones = new Map<string, number>();
  containers: SimulatedRuntime = new SimulatedRuntime();
  /** Containers that really live, running or paused: the truth that books are measured by. */
  readonly live = new Map<string, 'running' | 'paused'>();
  /** Until when nothing can be started here: its disk is full, say. In virtual ms. */
  brokenUntil = 0;
  epoch = 0;
  boots = 1;

  constructor(hostId: string) {
    this.hostId = hostId;
  }

  /** Power is gone, and everything that ran with it. */
  powerOff(): void {
    this.containers = new SimulatedRuntime();
    this.live.clear();
    this.boots += 1;
  }

  /** The process of a container ends by itself. */
  crash(id: string): void {
    if (!this.live.delete(id)) return;
    this.containers.crash(id);
  }
}

export interface SimAgentDeps {
  readonly machine: SimMachine;
  readonly time: VirtualTime;
  readonly network: Network;
  readonly random: Random;
  readonly graceMs: number;
  /** Control as it can be reached now. */
  readonly control: () => ControlDoor | undefined;
  /** A container really comes to life, or is deleted. */
  readonly onCreate: (hostId: string, sandboxId: string) => void;
  readonly onRemove: (hostId: string, sandboxId: string) => void;
}

/**
 * An agent: the real supervisor, state machine and control-loss watch over a simulated runtime, with a channel and a
 * tunnel that do on the simulated network what the real ones do on sockets.
 */
export class SimAgent {
  readonly hostId: string;
  readonly process: SimProcess;
  readonly supervisor: SandboxSupervisor;
  readonly #deps: SimAgentDeps;
  readonly #watch: ControlLossWatch;
  readonly #changed = new Set<string>();
  #channel: { readonly connection: Connection; readonly control: ControlDoor } | undefined;
  #flush = false;
  #reporting: Promise<void> = Promise.resolve();

  /** Starts an agent on a machine, as a process of its own. */
  static start(deps: SimAgentDeps): SimAgent {
    const process = newProcess(`agent ${deps.machine.hostId}`);
    return deps.time.as(process, () => new SimAgent(deps, process));
  }

  private constructor(deps: SimAgentDeps, process: SimProcess) {
    const { machine } = deps;
    this.#deps = deps;
    this.process = process;
    this.hostId = machine.hostId;
    machine.epoch += EPOCH_BLOCK;
    const log = silentLogger();
    this.supervisor = new SandboxSupervisor({
      store: storeOn(machine) as never,
      tombstones: tombstonesOf(machine),
      epoch: epochOf(machine) as never,
      finder: { find: () => Promise.resolve({ runtime: this.#runtime() }) },
      bootId: `boot ${machine.boots}`,
      log,
      onChange: (id) => this.#reportSoon(id),
    });
    this.#watch = new ControlLossWatch({ graceMs: deps.graceMs, policy: 'pause', supervisor: this.supervisor, log });
    // An event of its own: what follows from it, also later, is this process's.
    deps.time.plan(0, () => void this.#run(), process);
  }

  async #run(): Promise<void> {
    await this.supervisor.start();
    void this.#keepChannel();
    void this.#keepTunnel();
  }

  /** Everything it has, as of now. */
  inventory(): Inventory {
    const { epoch, sandboxes } = this.supervisor.inventory();
    return { epoch, sandboxes: sandboxes.map((sandbox) => toObserved(sandbox, epoch)) };
  }

  async #keepChannel(): Promise<void> {
    const { time, random } = this.#deps;
    for (let failures = 0; ; failures++) {
      const control = await this.#dial();
      if (control) {
        const connection = this.#deps.network.connect(this.hostId, this.process, control.process);
        if (await this.#beat(connection, control)) failures = 0;
        this.#channel = undefined;
        connection.end();
      }
      await time.sleep(random.next() * Math.min(BACKOFF_CAP_MS, 500 * 2 ** failures));
    }
  }

  /** @returns whether any beat got through before it broke. */
  async #beat(connection: Connection, control: ControlDoor): Promise<boolean> {
    const ended = new Promise<void>((resolve) => connection.onEnd(this.process, resolve));
    let heard = false;
    while (connection.open) {
      try {
        const { digest } = this.supervisor.inventory();
        const beat = () => control.heartbeat(this.hostId, digest);
        const ack = await connection.call(this.process, beat, ANSWER_DEADLINE_MS);
        heard = true;
        this.#channel = { connection, control };
        this.#watch.heard();
        if (ack.wantInventory) this.#report(true);
        else if (this.#changed.size > 0) this.#report(false);
        await Promise.race([this.#deps.time.sleep(ack.nextHeartbeatMs), ended]);
      } catch {
        return heard;
      }
    }
    return heard;
  }

  #reportSoon(id: string): void {
    this.#changed.add(id);
    if (this.#flush) return;
    this.#flush = true;
    this.#deps.time.plan(
      COALESCE_MS,
      () => {
        this.#flush = false;
        this.#report(false);
      },
      this.process,
    );
  }

  #report(full: boolean): void {
    this.#reporting = this.#reporting.then(() => this.#reportOnce(full));
  }

  async #reportOnce(full: boolean): Promise<void> {
    const channel = this.#channel;
    if (!channel) return;
    const taken = [...this.#changed];
    this.#changed.clear();
    const { epoch, sandboxes } = this.inventory();
    const chosen = full ? sandboxes : sandboxes.filter(({ id }) => taken.includes(id));
    if (!full && chosen.length === 0) return;
    const tell = () => channel.control.report(this.hostId, full, { epoch, sandboxes: chosen });
    await channel.connection.call(this.process, tell, ANSWER_DEADLINE_MS).catch(() => {
      for (const id of taken) this.#changed.add(id);
    });
  }

  async #keepTunnel(): Promise<void> {
    const { time, random, network } = this.#deps;
    for (;;) {
      const control = await this.#dial();
      if (control) {
        const connection = network.connect(this.hostId, this.process, control.process);
        const ended = new Promise<void>((resolve) => connection.onEnd(this.process, resolve));
        time.plan(
          network.delay(this.hostId),
          () => connection.open && control.adopt(this, connection),
          control.process,
        );
        await ended;
      }
      await time.sleep(random.between(0, 2_000));
    }
  }

  async #dial(): Promise<ControlDoor | undefined> {
    const { time, network, control } = this.#deps;
    // A dial into nowhere ends by itself before long.
    await time.sleep(network.isCut(this.hostId) ? this.#deps.random.between(100, 10_000) : network.delay(this.hostId));
    const door = control();
    return door?.process.alive && !network.isCut(this.hostId) ? door : undefined;
  }

  /** The machine's runtime, at the pace of a real one; what an agent has begun when it dies is done or not. */
  #runtime(): Runtime {
    const { machine, time, random, onCreate, onRemove } = this.#deps;
    const runtime = machine.containers;
    const slowly = async <T>(work: () => Promise<T>): Promise<T> => {
      await time.sleep(random.between(5, 250));
      // A machine without power has a new set of containers, and this agent with its old one is dead.
      const result = await work();
      await time.sleep(random.between(0, 20));
      return result;
    };
    return {
      name: runtime.name,
      version: runtime.version,
      create: (spec: ContainerSpec) =>
        slowly(async () => {
          if (machine.brokenUntil > time.now) throw new RookeryError('UNAVAILABLE', 'the disk is full');
          await runtime.create(spec);
          machine.live.set(spec.id, 'running');
          onCreate(machine.hostId, spec.id);
        }),
      pause: (id) =>
        slowly(async () => {
          await runtime.pause(id);
          machine.live.set(id, 'paused');
        }),
      resume: (id) =>
        slowly(async () => {
          await runtime.resume(id);
          machine.live.set(id, 'running');
        }),
      discard: (id) =>
        slowly(async () => {
          await runtime.discard(id);
          machine.live.delete(id);
        }),
      remove: (id) =>
        slowly(async () => {
          if (machine.live.delete(id)) onRemove(machine.hostId, id);
          await runtime.remove(id);
        }),
      state: (id): Promise<ContainerStatus> => runtime.state(id),
      list: () => runtime.list(),
      endAbandonedExecs: (id) => runtime.endAbandonedExecs(id),
      exec: (id, request) => runtime.exec(id, request),
    };
  }
}

function toObserved(
  sandbox: ReturnType<SandboxSupervisor['inventory']>['sandboxes'][number],
  epoch: number,
): ObservedSandbox {
  const date = (text: string | null): Date | null => (text === null ? null : new Date(text));
  return {
    ...sandbox,
    epoch,
    startedAt: date(sandbox.startedAt),
    lastActiveAt: date(sandbox.lastActiveAt),
  };
}

/** What one sandbox is as of now, as `applySandbox` answers. */
export const observedBy = (agent: SimAgent, sandbox: Parameters<typeof toObserved>[0]): ObservedSandbox =>
  toObserved(sandbox, agent.supervisor.inventory().epoch);

/** The files of `SandboxStore`, without a disk. */
function storeOn({ disk }: SimMachine) {
  return {
    takeOver: async () => ({ records: [...disk.values()], damaged: [] }),
    save: async (record: SandboxRecord) => void disk.set(record.spec.id, record),
    has: (id: string) => disk.has(id),
    delete: async (id: string) => void disk.delete(id),
  };
}

function tombstonesOf({ tombstones }: SimMachine) {
  return {
    of: (id: string) => tombstones.get(id),
    bury: async (id: string, generation: number) =>
      void tombstones.set(id, Math.max(generation, tombstones.get(id) ?? 0)),
  };
}

function epochOf(machine: SimMachine) {
  return {
    get value() {
      return machine.epoch;
    },
    advance: () => void (machine.epoch += 1),
  };
}
