/** Rows drawn at first and added by each "Show more": more make every change slower to draw. */
const STEP = 100;

/**
 * A searched, cut view of a list. Cutting keeps a fleet of thousands quick; the counts stay those of the whole.
 *
 * @param words what a row is found by.
 */
export class Filtered<T> {
  search = $state('');
  #limit = $state(STEP);
  readonly #source: () => readonly T[];
  readonly #words: (item: T) => readonly (string | null | undefined)[];

  constructor(source: () => readonly T[], words: (item: T) => readonly (string | null | undefined)[]) {
    this.#source = source;
    this.#words = words;
  }

  readonly matching: readonly T[] = $derived.by(() => {
    const term = this.search.trim().toLowerCase();
    if (!term) return this.#source();
    return this.#source().filter((item) => this.#words(item).some((word) => word?.toLowerCase().includes(term)));
  });

  readonly shown: readonly T[] = $derived(this.matching.slice(0, this.#limit));

  more(): void {
    this.#limit += STEP;
  }
}
