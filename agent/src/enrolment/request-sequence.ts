import { readFileIfThere, writeFileAtomic } from '@rookery/wire/files.ts';
import { ControlCallError } from './control-api.ts';

/** How often a request comes again at once because it was not its turn; then as after any failure. */
const MOST_TURNS = 3;

/**
 * Numbers the requests that carry a proof of the host's key. Control grants only the one after the last
 * that it has granted, each once, and tells whoever is out of turn which that was: by that it tells a
 * message that was delayed on its way, or recorded, from somebody who is alive.
 *
 * INVARIANT: nothing of ours is under way with a higher number than the next one. So a number goes out
 * again and again until control has said something of it, and nothing is ever guessed: not after a
 * crash, and not from a clock.
 */
export class RequestSequence {
  readonly #path: string;
  #last: number;

  private constructor(path: string, last: number) {
    this.#path = path;
    this.#last = last;
  }

  /** What the file says may be old, or missing: then it costs a request more. */
  static async open(path: string): Promise<RequestSequence> {
    const saved = Number((await readFileIfThere(path).catch(() => undefined)) ?? 0);
    return new RequestSequence(path, isSequence(saved) ? saved : 0);
  }

  /**
   * Makes a request when it is its turn.
   *
   * @param request is given its number.
   * @throws when nothing can be written here: then what control would answer could not be kept either,
   * and it is not asked. And whatever `request` throws.
   */
  async inTurn<T>(request: (sequence: number) => Promise<T>): Promise<T> {
    for (let turn = 1; ; turn++) {
      await writeFileAtomic(this.#path, String(this.#last));
      const sequence = this.#last + 1;
      try {
        const answer = await request(sequence);
        this.#last = sequence;
        return answer;
      } catch (error) {
        const last = lastSequenceOf(error);
        if (last === undefined) throw error;
        // Also downwards: a control plane that was restored from a backup has granted less than we know of.
        this.#last = last;
        if (turn >= MOST_TURNS) throw error;
      }
    }
  }

  /** Writes down what control has granted. Only saves a request after the next start, so that a failure is none. */
  async save(): Promise<void> {
    await writeFileAtomic(this.#path, String(this.#last)).catch(() => {});
  }
}

function lastSequenceOf(error: unknown): number | undefined {
  if (!(error instanceof ControlCallError) || error.kind !== 'out-of-turn') return undefined;
  const last = error.extensions['lastSequence'];
  return isSequence(last) ? last : undefined;
}

const isSequence = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value < Number.MAX_SAFE_INTEGER;
