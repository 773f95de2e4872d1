/** What a collection needs to know of a node; everything else is the page's business. */
export interface LiveNode {
  readonly id: string;
  /** Grows by one with every change of this node. */
  readonly revision: number;
  readonly createdAt: string;
}

export type LiveEventKind = 'CREATED' | 'UPDATED' | 'DELETED' | 'RESET' | 'SNAPSHOT' | 'SNAPSHOT_COMPLETE';

export interface LiveEvent<T extends LiveNode> {
  readonly kind: LiveEventKind;
  /** Opaque position in the server's event log. */
  readonly cursor: string;
  readonly id: string | null;
  readonly node: T | null;
}

/**
 * A list that stays right: a snapshot, then ordered events.
 *
 * It is plain TypeScript so that its rules are tested without a browser; Svelte meets it through
 * `LiveList` only. The shape follows temporalio/ui's grouped event buffer.
 *
 * INVARIANT: a node never goes back to an older revision, and never comes back after it was deleted, unless the
 * server starts over with a snapshot, which is the truth whatever was known before.
 */
export class LiveCollection<T extends LiveNode> {
  readonly #nodes = new Map<string, T>();
  /** Ids are never reused, so remembering them costs memory and nothing else. */
  readonly #deleted = new Set<string>();
  readonly #listeners = new Set<() => void>();
  /** Ids seen since RESET; null outside of a running snapshot. */
  #snapshot: Set<string> | null = null;
  #sorted: readonly T[] | null = null;
  #cursor: string | null = null;
  #loaded = false;
  #lastEventAt: number | null = null;

  /** @param now milliseconds; replaced in tests. */
  constructor(private readonly now: () => number = Date.now) {}

  /** False until the first snapshot: a list that was never read is unknown, not empty. */
  get loaded(): boolean {
    return this.#loaded;
  }

  /** Newest first; nodes created at the same instant are ordered by id, so that rows do not swap places. */
  get items(): readonly T[] {
    this.#sorted ??= [...this.#nodes.values()].sort(newestFirst);
    return this.#sorted;
  }

  /**
   * Where a subscription resumes without a gap. It stands still while a snapshot is coming in: half a snapshot
   * followed by later events would look complete and not be.
   */
  get cursor(): string | null {
    return this.#cursor;
  }

  get lastEventAt(): number | null {
    return this.#lastEventAt;
  }

  get(id: string): T | undefined {
    return this.#nodes.get(id);
  }

  /** Whether this id was here and is gone, as opposed to never heard of. */
  wasDeleted(id: string): boolean {
    return this.#deleted.has(id);
  }

  /**
   * Starts over from a list that was read as of `cursor`.
   *
   * @param cursor the `eventCursor` of the *first* page, so that what changed while reading is replayed.
   */
  load(nodes: Iterable<T>, cursor: string): void {
    this.#nodes.clear();
    this.#deleted.clear();
    this.#snapshot = null;
    for (const node of nodes) this.#keepNewer(node);
    this.#cursor = cursor;
    this.#loaded = true;
    this.#changed();
  }

  /** Takes nodes of a further page, read later than the list: what is known of them by events is newer. */
  extend(nodes: Iterable<T>): void {
    for (const node of nodes) this.#keepNewer(node);
    this.#changed();
  }

  /** Takes the next event of the subscription, in the order it came. */
  apply(event: LiveEvent<T>): void {
    this.#lastEventAt = this.now();
    switch (event.kind) {
      case 'RESET':
        this.#snapshot = new Set();
        break;
      case 'SNAPSHOT':
        if (event.node) this.#takeSnapshotNode(event.node);
        break;
      case 'SNAPSHOT_COMPLETE':
        this.#completeSnapshot();
        break;
      case 'DELETED':
        this.#remove(event.id ?? event.node?.id);
        break;
      case 'CREATED':
      case 'UPDATED':
        if (event.node) {
          this.#keepNewer(event.node);
          this.#snapshot?.add(event.node.id);
        }
        break;
    }
    if (this.#snapshot === null) this.#cursor = event.cursor;
    this.#changed();
  }

  /**
   * The stream starts anew at `cursor` (a reconnect). Half of a snapshot is worth nothing then: the server either
   * replays from before it or sends RESET again.
   */
  resumed(): void {
    this.#snapshot = null;
  }

  /**
   * Takes fresher readings of nodes it already has. Facts that are not events (a heartbeat's age, the current load)
   * change without a new revision, so an equal revision is accepted here, an older one never.
   */
  refresh(nodes: Iterable<T>): void {
    for (const node of nodes) {
      const known = this.#nodes.get(node.id);
      if (known && node.revision >= known.revision) this.#nodes.set(node.id, node);
    }
    this.#changed();
  }

  /** @returns the function that ends it. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #keepNewer(node: T): void {
    if (this.#deleted.has(node.id)) return;
    const known = this.#nodes.get(node.id);
    if (known && known.revision >= node.revision) return;
    this.#nodes.set(node.id, node);
  }

  #takeSnapshotNode(node: T): void {
    this.#deleted.delete(node.id);
    this.#nodes.set(node.id, node);
    this.#snapshot?.add(node.id);
  }

  #completeSnapshot(): void {
    const seen = this.#snapshot;
    if (!seen) return;
    for (const id of this.#nodes.keys()) if (!seen.has(id)) this.#nodes.delete(id);
    this.#snapshot = null;
    this.#loaded = true;
  }

  #remove(id: string | undefined): void {
    if (id === undefined) return;
    this.#nodes.delete(id);
    this.#deleted.add(id);
    this.#snapshot?.delete(id);
  }

  #changed(): void {
    this.#sorted = null;
    for (const listener of this.#listeners) listener();
  }
}

function newestFirst(a: LiveNode, b: LiveNode): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? 1 : -1;
  return a.id < b.id ? -1 : 1;
}
