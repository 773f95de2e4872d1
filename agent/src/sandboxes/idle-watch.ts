import { canIdle, type SandboxRecord } from './sandbox.state.ts';

/** Longest wait between two looks, in ms; timers count with 31 bits. */
const MAX_WAIT_MS = 3_600_000;

interface Watched {
  readonly timeoutMs: number;
  readonly generation: number;
  canIdle: boolean;
  /** Commands that run in it. */
  active: number;
  /** By a clock that only goes forward: one that jumps must not make everything idle. */
  lastActiveMs: number;
  /** A pause has been decided and is being carried out. */
  pausing: boolean;
}

/**
 * Notices sandboxes in which nothing has happened for their timeout. A running command is activity
 * from its start to its end, and so are the start of a sandbox and every new wish of control; after
 * a restart of the agent the time begins anew.
 */
export class IdleWatch implements Disposable {
  readonly #watched = new Map<string, Watched>();
  readonly #onIdle: (id: string) => void;
  readonly #clock: () => number;
  #timer: NodeJS.Timeout | undefined;
  #disposed = false;

  /**
   * @param onIdle called again and again for as long as a sandbox stays idle and is not paused.
   * @param clock  in ms, only ever growing.
   */
  constructor(onIdle: (id: string) => void, clock = (): number => performance.now()) {
    this.#onIdle = onIdle;
    this.#clock = clock;
  }

  /** Takes what a sandbox is now. */
  take(record: SandboxRecord): void {
    const { id, timeoutSeconds } = record.spec;
    if (timeoutSeconds === null) {
      this.#watched.delete(id);
      return;
    }
    const before = this.#watched.get(id);
    const can = canIdle(record);
    const isNews = !before || before.generation !== record.generation || (can && !before.canIdle);
    this.#watched.set(id, {
      timeoutMs: timeoutSeconds * 1_000,
      generation: record.generation,
      canIdle: can,
      active: before?.active ?? 0,
      lastActiveMs: isNews ? this.#clock() : before.lastActiveMs,
      pausing: before?.pausing ?? false,
    });
    this.#arm();
  }

  forget(id: string): void {
    this.#watched.delete(id);
  }

  /** A command begins. @returns false when a pause has been decided already; then it must not. */
  enter(id: string): boolean {
    const watched = this.#watched.get(id);
    if (!watched) return true;
    if (watched.pausing) return false;
    watched.active += 1;
    watched.lastActiveMs = this.#clock();
    return true;
  }

  /** A command that {@link enter} let begin has ended. */
  leave(id: string): void {
    const watched = this.#watched.get(id);
    if (!watched) return;
    watched.active = Math.max(0, watched.active - 1);
    watched.lastActiveMs = this.#clock();
    this.#arm();
  }

  /** Runs `pause` if the sandbox is still idle, and lets no command begin meanwhile. */
  async whilePausing(id: string, pause: () => Promise<void>): Promise<void> {
    const watched = this.#watched.get(id);
    if (!watched || !this.#isIdle(watched)) return;
    watched.pausing = true;
    try {
      await pause();
    } finally {
      const current = this.#watched.get(id);
      if (current) current.pausing = false;
    }
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    clearTimeout(this.#timer);
  }

  #isIdle({ canIdle: can, active, lastActiveMs, timeoutMs }: Watched): boolean {
    return can && active === 0 && this.#clock() - lastActiveMs >= timeoutMs;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#disposed) return;
    const due = [...this.#watched.values()]
      .filter(({ canIdle: can, active, pausing }) => can && active === 0 && !pausing)
      .map(({ lastActiveMs, timeoutMs }) => lastActiveMs + timeoutMs - this.#clock());
    if (due.length === 0) return;
    // Rounded up, so that it is not woken a fraction of a millisecond early for nothing.
    const wait = Math.min(Math.max(Math.ceil(Math.min(...due)), 1), MAX_WAIT_MS);
    this.#timer = setTimeout(() => {
      for (const [id, watched] of this.#watched) if (this.#isIdle(watched)) this.#onIdle(id);
      this.#rearmLater();
    }, wait);
  }

  /** One that could not be paused is tried again, but not in a tight circle. */
  #rearmLater(): void {
    clearTimeout(this.#timer);
    if (!this.#disposed) this.#timer = setTimeout(() => this.#arm(), 1_000);
  }
}
