/**
 * Credits: how much of a stream may be under way before its reader has acknowledged it.
 *
 * A graphql-ws server waits until its socket takes a message, but its client takes whatever comes
 * and never holds the socket back, because other operations share it. Where a stream is passed on
 * to somebody who may read slowly, the sender therefore stops when a window is full, and the reader
 * says how far it has come. The unit (bytes, messages) is what both sides agree on.
 */

/** What every message of a stream of bytes counts besides its data, in bytes: many empty ones cost memory too. */
export const STREAM_MESSAGE_BYTES = 256;

/**
 * How a gateway asks control for a stream with a window, in the operation's `extensions`, and
 * acknowledges: by an operation of its own on the same socket, whose `extensions` say which stream
 * and how many of its messages have been handed on.
 */
export interface WindowExtensions {
  readonly window?: { readonly stream: string; readonly messages: number };
  readonly acknowledged?: { readonly stream: string; readonly messages: number };
}

/** The sender's side. */
export class SendWindow {
  readonly #size: number;
  #sent = 0;
  #acknowledged = 0;
  #closed = false;
  #wake: (() => void) | undefined;

  /** @param size the sender stops when this much is not acknowledged; the last message may exceed it. */
  constructor(size: number) {
    this.#size = size;
  }

  /** Resolves when there is room, or when the stream is over. One waits at a time. */
  async ready(): Promise<void> {
    if (this.#closed || this.#sent - this.#acknowledged < this.#size) return;
    await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  sent(amount: number): void {
    this.#sent += amount;
  }

  /**
   * The reader has consumed this much since the stream began. A total and not a step, so that one
   * which is lost or comes twice does no harm; what was never sent cannot be acknowledged.
   */
  acknowledge(total: number): void {
    if (!(total > this.#acknowledged)) return;
    this.#acknowledged = Math.min(total, this.#sent);
    if (this.#sent - this.#acknowledged < this.#size) this.#release();
  }

  /** Lets whoever waits go on, to find that the stream is over. */
  close(): void {
    this.#closed = true;
    this.#release();
  }

  #release(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

/**
 * A stream that is read no further than its window allows.
 *
 * @param sizeOf what a value takes of the window.
 * @param onEnd  called once, when the stream has ended or its reader has left.
 */
export function windowed<T>(
  source: AsyncIterator<T>,
  window: SendWindow,
  sizeOf: (value: T) => number,
  onEnd: () => void = () => {},
): AsyncIterableIterator<T> {
  let ended = false;
  const end = (): void => {
    if (ended) return;
    ended = true;
    window.close();
    onEnd();
  };
  return {
    async next() {
      await window.ready();
      if (ended) return { done: true, value: undefined };
      try {
        const step = await source.next();
        if (step.done) {
          end();
          return { done: true, value: undefined };
        }
        window.sent(sizeOf(step.value));
        return step;
      } catch (error) {
        end();
        throw error;
      }
    },
    async return() {
      end();
      await source.return?.();
      return { done: true, value: undefined };
    },
    async throw(error) {
      end();
      await source.return?.();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** The reader's side: says how far it has come, not for every message but before the window is empty. */
export class ReceiveWindow {
  readonly #size: number;
  readonly #acknowledge: (total: number) => void;
  #consumed = 0;
  #acknowledged = 0;

  /**
   * @param size        what the sender was told.
   * @param acknowledge passes a total on to the sender.
   */
  constructor(size: number, acknowledge: (total: number) => void) {
    this.#size = size;
    this.#acknowledge = acknowledge;
  }

  /** The reader has taken this much more. */
  consumed(amount: number): void {
    this.#consumed += amount;
    if (this.#consumed - this.#acknowledged < this.#size / 2) return;
    this.#acknowledged = this.#consumed;
    this.#acknowledge(this.#consumed);
  }
}
