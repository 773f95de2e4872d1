import type { LiveCollection, LiveNode } from './live-collection.ts';

/** What Svelte sees of a live collection. All rules are in {@link LiveCollection}; this only says "it changed". */
export class LiveList<T extends LiveNode> {
  #version = $state.raw(0);
  #problem = $state.raw<Error | null>(null);

  constructor(readonly collection: LiveCollection<T>) {
    // A burst of events costs one rendering. Hidden tabs get no frames, and need none until they are shown.
    let frame = 0;
    collection.subscribe(() => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        this.#version++;
      });
    });
  }

  get items(): readonly T[] {
    void this.#version;
    return this.collection.items;
  }

  get loaded(): boolean {
    void this.#version;
    return this.collection.loaded;
  }

  /** Why the list cannot be read or followed right now. */
  get problem(): Error | null {
    return this.#problem;
  }

  set problem(problem: Error | null) {
    this.#problem = problem;
  }

  get(id: string): T | undefined {
    void this.#version;
    return this.collection.get(id);
  }

  wasDeleted(id: string): boolean {
    void this.#version;
    return this.collection.wasDeleted(id);
  }

  /** How many satisfy the predicate; null ("unknown") while the list was never read, which is not the same as 0. */
  count(predicate: (item: T) => boolean = () => true): number | null {
    if (!this.loaded) return null;
    let count = 0;
    for (const item of this.items) if (predicate(item)) count++;
    return count;
  }
}
