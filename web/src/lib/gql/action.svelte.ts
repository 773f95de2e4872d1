import { describeError } from './errors.ts';
import { newIdempotencyKey } from './idempotency.ts';

interface Refusal {
  readonly message: string;
  readonly path?: readonly string[] | null;
}

/** What a mutation's result union has besides its refusals. */
type Success<T> = Exclude<T, { readonly message: string }>;

/** One thing that a person asks for: whether it is under way, and why it did not happen. */
export class Action {
  busy = $state(false);
  #refusal = $state.raw<Refusal | null>(null);
  /** One key for one wish: sent again because its answer was lost, it happens once; a refused wish is a new one. */
  #key = newIdempotencyKey();

  get idempotencyKey(): string {
    return this.#key;
  }

  /** Why it was refused or failed, in words. */
  get problem(): string | null {
    return this.#refusal?.message ?? null;
  }

  /** The problem, if it is one of this field of the input. */
  of(field: string): string | null {
    return this.#refusal?.path?.includes(field) ? this.#refusal.message : null;
  }

  /** The problem, unless one of these fields shows it. */
  except(...fields: string[]): string | null {
    return fields.some((field) => this.of(field)) ? null : this.problem;
  }

  /** @returns null when it was refused, failed, or is under way already. */
  async run<T extends object>(work: () => Promise<T>): Promise<Success<T> | null> {
    if (this.busy) return null;
    this.busy = true;
    this.#refusal = null;
    try {
      const result = await work();
      if (!isRefusal(result)) return result as Success<T>;
      this.#refusal = result;
      this.#key = newIdempotencyKey();
    } catch (error) {
      // The outcome is unknown: the same key makes trying again safe.
      this.#refusal = { message: describeError(error) };
    } finally {
      this.busy = false;
    }
    return null;
  }
}

function isRefusal(result: object): result is Refusal {
  return 'message' in result && typeof result.message === 'string';
}
