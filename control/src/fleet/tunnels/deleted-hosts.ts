import type { Logger } from '@rookery/wire/log.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { ChangeStream, withDates } from '../../kernel/events/change-stream.ts';
import type { EventHub } from '../../kernel/events/event-hub.ts';
import type { HostRow } from '../tables.ts';

/** Wait after the log could not be read, in ms. */
const RETRY_MS = 1_000;

/**
 * Follows the event log for hosts that are deleted, by whichever replica: each has to let go of what
 * it holds of them. The log loses nothing, so neither does this.
 */
export class DeletedHosts implements AsyncDisposable {
  readonly #stream: ChangeStream<HostRow>;
  readonly #stop = new AbortController();
  readonly #following: Promise<void>;

  constructor(hub: EventHub, onDeleted: (hostId: string) => void, log: Logger) {
    this.#stream = new ChangeStream<HostRow>({
      hub,
      after: undefined,
      wants: ({ subject, change }) => subject === 'HOST' && change === 'DELETED',
      revive: (state) => withDates<HostRow>(state, []),
      snapshot: async () => [],
    });
    this.#following = this.#follow(onDeleted, log);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#stream.return();
    await this.#following;
  }

  async #follow(onDeleted: (hostId: string) => void, log: Logger): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const { done, value } = await this.#stream.next();
        if (done) return;
        if (value.id) onDeleted(value.id);
      } catch (err) {
        log.warn({ err }, 'the event log could not be followed for deleted hosts; trying again');
        await sleep(RETRY_MS, undefined, { signal }).catch(() => {});
      }
    }
  }
}
