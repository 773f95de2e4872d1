import type { Interruption } from './monitor.state.ts';

/** How often the watch looks at the clocks, in ms. */
const TICK_MS = 250;

/**
 * A stall or jump that counts, in ms, for leases of half a minute and more; for shorter ones a third of the
 * lease, but not less than a busy machine takes at times. Lower listens for a whole lease after every
 * hiccup, higher lets a pause of ours pass for silence of theirs.
 */
const MAX_TOLERANCE_MS = 5_000;
const MIN_TOLERANCE_MS = 1_000;

export const toleranceFor = (leaseMs: number): number =>
  Math.min(MAX_TOLERANCE_MS, Math.max(MIN_TOLERANCE_MS, leaseMs / 3));

/** The clocks of this process, in ms. */
export interface Clocks {
  /** Only goes forward; stands still while the machine sleeps. */
  monotonic(): number;
  /** What people set. */
  wall(): number;
}

const REAL_CLOCKS: Clocks = { monotonic: () => performance.now(), wall: () => Date.now() };

/**
 * Notices that this process was not there: its event loop was blocked, it was stopped, the machine
 * slept, or a clock jumped. While that lasted nobody's heartbeat was taken.
 */
export class InterruptionWatch implements Disposable {
  readonly #clocks: Clocks;
  readonly #toleranceMs: number;
  readonly #timer: NodeJS.Timeout;
  #last: { monotonic: number; wall: number };
  #database: { readonly monotonic: number; readonly now: number } | undefined;
  #found: Interruption | undefined;

  constructor(toleranceMs: number, clocks: Clocks = REAL_CLOCKS) {
    this.#clocks = clocks;
    this.#toleranceMs = toleranceMs;
    this.#last = { monotonic: clocks.monotonic(), wall: clocks.wall() };
    this.#timer = setInterval(() => this.#look(), TICK_MS);
    this.#timer.unref();
  }

  /** @returns what has happened since the last call, if anything has. Looks at once: after a stall nobody knows which timer comes first. */
  take(): Interruption | undefined {
    this.#look();
    const found = this.#found;
    this.#found = undefined;
    return found;
  }

  /** The database's clock, by which leases are written, was read; it may jump as well. */
  databaseClock(now: number): void {
    const monotonic = this.#clocks.monotonic();
    const before = this.#database;
    this.#database = { monotonic, now };
    if (!before) return;
    const jump = now - before.now - (monotonic - before.monotonic);
    if (Math.abs(jump) > this.#toleranceMs) this.#found = 'CLOCK_JUMPED';
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = { monotonic: this.#clocks.monotonic(), wall: this.#clocks.wall() };
    const passed = now.monotonic - this.#last.monotonic;
    const jump = now.wall - this.#last.wall - passed;
    this.#last = now;
    if (Math.abs(jump) > this.#toleranceMs) this.#found = 'CLOCK_JUMPED';
    else if (passed > this.#toleranceMs + TICK_MS) this.#found ??= 'CONTROL_STALLED';
  }
}
