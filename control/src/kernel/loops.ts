import type { Logger } from '@rookery/wire/log.ts';

/** A periodic piece of work. */
export interface Loop {
  readonly name: string;
  /** What it makes right, for whoever looks at its last runs. */
  readonly description: string;
  readonly periodMs: number;
  /** One pass; the number says how much it did, undefined that it is another replica's to do (see `Leadership.judge`). */
  readonly run: () => Promise<number | undefined>;
}

/** How a loop's last pass went. */
export interface LoopStatus {
  readonly name: string;
  readonly description: string;
  readonly periodMs: number;
  readonly runs: number;
  /** Whether another replica did it when its turn came last. */
  readonly standsBy: boolean;
  readonly lastRunAt: Date | null;
  readonly lastDurationMs: number | null;
  readonly lastCount: number | null;
  readonly lastError: string | null;
}

interface Scheduled {
  readonly loop: Loop;
  timer?: NodeJS.Timeout;
  /** The pass that is under way. */
  running?: Promise<void> | undefined;
}

/**
 * Runs the background loops of a process: each at its period, never twice at once, and a failure is
 * a log line and the next pass, never the end.
 */
export class LoopDriver implements AsyncDisposable {
  readonly #log: Logger;
  readonly #statuses = new Map<string, LoopStatus>();
  readonly #loops = new Map<string, Scheduled>();
  #disposed = false;

  constructor(log: Logger) {
    this.#log = log;
  }

  add(loop: Loop): void {
    const { name, description, periodMs } = loop;
    this.#statuses.set(name, {
      name,
      description,
      periodMs,
      runs: 0,
      standsBy: false,
      lastRunAt: null,
      lastDurationMs: null,
      lastCount: null,
      lastError: null,
    });
    const scheduled: Scheduled = { loop };
    this.#loops.set(name, scheduled);
    this.#schedule(scheduled);
  }

  /** Makes a pass now, after the one that is under way if there is one; the next is a period later. Resolves at its end, however that was. */
  async nudge(name: string): Promise<void> {
    const scheduled = this.#loops.get(name);
    if (!scheduled) throw new Error(`there is no loop ${name}`);
    while (scheduled.running) await scheduled.running;
    if (this.#disposed) return;
    clearTimeout(scheduled.timer);
    await this.#begin(scheduled);
  }

  statuses(): LoopStatus[] {
    return [...this.#statuses.values()];
  }

  #schedule(scheduled: Scheduled): void {
    if (this.#disposed) return;
    scheduled.timer = setTimeout(() => void this.#begin(scheduled), scheduled.loop.periodMs);
  }

  #begin(scheduled: Scheduled): Promise<void> {
    scheduled.running = this.#pass(scheduled.loop).finally(() => {
      scheduled.running = undefined;
      this.#schedule(scheduled);
    });
    return scheduled.running;
  }

  async #pass({ name, run }: Loop): Promise<void> {
    const started = performance.now();
    const before = this.#statuses.get(name) as LoopStatus;
    let lastCount: number | null = null;
    let lastError: string | null = null;
    try {
      const count = await run();
      if (count === undefined) return void this.#statuses.set(name, { ...before, standsBy: true });
      lastCount = count;
    } catch (err) {
      lastError = err instanceof Error ? err.message : String(err);
      if (!this.#disposed) this.#log.warn({ loop: name, err }, 'a background loop failed; it goes on at its next turn');
    }
    this.#statuses.set(name, {
      ...before,
      runs: before.runs + 1,
      standsBy: false,
      lastRunAt: new Date(),
      lastDurationMs: Math.round(performance.now() - started),
      lastCount,
      lastError,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    const loops = [...this.#loops.values()];
    for (const { timer } of loops) clearTimeout(timer);
    await Promise.all(loops.map(({ running }) => running));
  }
}
