import type { Fleet } from '#lib/fleet/fleet.svelte.ts';

/** Milliseconds between readings of what is no event, like when a key was used last. */
const READ_EVERY_MS = 20_000;

/**
 * Something of a team that is read as a whole and again whenever the team has changed: its members, its keys.
 * Such lists are short; reading them anew is simpler than merging, and cannot go wrong.
 */
export class TeamReading<T> {
  #value = $state.raw<T | null>(null);
  #problem = $state.raw<Error | null>(null);
  #reading = 0;
  readonly #teamId: () => string | null;
  readonly #read: (teamId: string) => Promise<T | null>;
  // By value, so that whatever it depends on may change without a reason to start over.
  readonly #id = $derived.by(() => this.#teamId());

  /**
   * Made while a component is; ends with it.
   *
   * @param teamId null when there is nothing to read.
   * @param read   answers null when there is no such team that the viewer may see.
   */
  constructor(fleet: Fleet, teamId: () => string | null, read: (teamId: string) => Promise<T | null>) {
    this.#teamId = teamId;
    this.#read = read;
    $effect(() => {
      const id = this.#id;
      this.#value = null;
      if (id === null) return;
      void this.#load(id);
      const timer = setInterval(() => document.hidden || void this.#load(id), READ_EVERY_MS);
      const forget = fleet.onTeamChange((changed) => {
        if (changed === null || changed === id) void this.#load(id);
      });
      return () => {
        clearInterval(timer);
        forget();
        // What is on its way belongs to another team.
        this.#reading++;
      };
    });
  }

  /** Null until it was read, and when there is no such team for this viewer. */
  get value(): T | null {
    return this.#value;
  }

  /** Why it could not be read the last time. */
  get problem(): Error | null {
    return this.#problem;
  }

  async #load(teamId: string): Promise<void> {
    const reading = ++this.#reading;
    try {
      const value = await this.#read(teamId);
      // A later reading is on its way, and knows more.
      if (reading !== this.#reading) return;
      this.#value = value;
      this.#problem = null;
    } catch (error) {
      if (reading === this.#reading) this.#problem = error instanceof Error ? error : new Error(String(error));
    }
  }
}
