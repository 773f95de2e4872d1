import { SandboxSupervisor } from '@rookery/agent/sandboxes/sandbox.supervisor.ts';
import type { SandboxRecord } from '@rookery/agent/sandboxes/sandbox.state.ts';
import { SimulatedRuntime } from '@rookery/agent/runtime/simulated-runtime.ts';
import type { ContainerSpec, Runtime } from '@rookery/agent/runtime/runtime.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import type { Inventory, ObservedSandbox } from '../../src/fleet/sandboxes/sandbox.report.ts';
import type { SandboxSpecInput } from '../../src/fleet/tunnels/generated/agent-operations.ts';

/** What is wrong with a machine: nothing; it can start nothing; what it is told gets lost, or arrives late; its answers get lost. */
export const MOODS = ['WELL', 'DISK_FULL', 'DEAF', 'SLOW', 'MUTE'] as const;
export type Mood = (typeof MOODS)[number];

/** Epochs that a restart skips, as the agent's own counter does. */
const EPOCH_BLOCK = 1_000;

/**
 * A host's machine: the agent's real supervisor on a runtime that only remembers, and in place of its tunnel
 * the same calls made directly, so that a model can run hundreds of them and each ends before the next begins.
 */
export class Machine {
  readonly hostId: string;
  /** What really lives here: the truth that books are measured by. */
  readonly live = new Map<string, 'running' | 'paused'>();
  isConnected = true;
  mood: Mood = 'WELL';
  /** What a call waits for before it is carried out. */
  hold: (() => Promise<void>) | undefined;
  /** Calls that have not ended. */
  busy = 0;
  /** What it was told and has not got yet. */
  readonly #late: (() => Promise<unknown>)[] = [];
  readonly #disk = new Map<string, SandboxRecord>();
  readonly #tombstones = new Map<string, number>();
  readonly #changed = new Set<string>();
  readonly #onRemove: (machine: Machine, sandboxId: string) => void;
  #containers = new SimulatedRuntime();
  #supervisor!: SandboxSupervisor;
  #epoch = 0;
  #boots = 0;

  private constructor(hostId: string, onRemove: (machine: Machine, sandboxId: string) => void) {
    this.hostId = hostId;
    this.#onRemove = onRemove;
  }

  /** @param onRemove something that lives is about to be removed. */
  static async start(hostId: string, onRemove: (machine: Machine, sandboxId: string) => void): Promise<Machine> {
    const machine = new Machine(hostId, onRemove);
    await machine.#boot();
    return machine;
  }

  /** As control reaches it; undefined while it cannot be. */
  get client(): object | undefined {
    if (!this.isConnected) return undefined;
    return {
      inventory: () => this.#ask(async () => this.inventory()),
      applySandbox: ({ desiredState, ...spec }: SandboxSpecInput, generation: number) =>
        this.#ask(async () => {
          const observed = await this.#supervisor.apply(spec as never, desiredState as 'RUNNING', generation);
          return this.#observed(observed);
        }),
      removeSandbox: (id: string, generation: number) =>
        this.#ask(() => this.#supervisor.remove(id, generation).then(() => {})),
    };
  }

  /** Everything it has, as of now. */
  inventory(): Inventory {
    const { epoch, sandboxes } = this.#supervisor.inventory();
    return { epoch, sandboxes: sandboxes.map((sandbox) => this.#observed(sandbox)) };
  }

  /** What has changed since it was asked last. */
  async news(): Promise<ObservedSandbox[]> {
    await this.#supervisor.observeAll();
    const changed = this.inventory().sandboxes.filter(({ id }) => this.#changed.has(id));
    this.#changed.clear();
    return changed;
  }

  /** Gets what it was told while it was slow; nobody waits for its answers any more. */
  async catchUp(): Promise<void> {
    for (const work of this.#late.splice(0)) await work().catch(() => {});
  }

  /** The process of a container ends by itself. */
  crash(index: number): void {
    const ids = [...this.live.keys()];
    const id = ids[index % Math.max(ids.length, 1)];
    if (id === undefined) return;
    this.live.delete(id);
    this.#containers.crash(id);
  }

  /** Power is gone and comes back: nothing runs, and what is on the disk is there. */
  async reboot(): Promise<void> {
    await this[Symbol.asyncDispose]();
    this.#containers = new SimulatedRuntime();
    this.live.clear();
    await this.#boot();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#supervisor[Symbol.asyncDispose]();
  }

  async #boot(): Promise<void> {
    this.#epoch += EPOCH_BLOCK;
    this.#boots += 1;
    const disk = this.#disk;
    const store = {
      takeOver: async () => ({ records: [...disk.values()], damaged: [] }),
      save: async (record: SandboxRecord) => void disk.set(record.spec.id, record),
      has: (id: string) => disk.has(id),
      delete: async (id: string) => void disk.delete(id),
    };
    const epochOf = (): number => this.#epoch;
    const advance = (): number => (this.#epoch += 1);
    const epoch = {
      get value() {
        return epochOf();
      },
      advance: () => void advance(),
    };
    this.#supervisor = new SandboxSupervisor({
      store: store as never,
      tombstones: {
        of: (id) => this.#tombstones.get(id),
        bury: async (id, generation) =>
          void this.#tombstones.set(id, Math.max(generation, this.#tombstones.get(id) ?? 0)),
      },
      epoch: epoch as never,
      finder: { find: () => Promise.resolve({ runtime: this.#runtime() }) },
      bootId: `boot ${this.#boots}`,
      log: silentLogger(),
      onChange: (id) => this.#changed.add(id),
    });
    await this.#supervisor.start();
  }

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    this.busy += 1;
    try {
      await this.hold?.();
      if (this.mood === 'SLOW') this.#late.push(work);
      if (this.mood === 'DEAF' || this.mood === 'SLOW')
        throw new RookeryError('UNAVAILABLE', 'The host did not answer.');
      const answer = await work();
      if (this.mood === 'MUTE') throw new RookeryError('UNAVAILABLE', 'The host did not answer.');
      return answer;
    } finally {
      this.busy -= 1;
    }
  }

  #runtime(): Runtime {
    const containers = this.#containers;
    return {
      name: containers.name,
      version: containers.version,
      create: async (spec: ContainerSpec) => {
        if (this.mood === 'DISK_FULL') throw new RookeryError('UNAVAILABLE', 'the disk is full');
        await containers.create(spec);
        this.live.set(spec.id, 'running');
      },
      pause: async (id) => {
        await containers.pause(id);
        this.live.set(id, 'paused');
      },
      resume: async (id) => {
        await containers.resume(id);
        this.live.set(id, 'running');
      },
      discard: async (id) => {
        await containers.discard(id);
        this.live.delete(id);
      },
      remove: async (id) => {
        if (this.live.has(id)) this.#onRemove(this, id);
        this.live.delete(id);
        await containers.remove(id);
      },
      state: (id) => containers.state(id),
      list: () => containers.list(),
      endAbandonedExecs: (id) => containers.endAbandonedExecs(id),
      exec: (id, request) => containers.exec(id, request),
    };
  }

  #observed(sandbox: ReturnType<SandboxSupervisor['inventory']>['sandboxes'][number]): ObservedSandbox {
    const date = (text: string | null): Date | null => (text === null ? null : new Date(text));
    const { startedAt, lastActiveAt } = sandbox;
    return { ...sandbox, epoch: this.#epoch, startedAt: date(startedAt), lastActiveAt: date(lastActiveAt) };
  }
}
