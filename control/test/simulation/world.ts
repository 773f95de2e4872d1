import { ORPHAN_MIN_READINGS } from '../../src/fleet/sandboxes/orphan.state.ts';
import {
  isEnded,
  requestDestroy,
  requestPause,
  requestResume,
  type SandboxState,
} from '../../src/fleet/sandboxes/sandbox.state.ts';
import type { SandboxRow } from '../../src/fleet/tables.ts';
import { FREEZE_SHARE, MASS_MIN_HOSTS } from '../../src/fleet/monitor/monitor.state.ts';
import { MemoryBooks, type BookedHost } from './memory-books.ts';
import { Network } from './network.ts';
import { Random } from './random.ts';
import { SimAgent, SimMachine, type SimAgentDeps } from './sim-agent.ts';
import { Seat, SimControl, type FleetBooks } from './sim-control.ts';
import type { SimProcess, VirtualTime } from './virtual-time.ts';

/** As in production, but for the orphans' age: nothing is gained by longer days. All in ms. */
const LEASE_MS = 90_000;
const HEARTBEAT_MS = 15_000;
const ORPHAN_MIN_AGE_MS = 60_000;
/** Above this a stop of control must be noticed; see `interruption-watch.ts`. */
const NOTICED_STOP_MS = 6_000;

const CAPACITY = { milliVcpus: 4_000, memoryMb: 4_096, diskMb: 8_192 };

const FAULTS = {
  break: 25,
  cut: 14,
  cutMany: 4,
  agentCrash: 14,
  powerOff: 6,
  containerCrash: 5,
  brokenHost: 5,
  stranger: 4,
  controlCrash: 6,
  controlStop: 6,
  databaseOutage: 6,
  databaseClockJump: 3,
  wallClockJump: 2,
};

/**
 * A fleet, its control plane and its users, in one thread on a virtual clock; every fault and every delay follows from
 * the seed. What it checks is the truth: what the books say against what really runs.
 */
export class World {
  readonly time: VirtualTime;
  readonly random: Random;
  readonly network: Network;
  readonly books: MemoryBooks;
  /** What was broken, in words; the first is what matters. */
  readonly violations: string[] = [];
  readonly counts: Record<string, number> = {};
  readonly #machines: SimMachine[] = [];
  readonly #agents = new Map<string, SimAgent>();
  readonly #seat = new Seat();
  /** Each seed has its own mix: what never happens together with everything else may happen without. */
  readonly #faults: typeof FAULTS;
  readonly #pauseBetweenFaults: number;
  #control: SimControl | undefined;
  readonly #canaries = new Set<string>();
  readonly #stoppedAt = new Map<SimProcess, number>();
  #databaseDownUntil = 0;
  #databaseOffset = 0;
  #wallOffset = 0;
  #chaos = true;
  /** Since when control has listened without a break, as far as it is to notice. */
  #listeningSince: number;
  #lastInterruption = 'its start';
  #beforeInterruption = { since: 0, at: 0 };
  /** When each host was really heard last. */
  readonly #heardAt = new Map<string, number>();

  constructor(time: VirtualTime, seed: number, hosts: number) {
    this.time = time;
    this.random = new Random(seed);
    this.network = new Network(time, this.random);
    this.#listeningSince = time.now;
    this.#faults = Object.fromEntries(
      Object.entries(FAULTS).map(([fault, weight]) => [fault, this.random.chance(0.45) ? weight : 0]),
    ) as typeof FAULTS;
    this.#pauseBetweenFaults = this.random.between(4_000, 40_000);
    this.books = new MemoryBooks(() => time.now + this.#databaseOffset, {
      onSandbox: (before, after) => this.#witnessSandbox(before, after),
      onLost: (host, epoch) => this.#witnessLost(host, epoch),
    });
    for (let i = 0; i < hosts; i++) this.#machines.push(new SimMachine(this.random.uuid()));
  }

  /** Starts everything, lets things go wrong for a while, mends them, and waits until they should be well. */
  async run(chaosMs: number, settleMs: number): Promise<void> {
    const { time } = this;
    for (const { hostId } of this.#machines) this.books.addHost(hostId, CAPACITY);
    this.#startControl();
    for (const machine of this.#machines) time.plan(this.random.between(0, 5_000), () => this.#startAgent(machine));
    this.#goOn(500, 4_000, () => this.#userActs());
    this.#goOn(500, this.#pauseBetweenFaults, () => this.#somethingBreaks());
    const check = (): void => this.#checkBooks();
    await time.runUntil(time.now + chaosMs, check);
    this.#mend();
    await time.runUntil(time.now + settleMs, check);
    this.#checkSettled();
  }

  /** Does something again and again at random intervals, as long as there is chaos. */
  #goOn(low: number, high: number, act: () => void): void {
    this.time.plan(this.random.between(low, high), () => {
      if (!this.#chaos || this.violations.length > 0) return;
      act();
      this.#goOn(low, high, act);
    });
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  // Processes

  #startControl(): void {
    if (this.#control?.process.alive) return;
    // Also when the one before was to be stopped for longer.
    this.#listeningSince = Math.max(this.time.now, this.#databaseDownUntil);
    this.#lastInterruption = 'its start';
    this.#control = SimControl.start({
      name: 'control',
      time: this.time,
      random: this.random,
      books: this.#reached(),
      seat: this.#seat,
      stoppedSince: (process) => this.#stoppedSince(process),
      wallClock: () => this.time.now + this.#wallOffset,
      leaseMs: LEASE_MS,
      heartbeatMs: HEARTBEAT_MS,
      orphanMinAgeMs: ORPHAN_MIN_AGE_MS,
      onCanary: (id) => this.#canaries.add(id),
    });
  }

  #stoppedSince(process: SimProcess): number | undefined {
    return process.stoppedUntil > this.time.now ? this.#stoppedAt.get(process) : undefined;
  }

  #startAgent(machine: SimMachine): void {
    if (this.#agents.get(machine.hostId)?.process.alive) return;
    const deps: SimAgentDeps = {
      machine,
      time: this.time,
      network: this.network,
      random: this.random,
      graceMs: LEASE_MS,
      control: () => this.#control,
      onCreate: (hostId, id) => this.#witnessCreate(hostId, id),
      onRemove: (hostId, id) => this.#witnessRemove(hostId, id),
    };
    this.#agents.set(machine.hostId, SimAgent.start(deps));
  }

  #kill(process: SimProcess): void {
    process.alive = false;
  }

  /** The books as a process reaches them: after a moment, and not while the database is away. */
  #reached(): FleetBooks {
    const { time, random, books } = this;
    const outage = (): void => {
      if (this.#databaseDownUntil > time.now) throw Object.assign(new Error('the database is away'), { code: '57P01' });
    };
    return new Proxy(books as FleetBooks, {
      get: (target, method: keyof FleetBooks) => {
        if (method === 'beat') return async (hostId: string) => this.#beat(hostId, outage);
        return async (...args: never[]) => {
          await time.sleep(random.between(0.2, 6));
          outage();
          const result = await (target[method] as (...all: never[]) => Promise<unknown>)(...args);
          await time.sleep(random.between(0.1, 3));
          // Committed, and nobody was told.
          outage();
          return result;
        };
      },
    });
  }

  async #beat(hostId: string, outage: () => void): Promise<string | null> {
    await this.time.sleep(this.random.between(0.2, 12));
    outage();
    const digest = await this.books.beat(hostId);
    this.#heardAt.set(hostId, this.time.now);
    return digest;
  }

  // Users

  #userActs(): void {
    const control = this.#control;
    if (!control?.process.alive) return;
    const books = this.#reached();
    const { random } = this;
    const act = async (): Promise<void> => {
      if (random.chance(0.5)) {
        const id = await books.create({
          id: random.uuid(),
          milliVcpus: 100 * random.int(1, 20),
          memoryMb: 128 * random.int(1, 12),
          diskMb: 256 * random.int(1, 8),
          timeoutSeconds: random.chance(0.2) ? random.int(10, 120) : null,
        });
        this.#count(id ? 'created' : 'no place');
        if (id) control.convergence.nudge(id);
        return;
      }
      const living = [...this.books.sandboxes.values()].filter(({ deletedAt }) => deletedAt === null);
      const victim = random.pick(living);
      if (!victim) return;
      const wish = random.weighted({ destroy: 5, pause: 3, resume: 3 });
      const result = await books.transition('control', victim.id, wish, (row) =>
        wish === 'destroy'
          ? requestDestroy(row)
          : wish === 'pause'
            ? requestPause(row, 'REQUESTED')
            : requestResume(row),
      );
      this.#count(result?.transition.refusal ? `${wish} refused` : wish);
      if (result?.transition.push) control.convergence.nudge(victim.id);
    };
    this.time.plan(0, () => void act().catch(() => {}), control.process);
  }

  // Faults

  #somethingBreaks(): void {
    const { time, random, network } = this;
    const fault = random.weighted(this.#faults);
    const machine = random.pick(this.#machines) as SimMachine;
    const agent = this.#agents.get(machine.hostId);
    const control = this.#control;
    this.#count(fault);
    switch (fault) {
      case 'break':
        return network.break(machine.hostId);
      case 'cut':
        return network.cut(machine.hostId, random.between(1_000, random.chance(0.3) ? 200_000 : 40_000));
      case 'cutMany': {
        const share = random.between(0.15, 1);
        const ms = random.between(20_000, 200_000);
        for (const { hostId } of this.#machines) if (random.chance(share)) network.cut(hostId, ms);
        return;
      }
      case 'agentCrash':
        if (!agent?.process.alive) return;
        this.#kill(agent.process);
        network.break(machine.hostId);
        return void time.plan(random.between(100, 40_000), () => this.#startAgent(machine));
      case 'powerOff':
        if (agent) this.#kill(agent.process);
        machine.powerOff();
        // Nobody is left to say that the connections are gone.
        network.break(machine.hostId, random.between(10_000, 25_000));
        return void time.plan(random.between(5_000, 200_000), () => this.#startAgent(machine));
      case 'containerCrash': {
        const id = random.pick([...machine.live.keys()]);
        return id === undefined ? undefined : machine.crash(id);
      }
      case 'brokenHost':
        machine.brokenUntil = time.now + random.between(5_000, 120_000);
        return;
      case 'stranger': {
        // As after the books were restored from a backup, or by somebody with access to the machine.
        if (!agent?.process.alive) return;
        const spec = {
          id: random.uuid(),
          name: 'stranger',
          template: 'host',
          vcpus: 1,
          memoryMb: 64,
          diskMb: 64,
          timeoutSeconds: null,
        };
        return void time.plan(0, () => void agent.supervisor.apply(spec, 'RUNNING', 1).catch(() => {}), agent.process);
      }
      case 'controlCrash':
        if (!control?.process.alive) return;
        this.#kill(control.process);
        network.breakAll();
        return void time.plan(random.between(500, 20_000), () => this.#startControl());
      case 'controlStop': {
        if (!control?.process.alive) return;
        if (control.process.stoppedUntil > time.now) return;
        const ms = random.between(500, 150_000);
        control.process.stoppedUntil = time.now + ms;
        this.#stoppedAt.set(control.process, time.now);
        if (ms > NOTICED_STOP_MS) this.#interrupted(`a stop of ${ms} ms`, time.now + ms);
        return;
      }
      case 'databaseOutage': {
        const ms = random.between(500, 60_000);
        this.#databaseDownUntil = Math.max(this.#databaseDownUntil, time.now + ms);
        if (ms > NOTICED_STOP_MS) this.#interrupted(`a database outage of ${ms} ms`, time.now + ms);
        return;
      }
      case 'databaseClockJump':
        this.#databaseOffset += random.between(20_000, 400_000) * (random.chance(0.7) ? 1 : -1);
        return this.#interrupted('a jump of the database’s clock', time.now);
      case 'wallClockJump':
        this.#wallOffset += random.between(20_000, 400_000) * (random.chance(0.5) ? 1 : -1);
        return;
    }
  }

  #mend(): void {
    this.#chaos = false;
    this.#databaseDownUntil = 0;
    if (this.#listeningSince > this.time.now) {
      // Mended before its time, it may have been too short to be noticed.
      const { since, at } = this.#beforeInterruption;
      this.#listeningSince = this.time.now - at > NOTICED_STOP_MS ? this.time.now : since;
    }
    this.network.heal();
    if (this.#control) this.time.wake(this.#control.process);
    this.#startControl();
    for (const machine of this.#machines) {
      machine.brokenUntil = 0;
      this.#startAgent(machine);
    }
  }

  /** Control does not listen until a moment, and must know. */
  #interrupted(why: string, until: number): void {
    if (until < this.#listeningSince) return;
    this.#beforeInterruption = { since: this.#listeningSince, at: this.time.now };
    this.#listeningSince = until;
    this.#lastInterruption = why;
  }

  // The truth

  #violate(what: string): void {
    this.violations.push(`at ${((this.time.now - Date.UTC(2026, 0, 1)) / 1_000).toFixed(3)} s: ${what}`);
  }

  #machine(hostId: string): SimMachine {
    return this.#machines.find((machine) => machine.hostId === hostId) as SimMachine;
  }

  #witnessCreate(hostId: string, id: string): void {
    const elsewhere = this.#machines.find((machine) => machine.hostId !== hostId && machine.live.has(id));
    if (elsewhere) this.#violate(`sandbox ${id} lives on two hosts, ${hostId} and ${elsewhere.hostId}`);
  }

  /** A container that lived was deleted: somebody must have wanted that, or nobody have wanted it for long. */
  #witnessRemove(hostId: string, id: string): void {
    if (this.#canaries.has(id)) return this.#count('canary removed');
    const row = this.books.sandboxes.get(id);
    if (row?.hostId === hostId && row.desiredState === 'DESTROYED') return;
    const sighting = (this.books.orphans.get(hostId) ?? []).find(({ sandboxId }) => sandboxId === id);
    const age = sighting ? sighting.lastSeenAt.getTime() - sighting.firstSeenAt.getTime() : 0;
    const isRipe = sighting && sighting.readings >= ORPHAN_MIN_READINGS && age >= ORPHAN_MIN_AGE_MS;
    if (row?.hostId === hostId && !isEnded(row.status))
      this.#violate(`sandbox ${id} was removed although it is wanted`);
    else if (!isRipe) this.#violate(`sandbox ${id} was removed before its time (${JSON.stringify(sighting)})`);
    else this.#count('orphan removed');
  }

  #witnessSandbox(before: SandboxRow | undefined, after: SandboxRow): void {
    if (!before) return;
    const became = (row: SandboxState): string => `${row.status}${row.deletedAt ? ' (deleted)' : ''}`;
    if (before.deletedAt) this.#violate(`sandbox ${after.id} changed after it was deleted: ${became(after)}`);
    const isRevived = isEnded(before.status) && !isEnded(after.status) && after.desiredState !== 'DESTROYED';
    if (isRevived) this.#violate(`sandbox ${after.id} left a terminal state: ${became(before)} → ${became(after)}`);
    if (after.hostId !== before.hostId) this.#count('relocated');
    if (after.generation < before.generation) this.#violate(`sandbox ${after.id} went back a generation`);
    if (isEnded(after.status) && !isEnded(before.status)) {
      this.#count(after.deletedAt ? 'deleted' : `ended: ${after.statusReason}`);
      if (this.#machine(after.hostId).live.has(after.id))
        this.#violate(`sandbox ${after.id} is reported ${became(after)} and runs (${after.statusReason})`);
    }
    if (after.status === 'MISSING') this.#count('missing');
    if (before.status === 'MISSING' && after.status === 'RUNNING') this.#count('restored');
  }

  #witnessLost(host: BookedHost, epoch: number): void {
    this.#count('declared lost');
    const { now } = this.time;
    if (epoch !== this.books.epoch) this.#violate(`a judge of epoch ${epoch} judges in epoch ${this.books.epoch}`);
    const silentFor = now - (this.#heardAt.get(host.id) ?? 0);
    if (silentFor < LEASE_MS) this.#violate(`host ${host.id} was declared lost ${silentFor} ms after it was heard`);
    const listenedFor = now - this.#listeningSince;
    if (listenedFor < LEASE_MS)
      this.#violate(
        `host ${host.id} was declared lost although control has listened for ${listenedFor} ms only since ${this.#lastInterruption}`,
      );
    const hosts = [...this.books.hosts.values()].filter(({ status }) => status === 'ONLINE');
    const silent = hosts.filter(({ id }) => now - (this.#heardAt.get(id) ?? 0) >= LEASE_MS).length;
    // Some may have fallen silent since the evidence was taken.
    if (hosts.length >= MASS_MIN_HOSTS && silent - 2 > hosts.length * FREEZE_SHARE)
      this.#violate(`host ${host.id} was declared lost while ${silent} of ${hosts.length} are silent`);
  }

  /** What must be true at every moment. */
  #checkBooks(): void {
    for (const host of this.books.hosts.values()) {
      const { allocated, capacity } = host;
      if (
        allocated.milliVcpus > capacity.milliVcpus ||
        allocated.memoryMb > capacity.memoryMb ||
        allocated.diskMb > capacity.diskMb
      )
        this.#violate(`host ${host.id} is overbooked: ${JSON.stringify(allocated)}`);
    }
  }

  /** What must be true when all is well again. */
  #checkSettled(): void {
    const sums = new Map<string, number>();
    for (const row of this.books.sandboxes.values()) {
      const lives = this.#machine(row.hostId).live.get(row.id);
      const say = `sandbox ${row.id} (wanted ${row.desiredState}, ${row.status}, ${row.statusReason})`;
      if (row.holdsReservation !== !isEnded(row.status))
        this.#violate(`${say} holds a reservation: ${row.holdsReservation}`);
      if (row.holdsReservation) sums.set(row.hostId, (sums.get(row.hostId) ?? 0) + row.milliVcpus);
      if (row.desiredState === 'DESTROYED') {
        if (!row.deletedAt) this.#violate(`${say} should be gone`);
        if (lives) this.#violate(`${say} was destroyed and is ${lives}`);
      } else if (isEnded(row.status)) {
        if (lives) this.#violate(`${say} has ended and is ${lives}`);
      } else {
        const wanted =
          row.desiredState === 'PAUSED' ? (['PAUSED', 'paused'] as const) : (['RUNNING', 'running'] as const);
        if (row.status !== wanted[0] || lives !== wanted[1])
          this.#violate(`${say} should be ${wanted[1]}; it is ${lives}`);
      }
    }
    for (const host of this.books.hosts.values()) {
      if (host.status !== 'ONLINE' || host.tunnelReplica === null)
        this.#violate(`host ${host.id} should be online and reachable: ${host.status}, ${host.tunnelReplica}`);
      if (host.allocated.milliVcpus !== (sums.get(host.id) ?? 0))
        this.#violate(`host ${host.id} has ${host.allocated.milliVcpus} reserved for ${sums.get(host.id) ?? 0}`);
    }
    for (const machine of this.#machines) {
      for (const id of machine.live.keys()) {
        if (this.books.sandboxes.get(id)?.hostId !== machine.hostId)
          this.#violate(`stranger ${id} still lives on ${machine.hostId}`);
      }
    }
    const { verdict } = this.books;
    if (verdict?.state !== 'NORMAL') this.#violate(`the fleet should be NORMAL: ${verdict?.state}, ${verdict?.reason}`);
  }
}
