import { RookeryError } from '@rookery/wire/errors.ts';
import type { EventHub } from './event-hub.ts';
import type { EventRow } from './event.entity.ts';

export const STREAM_KINDS = ['CREATED', 'UPDATED', 'DELETED', 'RESET', 'SNAPSHOT', 'SNAPSHOT_COMPLETE'] as const;
/** `ChangeKind`, as each subgraph with a subscription declares it. */
export const CHANGE_KIND_ENUM = {
  description:
    'RESET: the cursor is past retention; what follows are SNAPSHOT events of all there is and then SNAPSHOT_COMPLETE: forget what is not among them.',
  values: STREAM_KINDS,
};
export type StreamKind = (typeof STREAM_KINDS)[number];

/** One item of a subscription. */
export interface StreamItem<Row> {
  readonly kind: StreamKind;
  /** Give it back as `after` to go on from here. */
  readonly cursor: string;
  readonly id: string | null;
  readonly row: Row | null;
}

export interface ChangeStreamOptions<Row> {
  readonly hub: EventHub;
  /** Cursor after which to go on; undefined for "from now". */
  readonly after: string | undefined;
  /** Whether this reader gets this event: subject, filters and rights. */
  readonly wants: (event: EventRow) => boolean;
  /** The object as it was after the event. */
  readonly revive: (state: Record<string, unknown>) => Row;
  /** Everything the reader may see now, for one who has been away too long. */
  readonly snapshot: () => Promise<Row[]>;
}

const CURSOR_PREFIX = 'e1:';

export const toCursor = (position: number): string => Buffer.from(`${CURSOR_PREFIX}${position}`).toString('base64url');

/** @throws {RookeryError} `BAD_USER_INPUT` for what is not a cursor of ours. */
export function fromCursor(cursor: string): number {
  const text = Buffer.from(cursor, 'base64url').toString('utf8');
  const position = text.startsWith(CURSOR_PREFIX) ? Number(text.slice(CURSOR_PREFIX.length)) : Number.NaN;
  if (!Number.isSafeInteger(position) || position < 0)
    throw new RookeryError('BAD_USER_INPUT', 'That is not an event cursor.');
  return position;
}

/**
 * A gap-free subscription: what came after a cursor, then what comes, in the order of the log.
 *
 * Written as an iterator with an explicit `return()`, because a generator parked on the next event
 * would never be told that its client has left.
 */
export class ChangeStream<Row extends { id: string }> implements AsyncIterableIterator<StreamItem<Row>, undefined> {
  readonly #options: ChangeStreamOptions<Row>;
  #position: number;
  #resume: boolean;
  readonly #ready: StreamItem<Row>[] = [];
  #done = false;
  #stopWaiting: (() => void) | undefined;

  /** @throws {RookeryError} `BAD_USER_INPUT` when `after` is not a cursor. */
  constructor(options: ChangeStreamOptions<Row>) {
    this.#options = options;
    this.#position = options.after === undefined ? options.hub.position : fromCursor(options.after);
    this.#resume = options.after !== undefined;
  }

  async next(): Promise<IteratorResult<StreamItem<Row>, undefined>> {
    if (this.#resume) {
      this.#resume = false;
      await this.#resetIfPruned();
    }
    while (!this.#done) {
      const item = this.#ready.shift();
      if (item) return { done: false, value: item };
      await this.#readOn();
    }
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<StreamItem<Row>, undefined>> {
    this.#done = true;
    this.#stopWaiting?.();
    return { done: true, value: undefined };
  }

  async throw(error?: unknown): Promise<IteratorResult<StreamItem<Row>, undefined>> {
    await this.return();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #readOn(): Promise<void> {
    const { hub, wants, revive } = this.#options;
    const events = await hub.read(this.#position);
    const isBehind = events.length === 0 && hub.position > this.#position;
    // Positions are dense, so this reader was so slow that what it was to read next is gone.
    const hasGap = events.length > 0 && events[0]?.position !== this.#position + 1;
    if (isBehind || hasGap) {
      const before = this.#position;
      await this.#resetIfPruned();
      if (isBehind || this.#position !== before) return;
    }
    if (events.length === 0) return this.#wait();
    for (const event of events) {
      const position = event.position as number;
      this.#position = position;
      if (!wants(event)) continue;
      this.#ready.push({
        kind: event.change,
        cursor: toCursor(position),
        id: event.subjectId,
        row: revive(event.state),
      });
    }
  }

  async #wait(): Promise<void> {
    // The reader may have left while the log was being read.
    if (this.#done) return;
    await new Promise<void>((resolve) => {
      const stop = this.#options.hub.onNext(this.#position, resolve);
      this.#stopWaiting = () => {
        stop();
        resolve();
      };
    });
  }

  /** What lies between the cursor and the oldest kept event is gone: say so, then show what is. */
  async #resetIfPruned(): Promise<void> {
    const { hub, snapshot } = this.#options;
    const oldest = await hub.oldest();
    const pruned = oldest === undefined ? this.#position < hub.position : this.#position < oldest - 1;
    // A cursor from the future belongs to another database, or to one that was restored from a backup.
    const unknown = this.#position > hub.position && this.#position > (await hub.newestStored());
    if (!pruned && !unknown) return;
    this.#position = hub.position;
    const cursor = toCursor(this.#position);
    this.#ready.push({ kind: 'RESET', cursor, id: null, row: null });
    for (const row of await snapshot()) this.#ready.push({ kind: 'SNAPSHOT', cursor, id: row.id, row });
    this.#ready.push({ kind: 'SNAPSHOT_COMPLETE', cursor, id: null, row: null });
  }
}

/** Rows come out of an event as JSON; makes the dates in them dates again. */
export function withDates<Row>(state: Record<string, unknown>, fields: readonly (keyof Row & string)[]): Row {
  const row = { ...state };
  for (const field of fields) {
    const value = row[field];
    if (typeof value === 'string') row[field] = new Date(value);
  }
  return row as Row;
}
