import { resolveCursorConnection } from '@pothos/plugin-relay';
import { RookeryError } from '@rookery/wire/errors.ts';
import { toCursor } from './events/change-stream.ts';
import type { EventHub } from './events/event-hub.ts';
import { fromGlobalId, isUuid, NO_SUCH_ROW, type NodeType } from './global-id.ts';
import type { Page } from './paging.ts';

/**
 * The row id in an id argument.
 *
 * @returns undefined without an argument; for an id of something else, one that matches nothing.
 */
export function idArgument(type: NodeType, globalId: string | number | null | undefined): string | undefined {
  if (globalId == null) return undefined;
  return fromGlobalId(type, globalId) ?? NO_SUCH_ROW;
}

/** Most rows on one page. */
const MAX_PAGE = 500;

interface PageArguments {
  readonly first?: number | null | undefined;
  readonly last?: number | null | undefined;
  readonly after?: string | null | undefined;
  readonly before?: string | null | undefined;
}

/** What a list's connection knows besides its rows. */
export interface Listing<Filter> {
  readonly filter: Filter;
  /** Of the event log, from before the rows were read: they may hold more than this position, never less. */
  readonly eventCursor: string;
}

/** A cursor connection over rows in descending order of their (time-ordered) ids, with its {@link Listing}. */
export async function listConnection<Row extends { id: string }, Filter>(
  hub: EventHub,
  args: PageArguments,
  filter: Filter,
  load: (page: Page) => Promise<Row[]>,
) {
  const eventCursor = toCursor(hub.position);
  const connection = await resolveCursorConnection<Promise<Row[]>>(
    { args, defaultSize: 50, maxSize: MAX_PAGE, toCursor: (row: Row) => encodeCursor(row.id) },
    ({ before, after, limit, inverted }) =>
      load({
        limit,
        inverted,
        ...(after === undefined ? {} : { after: decodeCursor(after) }),
        ...(before === undefined ? {} : { before: decodeCursor(before) }),
      }),
  );
  // Pothos types a connection by its rows alone; see `listingOf`.
  return { ...connection, filter, eventCursor } as typeof connection & Listing<Filter>;
}

/** The {@link Listing} that {@link listConnection} put into a connection. */
export const listingOf = <Filter>(connection: unknown): Listing<Filter> => connection as Listing<Filter>;

const encodeCursor = (id: string): string => Buffer.from(`r1:${id}`).toString('base64url');

function decodeCursor(cursor: string): string {
  const text = Buffer.from(cursor, 'base64url').toString('utf8');
  const id = text.startsWith('r1:') ? text.slice(3) : '';
  if (!isUuid(id)) throw new RookeryError('BAD_USER_INPUT', 'That is not a cursor of this list.');
  return id;
}
