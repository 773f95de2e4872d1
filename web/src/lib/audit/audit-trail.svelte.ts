import type { Fleet } from '#lib/fleet/fleet.svelte.ts';
import { query } from '#lib/gql/client.ts';
import type { AuditFilter } from '#lib/gql/generated/graphql.ts';
import type { LiveList } from '#lib/live/live-list.svelte.ts';
import { AuditEventAddedSubscription, AuditEventsQuery } from './audit.operations.ts';
import { toAuditEvent, type AuditEvent } from './audit.ts';

/** Events read at once: about two screens. */
const PAGE = 50;
/** As many are read again after an interruption; what was beyond them is a click away. */
const REREAD_AT_MOST = 500;

/** One filtered view of the audit trail: the newest events, further ones on request, and each new one as it comes. */
export class AuditTrail {
  readonly list: LiveList<AuditEvent>;
  /** More can be read. */
  hasMore = $state(false);
  busy = $state(false);
  readonly #filter: AuditFilter;
  #end: string | null = null;

  /** Ends when the signal aborts. */
  constructor(fleet: Fleet, filter: AuditFilter, signal: AbortSignal) {
    this.#filter = filter;
    this.list = fleet.follow(
      {
        subscription: AuditEventAddedSubscription,
        variables: { filter },
        toEvent: ({ auditEventAdded: { kind, cursor, auditEvent } }) => ({
          kind,
          cursor,
          id: auditEvent?.id ?? null,
          node: auditEvent ? toAuditEvent(auditEvent) : null,
        }),
        page: () => this.#readNewest(),
        // Its snapshot is the newest events only, and would end the list in the middle.
        rereadOnReset: true,
      },
      signal,
    );
  }

  /** @throws ApiError */
  async more(): Promise<void> {
    if (this.busy || !this.hasMore) return;
    this.busy = true;
    try {
      const end = this.#end;
      const { auditEvents } = await query(AuditEventsQuery, { first: PAGE, after: end, filter: this.#filter });
      // The list was read anew meanwhile: this page may not join it.
      if (end !== this.#end) return;
      this.#take(auditEvents.pageInfo);
      this.list.collection.extend(auditEvents.edges.map(({ node }) => toAuditEvent(node)));
    } finally {
      this.busy = false;
    }
  }

  async #readNewest() {
    const first = Math.min(Math.max(PAGE, this.list?.collection.items.length ?? 0), REREAD_AT_MOST);
    const { auditEvents } = await query(AuditEventsQuery, { first, after: null, filter: this.#filter });
    this.#take(auditEvents.pageInfo);
    return {
      nodes: auditEvents.edges.map(({ node }) => toAuditEvent(node)),
      // The rest is read on request, not to the end of the trail.
      hasNextPage: false,
      endCursor: null,
      eventCursor: auditEvents.eventCursor,
    };
  }

  #take({ endCursor, hasNextPage }: { endCursor: string | null; hasNextPage: boolean }): void {
    this.#end = endCursor;
    this.hasMore = hasNextPage;
  }
}
