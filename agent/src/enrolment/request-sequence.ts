import { readFileIfThere, writeFileAtomic } from '@rookery/wire/files.ts';

/**
 * Numbers the requests that carry a proof of the host's key. They only grow, also across crashes and
 * clock changes: by them control tells a message that was delayed on its way from a second holder of
 * the credentials.
 *
 * The time is their base, so that a copy of the state directory counts on from the present as well, and
 * not from where the original was when it was copied.
 */
export class RequestSequence {
  readonly #path: string;
  #last: number;

  private constructor(path: string, last: number) {
    this.#path = path;
    this.#last = last;
  }

  static async open(path: string): Promise<RequestSequence> {
    const saved = Number((await readFileIfThere(path)) ?? 0);
    return new RequestSequence(path, Number.isSafeInteger(saved) ? saved : 0);
  }

  /**
   * The next number, durable before it is used.
   *
   * @throws when it cannot be written; then the request must not be made.
   */
  async next(): Promise<number> {
    const next = Math.max(this.#last + 1, Date.now());
    await writeFileAtomic(this.#path, String(next));
    this.#last = next;
    return next;
  }

  /** Continues above what control has seen; a clock that was set back can have left us below it. */
  exceed(seen: number): void {
    if (Number.isSafeInteger(seen)) this.#last = Math.max(this.#last, seen);
  }
}
