import type { Record as RecordChanges } from '../../kernel/events/event-log.ts';
import { AFTER_CREATE_SUCCESS, observeHost } from '../hosts/host-lifecycle.state.ts';
import { releaseReservation, transitionSandbox } from '../sandboxes/sandbox.record.ts';
import { observe, relocate, type Absence, type SandboxReport, type Transition } from '../sandboxes/sandbox.state.ts';
import type { FleetTransaction, SandboxRow } from '../tables.ts';
import type { Placement } from './placement.ts';
import { NoHostFits, type Placements } from './placement.service.ts';

/** Hosts on which one sandbox is tried. More may find a good one late; a sandbox that is itself at fault fails on all of them. */
export const MAX_ATTEMPTS = 3;

/** Looks for another host while the failed one's row is locked, so not for long. */
const TRIES = 3;

export interface TakenReport {
  readonly row: SandboxRow;
  readonly transition: Transition;
  /** It went to another host, and this one still has a note of it. */
  readonly leftBehind: boolean;
}

/**
 * Writes down what a host says about one sandbox, in the caller's transaction: what it is now, and
 * what that says about the host.
 *
 * @returns undefined when the sandbox is not this host's: a host may speak of its own only.
 */
export async function takeReport(
  tx: FleetTransaction,
  record: RecordChanges,
  placements: Placements,
  { hostId, sandboxId, report }: { hostId: string; sandboxId: string; report: SandboxReport | Absence },
): Promise<TakenReport | undefined> {
  const now = new Date();
  if ('status' in report && report.status === 'ERROR') {
    const row = await tx
      .selectFrom('Sandbox')
      .selectAll()
      .where('id', '=', sandboxId)
      .where('hostId', '=', hostId)
      .forUpdate()
      .executeTakeFirst();
    if (row && isHostsFailure(row, report) && observe(row, report, now).changes.status === 'ERROR') {
      await noteCreateFailure(tx, record, hostId, report.statusReason ?? 'The host gave no reason.');
      const moved = await failOver(tx, record, placements, row, report);
      if (moved) {
        const isElsewhere = moved.hostId !== hostId;
        return { row: moved, transition: { changes: {}, push: isElsewhere }, leftBehind: isElsewhere };
      }
    }
  }
  const result = await transitionSandbox(tx, record, sandboxId, eventType, (state) =>
    state.hostId === hostId ? observe(state, report, now) : { changes: {}, push: false },
  );
  if (result?.row.hostId !== hostId) return undefined;
  if (result.before.startedAt === null && result.row.startedAt !== null) await noteCreateSuccess(tx, record, hostId);
  return { ...result, leftBehind: false };
}

/** What the log calls a change that a host's report has made. */
export const eventType = ({ status, pauseCause }: SandboxRow): string =>
  status === 'PAUSED' && pauseCause === 'IDLE' ? 'sandbox.auto_paused' : `sandbox.${status.toLowerCase()}`;

/** Whether a report says that a host could not start a sandbox which another host might. */
const isHostsFailure = (state: SandboxRow, report: SandboxReport): boolean =>
  report.status === 'ERROR' && report.errorCause === 'HOST' && state.startedAt === null;

/**
 * Places a sandbox that its host failed to start on another one, in the caller's transaction, which
 * has locked its row.
 *
 * INVARIANT: it lives on one host at most. The failed host has said that nothing of it is left, and a
 * report about it from there is not believed any more.
 *
 * @returns the row on its new host; undefined when it stays where it is.
 */
async function failOver(
  tx: FleetTransaction,
  record: RecordChanges,
  placements: Placements,
  row: SandboxRow,
  report: SandboxReport,
): Promise<SandboxRow | undefined> {
  const placement = row.placement as Placement;
  const failedAttempts = [
    ...(placement.failedAttempts ?? []),
    { hostId: row.hostId, error: report.statusReason ?? 'The host gave no reason.' },
  ];
  // Rows of before these were kept say nothing of them.
  const constraints = placement.constraints ?? { hostId: row.hostId, arch: null, labels: [] };
  if (constraints.hostId !== null || failedAttempts.length >= MAX_ATTEMPTS) return undefined;
  // Released first: who holds a host's lock never waits for another host's.
  await releaseReservation(tx, record, row);
  const { teamId, template, milliVcpus, memoryMb, diskMb } = row;
  const failedHostIds = failedAttempts.map(({ hostId }) => hostId);
  const request = { teamId, template, milliVcpus, memoryMb, diskMb, constraints, failedHostIds };
  const found = await placements.reserve(tx, request, TRIES).catch((error: unknown) => {
    if (error instanceof NoHostFits) return undefined;
    throw error;
  });
  const { changes } = relocate(row, found !== undefined);
  const relocated = await tx
    .updateTable('Sandbox')
    .set({
      ...changes,
      // A drain is its old host's.
      drainId: null,
      ...(found ? { hostId: found.host.id } : { statusReason: report.statusReason }),
      placement: { ...(found?.placement ?? placement), constraints, failedAttempts } as never,
      revision: row.revision + 1,
    })
    .where('id', '=', row.id)
    .returningAll()
    .executeTakeFirstOrThrow();
  await record([
    ...(found ? [{ subject: 'HOST', change: 'UPDATED', type: 'host.reserved', row: found.host } as const] : []),
    { subject: 'SANDBOX', change: 'UPDATED', type: found ? 'sandbox.relocated' : 'sandbox.error', row: relocated },
  ]);
  return relocated;
}

/** Counts a host's failure to start a sandbox; enough of them in a row take it out of placement. */
export async function noteCreateFailure(
  tx: FleetTransaction,
  record: RecordChanges,
  hostId: string,
  error: string,
): Promise<void> {
  const host = await tx
    .selectFrom('Host')
    .selectAll()
    .where('id', '=', hostId)
    .where('deletedAt', 'is', null)
    .forUpdate()
    .executeTakeFirst();
  if (!host) return;
  const row = await tx
    .updateTable('Host')
    .set({ ...observeHost(host, { type: 'CREATE_FAILED', error }, new Date()).changes, revision: host.revision + 1 })
    .where('id', '=', hostId)
    .returningAll()
    .executeTakeFirstOrThrow();
  await record([{ subject: 'HOST', change: 'UPDATED', type: 'host.create_failed', row }]);
}

/** A sandbox has started on the host: what failed before is forgiven. */
export async function noteCreateSuccess(tx: FleetTransaction, record: RecordChanges, hostId: string): Promise<void> {
  const row = await tx
    .updateTable('Host')
    .set(({ eb }) => ({ ...AFTER_CREATE_SUCCESS, revision: eb('revision', '+', 1) }))
    .where('id', '=', hostId)
    .where('createFailures', '>', 0)
    .where('deletedAt', 'is', null)
    .returningAll()
    .executeTakeFirst();
  if (row) await record([{ subject: 'HOST', change: 'UPDATED', type: 'host.create_succeeded', row }]);
}
