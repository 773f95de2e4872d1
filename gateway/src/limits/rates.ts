import type { Caller } from '@rookery/wire/caller.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { credentialOf } from '../callers.ts';
import type { LimitSettings } from './limits.config.ts';

/** Over how long requests are counted, in seconds. Longer lets bursts through that are larger, and makes who was refused wait longer. */
export const RATE_WINDOW_SECONDS = 10;

/** More requests than one client may send. */
export class TooManyRequests extends RookeryError {
  readonly retryAfterSeconds: number;

  constructor(retryAfterSeconds: number) {
    super('RATE_LIMITED', 'Too many requests; slow down.');
    this.retryAfterSeconds = retryAfterSeconds;
  }

  override get extensions() {
    return { ...super.extensions, retryAfterSeconds: this.retryAfterSeconds };
  }
}

/**
 * Counts requests of each credential and each address, in this process: a fleet of N gateways lets
 * N times as much through, which is what it was made larger for.
 */
export class RequestRates {
  readonly #viewers: RateLimiterMemory | undefined;
  readonly #addresses: RateLimiterMemory | undefined;

  constructor(limits: Pick<LimitSettings, 'ROOKERY_REQUESTS_PER_VIEWER' | 'ROOKERY_REQUESTS_PER_ADDRESS'>) {
    this.#viewers = limiter(limits.ROOKERY_REQUESTS_PER_VIEWER);
    this.#addresses = limiter(limits.ROOKERY_REQUESTS_PER_ADDRESS);
  }

  /** Counts one request. @throws {TooManyRequests} */
  async count(caller: Caller): Promise<void> {
    try {
      // The address first: credentials can be made up, one for each request.
      await this.#addresses?.consume(caller.address ?? 'unknown');
      const credential = credentialOf(caller);
      if (credential !== undefined) await this.#viewers?.consume(credential);
    } catch (refused) {
      if (!(refused instanceof RateLimiterRes)) throw refused;
      throw new TooManyRequests(Math.max(1, Math.ceil(refused.msBeforeNext / 1_000)));
    }
  }
}

const limiter = (points: number): RateLimiterMemory | undefined =>
  points === 0 ? undefined : new RateLimiterMemory({ points, duration: RATE_WINDOW_SECONDS });

/** Counts what is open at the same time, by key. */
export class OpenCounts {
  readonly #max: number;
  readonly #open = new Map<string, number>();

  /** @param max 0 for no limit. */
  constructor(max: number) {
    this.#max = max;
  }

  /** Takes a place; false when there is none. */
  take(key: string): boolean {
    const open = this.#open.get(key) ?? 0;
    if (this.#max > 0 && open >= this.#max) return false;
    this.#open.set(key, open + 1);
    return true;
  }

  /** Gives a place back. */
  release(key: string): void {
    const open = (this.#open.get(key) ?? 0) - 1;
    if (open > 0) this.#open.set(key, open);
    else this.#open.delete(key);
  }
}
