import { RookeryError } from '@rookery/wire/errors.ts';
import type { Random } from './random.ts';
import type { SimProcess, VirtualTime } from './virtual-time.ts';

/** How long a peer that says nothing is taken for alive, in ms: both sides ping every 15 s and wait 10 s. */
const PING_TIMEOUT_MS = [10_000, 25_000] as const;

const lost = (why: string): RookeryError => new RookeryError('UNAVAILABLE', why);

/**
 * One socket between an agent and control. Messages on it may be late, overtake each other (operations of one socket
 * run at the same time) and be done twice (who gets no answer asks again); when it breaks, whatever is on its way is lost.
 */
export class Connection {
  open = true;
  readonly #network: Network;
  readonly #sides: readonly [SimProcess, SimProcess];
  readonly hostId: string;
  readonly #onEnd: [SimProcess, () => void][] = [];

  constructor(network: Network, hostId: string, sides: readonly [SimProcess, SimProcess]) {
    this.#network = network;
    this.hostId = hostId;
    this.#sides = sides;
  }

  /** Tells one side of the end, when it learns of it. */
  onEnd(side: SimProcess, listener: () => void): void {
    this.#onEnd.push([side, listener]);
  }

  /** Breaks it; each side that lives learns of it soon, or after `silentMs` when there is nobody to tell it. */
  end(silentMs = 0): void {
    if (!this.open) return;
    this.open = false;
    const { time, random } = this.#network;
    for (const [side, listener] of this.#onEnd) time.plan(silentMs + random.between(0, 50), listener, side);
  }

  /** Asks the other side; rejects when the connection breaks first, or at the deadline. */
  call<T>(from: SimProcess, handler: () => Promise<T>, deadlineMs: number): Promise<T> {
    const { time, random } = this.#network;
    const to = this.#sides[0] === from ? this.#sides[1] : this.#sides[0];
    return new Promise<T>((resolve, reject) => {
      const deadline = time.plan(deadlineMs, () => reject(lost(`no answer in ${deadlineMs} ms`)), from);
      const settle = (action: () => void): void => {
        deadline.cancelled = true;
        action();
      };
      this.onEnd(from, () => settle(() => reject(lost('the connection broke'))));
      if (!this.open) return void time.plan(1, () => settle(() => reject(lost('the connection is closed'))), from);
      const serve = (): void => {
        if (!this.open) return;
        handler().then(
          (answer) => this.#deliver(from, () => settle(() => resolve(answer))),
          (error: unknown) => this.#deliver(from, () => settle(() => reject(error as Error))),
        );
      };
      this.#deliver(to, serve);
      if (random.chance(this.#network.duplicates))
        this.#deliver(to, () => void (this.open && handler().catch(() => {})));
    });
  }

  #deliver(to: SimProcess, run: () => void): void {
    const { time } = this.#network;
    const delay = this.#network.delay(this.hostId);
    time.plan(delay, () => this.open && run(), to);
  }
}

/** What lies between agents and control. */
export class Network {
  readonly time: VirtualTime;
  readonly random: Random;
  /** Share of the messages that are slow, and of those that arrive twice. */
  slow = 0.05;
  duplicates = 0.02;
  /** Until when a host is cut off; its messages wait, as TCP does, or its connections end. */
  readonly #cutUntil = new Map<string, number>();
  readonly #connections = new Set<Connection>();

  constructor(time: VirtualTime, random: Random) {
    this.time = time;
    this.random = random;
  }

  delay(hostId: string): number {
    const latency = this.random.chance(this.slow) ? this.random.between(200, 8_000) : this.random.between(1, 60);
    return latency + Math.max(0, (this.#cutUntil.get(hostId) ?? 0) - this.time.now);
  }

  connect(hostId: string, agent: SimProcess, control: SimProcess): Connection {
    const connection = new Connection(this, hostId, [agent, control]);
    this.#connections.add(connection);
    return connection;
  }

  isCut(hostId: string): boolean {
    return (this.#cutUntil.get(hostId) ?? 0) > this.time.now;
  }

  /** Nothing gets through for a while; connections that last long enough without a sign end on both sides. */
  cut(hostId: string, ms: number): void {
    this.#cutUntil.set(hostId, this.time.now + ms);
    for (const connection of this.#of(hostId)) {
      const patience = this.random.between(...PING_TIMEOUT_MS);
      this.time.plan(patience, () => this.isCut(hostId) && connection.end(), undefined);
    }
  }

  /** The connections of a host break. */
  break(hostId: string, silentMs = 0): void {
    for (const connection of this.#of(hostId)) connection.end(silentMs);
  }

  breakAll(): void {
    for (const connection of this.#connections) connection.end();
    this.#connections.clear();
  }

  heal(): void {
    this.#cutUntil.clear();
    this.slow = 0.01;
    this.duplicates = 0;
  }

  #of(hostId: string): Connection[] {
    for (const connection of this.#connections) if (!connection.open) this.#connections.delete(connection);
    return [...this.#connections].filter((connection) => connection.hostId === hostId);
  }
}
