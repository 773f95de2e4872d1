import type { Kysely } from 'kysely';
import type { Database } from '../database/database.ts';
import type { AuditTables } from './audit/audit.entity.ts';
import type { EventTables } from './events/event.entity.ts';
import type { Term } from './leadership.ts';

/** Rows deleted in one transaction; more holds the fence, behind which a new leader waits, for longer. */
const CHUNK = 1_000;

/** Chunks in one pass of one table, so that the first pass over years of rows does not keep all others waiting. */
const MAX_CHUNKS = 200;

/** Deletes some of the rows whose time is over. @returns how many. */
export type Prune<Tables> = (tx: Kysely<Tables>, limit: number) => Promise<number>;

/**
 * Deletes in chunks, each in a transaction that only the leader may write.
 *
 * @returns how many rows that was.
 * @throws {FencedOff}
 */
export async function pruneInChunks<Tables>(
  database: Database<Tables>,
  term: Term,
  prune: Prune<Tables>,
  chunk = CHUNK,
): Promise<number> {
  let total = 0;
  for (let chunks = 0; chunks < MAX_CHUNKS; chunks++) {
    const count = await database.transaction(async (tx) => {
      await term.fence(tx);
      return prune(tx, chunk);
    });
    total += count;
    if (count < chunk) break;
  }
  return total;
}

/**
 * The oldest events up to the first one that is younger than the cutoff: what is kept has no holes, which is
 * how readers tell that something is gone.
 */
export const eventsBefore =
  (cutoff: Date): Prune<EventTables> =>
  async (tx, limit) => {
    const oldest = await tx
      .selectFrom('Event')
      .select(['position', 'at'])
      .where('position', 'is not', null)
      .orderBy('position')
      .limit(limit)
      .execute();
    const young = oldest.findIndex(({ at }) => at >= cutoff);
    const last = (young === -1 ? oldest : oldest.slice(0, young)).at(-1);
    if (!last) return 0;
    const { numDeletedRows } = await tx.deleteFrom('Event').where('position', '<=', last.position).executeTakeFirst();
    return Number(numDeletedRows);
  };

export const auditEventsBefore =
  (cutoff: Date): Prune<AuditTables> =>
  async (tx, limit) => {
    const { numDeletedRows } = await tx
      .deleteFrom('AuditEvent')
      .where('id', 'in', (old) =>
        old
          .selectFrom('AuditEvent as a')
          .select('a.id')
          .where('a.id', '<', firstIdOf(cutoff))
          .orderBy('a.id')
          .limit(limit),
      )
      .executeTakeFirst();
    return Number(numDeletedRows);
  };

/** The lowest UUIDv7 of a moment: ids in that order need no index on the time. */
function firstIdOf(moment: Date): string {
  const hex = moment.getTime().toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}
