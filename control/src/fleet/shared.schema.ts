import { resolveCursorConnection } from '@pothos/plugin-relay';
import { RookeryError } from '@rookery/wire/errors.ts';
import { fromGlobalId, isUuid, type NodeType } from '../kernel/global-id.ts';
import { IdempotencyKeyReused, UserError } from '../kernel/user-errors.ts';
import type { FleetBuilder } from './builder.ts';
import { STREAM_KINDS } from '../kernel/events/change-stream.ts';
import type { Label } from './hosts/host.entity.ts';
import type { EventHub } from '../kernel/events/event-hub.ts';
import { toCursor } from '../kernel/events/change-stream.ts';
import type { Page } from './paging.ts';
import type { HostRow } from './tables.ts';

/** Types that hosts and sandboxes share. */
export function addShared(builder: FleetBuilder) {
  const Team = builder
    .externalRef('Team', builder.keyDirective(builder.selection<{ id: string }>('id'), false))
    .implement({
      externalFields: (t) => ({ id: t.id() }),
    });

  /** Declared here and not with its fields, because hosts and sandboxes refer to each other. */
  const Host = builder.objectRef<HostRow>('Host');

  const LabelRef = builder.objectRef<Label>('Label').implement({
    fields: (t) => ({ key: t.exposeString('key'), value: t.exposeString('value') }),
  });
  const LabelInput = builder.inputType('LabelInput', {
    fields: (t) => ({ key: t.string({ required: true }), value: t.string({ required: true }) }),
  });
  const ChangeKind = builder.enumType('ChangeKind', {
    description:
      'RESET: the cursor is past retention; what follows are SNAPSHOT events of all there is and then SNAPSHOT_COMPLETE: forget what is not among them.',
    values: STREAM_KINDS,
  });
  builder.objectType(IdempotencyKeyReused, { name: 'IdempotencyKeyReused', interfaces: [UserError] });
  return { Host, Team, Label: LabelRef, LabelInput, ChangeKind };
}

export type SharedTypes = ReturnType<typeof addShared>;

/**
 * The row id in an id argument.
 *
 * @returns undefined without an argument; for an id of something else, one that matches nothing.
 */
export function idArgument(type: NodeType, globalId: string | number | null | undefined): string | undefined {
  if (globalId == null) return undefined;
  return fromGlobalId(type, globalId) ?? NO_SUCH_ROW;
}

/** The nil UUID; no row has it. */
export const NO_SUCH_ROW = '00000000-0000-0000-0000-000000000000';

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
