import { Backoff } from '../backoff.ts';

/** Within this time a connection that stood is dialled again until control has said otherwise, in ms. */
const DEFAULT_SPREAD_MS = 1_000;

/** A control plane that asks for more is not taken at its word, in ms: a lease lasts 90 s. */
const MAX_SPREAD_MS = 60_000;

/**
 * Longest wait between two dials of a small fleet, in ms; lower finds control sooner, higher spares it a storm after an
 * outage. No longer than between two heartbeats: a control plane that wants to hear of its hosts more often has leases
 * that would run out meanwhile.
 */
const MAX_BACKOFF_MS = 15_000;
const MIN_BACKOFF_MS = 1_000;

/**
 * Over how long the fleet's agents are to come back when control restarts: control knows how many
 * there are and says so with every heartbeat. Shared by an agent's two connections.
 */
export class ReconnectSpread {
  #ms = DEFAULT_SPREAD_MS;
  #maxBackoffMs = MAX_BACKOFF_MS;

  get ms(): number {
    return this.#ms;
  }

  /** Longest wait between two dials while control is away, in ms, unless the spread asks for more. */
  get maxBackoffMs(): number {
    return this.#maxBackoffMs;
  }

  /** Control has said how long, and how often it wants to hear of this host. */
  set(ms: number, heartbeatMs: number): void {
    this.#ms = Math.min(Math.max(ms, 0), MAX_SPREAD_MS);
    this.#maxBackoffMs = Math.min(Math.max(heartbeatMs, MIN_BACKOFF_MS), MAX_BACKOFF_MS);
  }
}

/** By how much the waits of a fleet that is spread already differ, as a share of the spread. */
const JITTER = 0.1;

/**
 * When to dial again. All connections of a fleet break in the same moment when control restarts: the
 * first dial is drawn evenly over the spread. While it fails each agent tries again after about the
 * spread, or later by its backoff, which keeps them spread: the fleet as a whole knocks no more often
 * than it would have come back, however long control is away, and is back within about the spread.
 */
export class Reconnect {
  readonly #spread: ReconnectSpread;
  readonly #random: () => number;
  readonly #backoff: Backoff;
  #stood = false;

  constructor(spread: ReconnectSpread, random: () => number = Math.random) {
    this.#spread = spread;
    this.#random = random;
    this.#backoff = new Backoff(() => spread.maxBackoffMs, random);
  }

  /** The connection works. */
  stands(): void {
    this.#stood = true;
    this.#backoff.reset();
  }

  /** How long to wait now that there is no connection, in ms. */
  nextMs(): number {
    if (!this.#stood) {
      const spreadMs = this.#spread.ms * (1 - JITTER + 2 * JITTER * this.#random());
      return Math.max(spreadMs, this.#backoff.nextMs());
    }
    this.#stood = false;
    return this.#random() * this.#spread.ms;
  }
}
