/**
 * An async iterator that is fed from outside.
 *
 * An async generator that is parked on a promise never runs its `finally` when it is cancelled, so
 * a subscription built on one leaks its source. Every push source in Rookery is this class instead:
 * `return()` takes effect at once, and `onReturn` runs exactly once however the iteration ends.
 */
export class PushIterator<T> implements AsyncIterableIterator<T, undefined>, AsyncDisposable {
  readonly #buffer: T[] = [];
  readonly #waiting: { resolve: (result: IteratorResult<T, undefined>) => void; reject: (error: unknown) => void }[] =
    [];
  readonly #onReturn: () => void | Promise<void>;
  #end: { error?: unknown } | undefined;
  #released = false;

  /** @param onReturn releases the source; called once, when the consumer leaves or the stream ends. */
  constructor(onReturn: () => void | Promise<void> = () => {}) {
    this.#onReturn = onReturn;
  }

  /** Values that nobody has taken yet. */
  get buffered(): number {
    return this.#buffer.length;
  }

  get closed(): boolean {
    return this.#end !== undefined;
  }

  /** Hands over one value; after the end it is dropped. */
  push(value: T): void {
    if (this.#end) return;
    const waiting = this.#waiting.shift();
    if (waiting) waiting.resolve({ done: false, value });
    else this.#buffer.push(value);
  }

  /** Drops what is buffered, for a consumer that has fallen too far behind. */
  clear(): void {
    this.#buffer.length = 0;
  }

  /** Ends the stream after what is buffered; with an error, the consumer's next read rejects with it. */
  close(error?: unknown): void {
    if (this.#end) return;
    this.#end = error === undefined ? {} : { error };
    for (const waiting of this.#waiting.splice(0)) {
      if (error === undefined) waiting.resolve({ done: true, value: undefined });
      else waiting.reject(error);
    }
    void this.#release();
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#buffer.length > 0) return Promise.resolve({ done: false, value: this.#buffer.shift() as T });
    if (this.#end) {
      const { error } = this.#end;
      this.#end = {};
      return error === undefined ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(error);
    }
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.clear();
    this.close();
    await this.#release();
    return { done: true, value: undefined };
  }

  async throw(error?: unknown): Promise<IteratorResult<T, undefined>> {
    await this.return();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  async #release(): Promise<void> {
    if (this.#released) return;
    this.#released = true;
    await this.#onReturn();
  }
}

/**
 * Maps an async iterator value by value, passing `return()` straight through to the source (an
 * `async function*` would not, see {@link PushIterator}).
 */
export function mapIterator<A, B>(
  source: AsyncIterator<A>,
  map: (value: A) => B | Promise<B>,
): AsyncIterableIterator<B> {
  return {
    async next() {
      const step = await source.next();
      return step.done ? { done: true, value: undefined } : { done: false, value: await map(step.value) };
    },
    async return() {
      await source.return?.();
      return { done: true, value: undefined };
    },
    async throw(error) {
      await source.return?.();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/**
 * Ends a stream whose source fails with one last value instead of a rejection. A graphql-ws server
 * would answer a rejection by closing the whole socket with 4500, which is fatal to its client.
 */
export function endWith<T>(source: AsyncIterator<T>, lastValue: (error: unknown) => T): AsyncIterableIterator<T> {
  let failed = false;
  return {
    async next() {
      if (failed) return { done: true, value: undefined };
      try {
        const step = await source.next();
        return step.done ? { done: true, value: undefined } : step;
      } catch (error) {
        failed = true;
        await Promise.resolve(source.return?.()).catch(() => {});
        return { done: false, value: lastValue(error) };
      }
    },
    async return() {
      await source.return?.();
      return { done: true, value: undefined };
    },
    async throw(error) {
      await source.return?.();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
