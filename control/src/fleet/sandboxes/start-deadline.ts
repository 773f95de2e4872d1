import type { Logger } from '@rookery/wire/log.ts';
import type { Term } from '../../kernel/leadership.ts';
import { noteCreateFailure } from '../placement/failover.ts';
import type { FleetDatabase, FleetEvents } from '../tables.ts';
import { transitionSandbox } from './sandbox.record.ts';
import { ENDED_STATUSES, giveUp, UNCONFIRMED_REASON } from './sandbox.state.ts';

/**
 * How long a host that is heard may say nothing of a sandbox that it is to start, in ms. Longer leaves
 * people waiting for what will not come; shorter gives up what a busy host would have started.
 */
export const START_DEADLINE_MS = 10 * 60_000;

/** A sandbox of which its host has not said anything yet. */
export interface Unconfirmed {
  readonly id: string;
  readonly hostId: string;
}

/** Since when each has been watched without a break, on the monotonic clock, in ms. */
export type Watched = ReadonlyMap<string, number>;

/**
 * Another look at what is unconfirmed. Pure. Who is not among them any more is forgotten: one that went
 * missing with its host, or to another host, is watched from the beginning.
 *
 * @returns what to remember, and which of them have been unconfirmed for too long.
 */
export function watchUnconfirmed(
  before: Watched,
  seen: readonly Unconfirmed[],
  now: number,
  deadlineMs: number,
): { readonly watched: Watched; readonly overdue: readonly Unconfirmed[] } {
  const key = ({ id, hostId }: Unconfirmed): string => `${id} ${hostId}`;
  const watched = new Map(seen.map((one) => [key(one), before.get(key(one)) ?? now]));
  return { watched, overdue: seen.filter((one) => now - (watched.get(key(one)) as number) >= deadlineMs) };
}

export interface StartDeadlinesDeps {
  readonly database: FleetDatabase;
  readonly events: FleetEvents;
  readonly log: Logger;
  /** Default {@link START_DEADLINE_MS}. */
  readonly deadlineMs?: number;
  /** Monotonic, in ms. */
  readonly now?: () => number;
}

/**
 * Ends the waiting for hosts that are heard and never say whether they have started a sandbox: it is in
 * error, and counts as a failure of the host, so that the next ones go elsewhere.
 *
 * Only the leader judges, from what it has seen itself: a new term begins to wait anew, and so does what
 * comes back with a host that was away.
 */
export class StartDeadlines {
  readonly #deps: StartDeadlinesDeps;
  #epoch: number | undefined;
  #watched: Watched = new Map();

  constructor(deps: StartDeadlinesDeps) {
    this.#deps = deps;
  }

  /**
   * One look.
   *
   * @returns how many were given up.
   * @throws {FencedOff} when somebody else judges by now.
   */
  async pass(term: Term): Promise<number> {
    const { deadlineMs = START_DEADLINE_MS, now = () => performance.now(), log } = this.#deps;
    if (this.#epoch !== term.epoch) this.#watched = new Map();
    this.#epoch = term.epoch;
    const { watched, overdue } = watchUnconfirmed(this.#watched, await this.#unconfirmed(), now(), deadlineMs);
    this.#watched = watched;
    let given = 0;
    for (const one of overdue) if (await this.#giveUp(term, one)) given += 1;
    if (given > 0) log.warn({ sandboxes: given }, 'sandboxes were given up that their hosts say nothing of');
    return given;
  }

  #unconfirmed(): Promise<Unconfirmed[]> {
    return (
      this.#deps.database.query
        .selectFrom('Sandbox')
        .innerJoin('Host', 'Host.id', 'Sandbox.hostId')
        .select(['Sandbox.id', 'Sandbox.hostId'])
        .where('Sandbox.observedGeneration', '=', 0)
        .where('Sandbox.deletedAt', 'is', null)
        .where('Sandbox.desiredState', '!=', 'DESTROYED')
        .where('Sandbox.status', 'not in', [...ENDED_STATUSES, 'MISSING'])
        .where('Host.status', '=', 'ONLINE')
        // What it says is not heard.
        .where('Host.quarantinedAt', 'is', null)
        .orderBy('Sandbox.id')
        .execute()
    );
  }

  async #giveUp(term: Term, { id, hostId }: Unconfirmed): Promise<boolean> {
    return this.#deps.events.transaction('control', async (tx, record) => {
      await term.fence(tx);
      // It may have been confirmed, or have gone to another host, since it was read.
      const result = await transitionSandbox(tx, record, id, 'sandbox.error', (state) =>
        state.hostId === hostId ? giveUp(state) : { changes: {}, push: false },
      );
      if (!result?.transition.changes.status) return false;
      await noteCreateFailure(tx, record, hostId, UNCONFIRMED_REASON);
      return true;
    });
  }
}
