import { sql } from 'kysely';
import type { Record as RecordChanges } from '../../kernel/events/event-log.ts';
import type { FleetTransaction, SandboxRow } from '../tables.ts';
import type { Transition } from './sandbox.state.ts';

/**
 * Decides a sandbox's transition on its locked row and writes it, its event and the release of its
 * reservation, in the caller's transaction. Every change of a sandbox goes through here.
 *
 * INVARIANT: a reservation is released exactly once, by the transition that clears
 * `holdsReservation`; the row lock makes "once" true.
 *
 * @param type   event type in the field's words, or a function of the row after the change.
 * @param decide the pure transition.
 * @returns the row as it is now and as it was, and the transition; undefined when there is no such sandbox.
 */
export async function transitionSandbox(
  tx: FleetTransaction,
  record: RecordChanges,
  sandboxId: string,
  type: string | ((row: SandboxRow) => string),
  decide: (state: SandboxRow) => Transition,
): Promise<{ row: SandboxRow; transition: Transition; before: SandboxRow } | undefined> {
  const current = await tx.selectFrom('Sandbox').selectAll().where('id', '=', sandboxId).forUpdate().executeTakeFirst();
  if (!current) return undefined;
  const transition = decide(current);
  if (Object.keys(transition.changes).length === 0) return { row: current, transition, before: current };

  const row = await tx
    .updateTable('Sandbox')
    .set({ ...transition.changes, revision: current.revision + 1 })
    .where('id', '=', sandboxId)
    .where('revision', '=', current.revision)
    .returningAll()
    .executeTakeFirstOrThrow();
  const deleted = row.deletedAt !== null && current.deletedAt === null;
  await record([
    {
      subject: 'SANDBOX',
      change: deleted ? 'DELETED' : 'UPDATED',
      type: typeof type === 'string' ? type : type(row),
      row,
    },
  ]);
  if (current.holdsReservation && !row.holdsReservation) await releaseReservation(tx, record, current);
  return { row, transition, before: current };
}

/** Gives back what a sandbox had reserved on its host. Only for whoever clears or moves its reservation in the same transaction. */
export async function releaseReservation(
  tx: FleetTransaction,
  record: RecordChanges,
  sandbox: SandboxRow,
): Promise<void> {
  const host = await tx
    .updateTable('Host')
    .set({
      allocatedSandboxes: sql<number>`allocated_sandboxes - 1`,
      allocatedMilliVcpus: sql<number>`allocated_milli_vcpus - ${sandbox.milliVcpus}`,
      allocatedMemoryMb: sql<number>`allocated_memory_mb - ${sandbox.memoryMb}`,
      allocatedDiskMb: sql<number>`allocated_disk_mb - ${sandbox.diskMb}`,
      revision: sql<number>`revision + 1`,
    })
    .where('id', '=', sandbox.hostId)
    .where('deletedAt', 'is', null)
    .returningAll()
    .executeTakeFirst();
  if (host) await record([{ subject: 'HOST', change: 'UPDATED', type: 'host.reservation_released', row: host }]);
}
