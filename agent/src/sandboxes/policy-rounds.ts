import type { KeyedQueue } from './sandbox.queue.ts';
import type { SandboxRecord } from './sandbox.state.ts';

/** What a policy makes of a sandbox; the very same record when it has nothing to say of it. */
export type PolicyChange = (record: SandboxRecord) => SandboxRecord;

/**
 * Carries out what a policy says of all sandboxes, each in its turn. The newest round is what counts: it
 * makes an end of the one before, and what failed in it is owed until {@link PolicyRounds.settle}.
 */
export class PolicyRounds {
  readonly #queue: KeyedQueue;
  readonly #work: (id: string, change: PolicyChange) => Promise<void>;
  readonly #onFailure: (id: string, error: unknown) => void;
  #current: { readonly change: PolicyChange; readonly owed: Set<string> } | undefined;

  constructor(
    queue: KeyedQueue,
    work: (id: string, change: PolicyChange) => Promise<void>,
    onFailure: (id: string, error: unknown) => void,
  ) {
    this.#queue = queue;
    this.#work = work;
    this.#onFailure = onFailure;
  }

  /** Resolves, and never rejects, when each sandbox had its turn. */
  async begin(ids: Iterable<string>, change: PolicyChange): Promise<void> {
    this.#current = { change, owed: new Set(ids) };
    await this.settle();
  }

  /** Tries again what has failed, a write to a full disk for example. */
  async settle(): Promise<void> {
    const round = this.#current;
    if (!round) return;
    await Promise.all(
      [...round.owed].map((id) =>
        this.#queue
          .run(id, async () => {
            if (this.#current !== round) return;
            await this.#work(id, round.change);
            round.owed.delete(id);
          })
          .catch((error: unknown) => this.#onFailure(id, error)),
      ),
    );
  }
}
