import { setTimeout as sleep } from 'node:timers/promises';

/** First wait after a failure, in ms, before jitter. */
const BASE_MS = 500;

/**
 * Exponential backoff with full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/):
 * after an outage, thousands of hosts come back spread out and not in waves.
 */
export class Backoff {
  #failures = 0;
  readonly #capMs: () => number;
  readonly #random: () => number;

  /** @param capMs the longest wait, in ms; a function where that may change. */
  constructor(capMs: number | (() => number), random: () => number = Math.random) {
    this.#capMs = typeof capMs === 'number' ? () => capMs : capMs;
    this.#random = random;
  }

  reset(): void {
    this.#failures = 0;
  }

  /** How long to wait after one more failure, in ms. */
  nextMs(): number {
    const ceiling = Math.min(this.#capMs(), BASE_MS * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 30);
    return this.#random() * ceiling;
  }

  /** Waits after a failure; returns early, without throwing, when the signal says so. */
  wait(signal: AbortSignal): Promise<void> {
    return pause(this.nextMs(), signal);
  }
}

/** Waits, or until the signal says that there is nothing to wait for any more. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: true }).catch(() => {});
}
