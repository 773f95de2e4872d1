import type { Term } from '../kernel/leadership.ts';
import { pruneInChunks, type Prune } from '../kernel/retention.ts';
import type { FleetDatabase, FleetTables } from './tables.ts';

/**
 * Deletes what of the fleet is over since before a moment: sandboxes that were destroyed, drains that have
 * ended, and what deleted hosts have left.
 *
 * A sandbox that has stopped and was not destroyed stays for as long as nobody destroys it: its disk is
 * still there, and without its row the host would remove it. Deleted hosts stay, so that their agents can be told.
 *
 * @returns how many rows that was.
 * @throws {FencedOff}
 */
export async function pruneFleet(database: FleetDatabase, term: Term, cutoff: Date): Promise<number> {
  let total = 0;
  for (const prune of [destroyedSandboxes(cutoff), endedDrains(cutoff), leasesOfDeletedHosts, orphansOfDeletedHosts])
    total += await pruneInChunks(database, term, prune);
  return total;
}

const destroyedSandboxes =
  (cutoff: Date): Prune<FleetTables> =>
  async (tx, limit) => {
    const { numDeletedRows } = await tx
      .deleteFrom('Sandbox')
      .where('id', 'in', (old) =>
        old
          .selectFrom('Sandbox as s')
          .select('s.id')
          .where('s.deletedAt', '<', cutoff)
          .where('s.holdsReservation', '=', false)
          .orderBy('s.id')
          .limit(limit),
      )
      .executeTakeFirst();
    return Number(numDeletedRows);
  };

const endedDrains =
  (cutoff: Date): Prune<FleetTables> =>
  async (tx, limit) => {
    const { numDeletedRows } = await tx
      .deleteFrom('HostDrain')
      .where('id', 'in', (old) =>
        old
          .selectFrom('HostDrain as d')
          .select('d.id')
          .where('d.state', '<>', 'RUNNING')
          .where('d.finishedAt', '<', cutoff)
          .orderBy('d.id')
          .limit(limit),
      )
      .executeTakeFirst();
    return Number(numDeletedRows);
  };

const leasesOfDeletedHosts: Prune<FleetTables> = async (tx, limit) => {
  const { numDeletedRows } = await tx
    .deleteFrom('HostLease')
    .where('hostId', 'in', (gone) =>
      gone
        .selectFrom('HostLease as l')
        .innerJoin('Host as h', 'h.id', 'l.hostId')
        .select('l.hostId')
        .where('h.deletedAt', 'is not', null)
        .limit(limit),
    )
    .executeTakeFirst();
  return Number(numDeletedRows);
};

/** An inventory that was on its way when its host was deleted has perhaps brought them back. */
const orphansOfDeletedHosts: Prune<FleetTables> = async (tx) => {
  const { numDeletedRows } = await tx
    .deleteFrom('Orphan')
    .where('hostId', 'in', (gone) => gone.selectFrom('Host').select('id').where('deletedAt', 'is not', null))
    .executeTakeFirst();
  return Number(numDeletedRows);
};
