import type { Client } from 'graphql-ws';
import { query } from '#lib/gql/client.ts';
import { isUnauthenticated } from '#lib/gql/errors.ts';
import { retryDelay } from '#lib/live/connection.ts';
import { pause, streamEvents } from '#lib/live/live-feed.ts';
import { clock } from '#lib/ui/clock.svelte.ts';
import { FleetHealthChangedSubscription, FleetHealthQuery } from './health.operations.ts';
import { knownState, laterHealth, type Health, type HealthState } from './health.ts';

/** Milliseconds between readings: events tell of changes, only readings tell that somebody still looks. */
const READ_EVERY_MS = 10_000;

/** Milliseconds within which a server that restarts, or its successor, answers again as a rule. */
const BLINK_MS = 2_000;

/** Keeps what is known of the fleet's health, and how old that is. */
export class HealthWatch {
  #health = $state.raw<Health | null>(null);
  #newsAt = $state.raw<number | null>(null);
  /** Since when it cannot be read, by this browser's clock; null when it can. */
  #failingSince = $state.raw<number | null>(null);
  readonly #live: () => boolean;

  /** @param live whether the socket is there, reactively. */
  constructor(live: () => boolean) {
    this.#live = live;
  }

  /** As it was last heard; only {@link state} says whether that still holds. */
  get health(): Health | null {
    return this.#health;
  }

  /** What may be claimed now; null while nothing was heard. */
  get state(): HealthState | null {
    const live = this.#live() && this.#failingSince === null;
    return knownState({ health: this.#health, newsAt: this.#newsAt, live }, clock.now);
  }

  /** Whether it is out of reach for no longer than a blink, which is not worth a word. */
  get isBlinking(): boolean {
    return this.#failingSince !== null && clock.now - this.#failingSince < BLINK_MS;
  }

  take(heard: Health | null): void {
    const later = laterHealth(this.#health, heard);
    if (later === null) return;
    if (later.checkedAt !== this.#health?.checkedAt) this.#newsAt = Date.now();
    this.#health = later;
  }

  /** Follows it until the signal aborts. */
  follow(socket: Client, signal: AbortSignal): void {
    const read = () => void this.#read();
    const readWhenSeen = () => document.hidden || read();
    const timer = setInterval(readWhenSeen, READ_EVERY_MS);
    document.addEventListener('visibilitychange', readWhenSeen);
    signal.addEventListener('abort', () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', readWhenSeen);
    });
    read();
    void this.#stream(socket, read, signal);
  }

  async #stream(socket: Client, read: () => void, signal: AbortSignal): Promise<void> {
    let after: string | null = null;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await streamEvents(
          {
            socket,
            subscription: FleetHealthChangedSubscription,
            after,
            onConnected: read,
            next: ({ fleetHealthChanged: { cursor, fleetHealth } }) => {
              attempt = 0;
              this.take(fleetHealth ?? null);
              return (after = cursor);
            },
          },
          signal,
        );
      } catch (error) {
        // Whoever follows the lists says that the session is over.
        if (isUnauthenticated(error)) return;
      }
      // Is it the stream alone, or is there nobody? What was heard does not count without an answer.
      if (!signal.aborted) read();
      await pause(retryDelay(attempt), signal);
    }
  }

  async #read(): Promise<void> {
    try {
      this.take((await query(FleetHealthQuery, {})).fleetHealth ?? null);
      this.#failingSince = null;
    } catch {
      this.#failingSince ??= Date.now();
    }
  }
}
