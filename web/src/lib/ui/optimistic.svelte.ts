/**
 * Switches that show at once what was chosen, and go back when it did not happen.
 *
 * A choice stands until the source says the same, or the request for it has failed.
 */
export class Optimistic {
  #wanted = $state.raw<Readonly<Record<string, boolean>>>({});
  #busy = $state.raw<readonly string[]>([]);

  /** What to show. @param actual what the source says. */
  shown(id: string, actual: boolean): boolean {
    return this.#wanted[id] ?? actual;
  }

  isBusy(id: string): boolean {
    return this.#busy.includes(id);
  }

  /** @param send answers whether it happened. */
  async choose(id: string, value: boolean, send: () => Promise<boolean>): Promise<void> {
    this.#wanted = { ...this.#wanted, [id]: value };
    this.#busy = [...this.#busy, id];
    const done = await send();
    this.#busy = this.#busy.filter((other) => other !== id);
    if (!done) this.#forget(id);
  }

  /** The source has spoken: a choice that it agrees with is over. */
  settle(id: string, actual: boolean): void {
    if (this.#wanted[id] === actual) this.#forget(id);
  }

  #forget(id: string): void {
    this.#wanted = Object.fromEntries(Object.entries(this.#wanted).filter(([other]) => other !== id));
  }
}
