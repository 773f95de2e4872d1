import DataLoader from 'dataloader';
import { together } from '../../kernel/batching.ts';
import type { Change } from '../../kernel/events/event-log.ts';
import { eventType } from '../placement/failover.ts';
import type { FleetEvents, FleetTransaction, SandboxRow } from '../tables.ts';
import { releaseReservation } from './sandbox.record.ts';
import type { ObservedSandbox } from './sandbox.report.ts';
import { observe, type Absence, type Transition } from './sandbox.state.ts';

/** What a host says of some of its sandboxes. */
export type Reports = ReadonlyMap<string, ObservedSandbox | Absence>;

export interface HostReports {
  readonly hostId: string;
  readonly reports: Reports;
}

/** Rows changed in one transaction; more holds more row locks at once and blocks the process for longer while their events are made. */
const ROWS_TOGETHER = 250;

/** Hosts whose reports are taken together. */
const HOSTS_TOGETHER = 100;

/**
 * Writes down what hosts say of sandboxes that have started before and have not failed: such changes say nothing about
 * the host. Those of many hosts that come together are written together.
 */
export function reportsLoader(events: FleetEvents): DataLoader<HostReports, void> {
  return new DataLoader(async (batch) => {
    const results: (void | Error)[] = [];
    for (const round of rounds(batch)) {
      // A host whose reports cannot be written must not cost the others theirs.
      const failure = await takeTogether(events, round).catch(() => 'again' as const);
      for (const { index, host } of round)
        results[index] = failure === 'again' ? await takeOf(events, host).catch((error: Error) => error) : undefined;
    }
    return results;
  }, together(HOSTS_TOGETHER));
}

interface Numbered {
  readonly index: number;
  readonly host: HostReports;
}

/** Of one host's reports each comes after the one before. */
function rounds(batch: readonly HostReports[]): Numbered[][] {
  const found: Numbered[][] = [];
  const seen = new Map<string, number>();
  batch.forEach((host, index) => {
    const round = seen.get(host.hostId) ?? 0;
    seen.set(host.hostId, round + 1);
    (found[round] ??= []).push({ index, host });
  });
  return found;
}

/**
 * INVARIANT: a transaction about the sandboxes of several hosts locks none of those hosts, for whoever holds a host's
 * lock never waits for another's. What gives back a reservation is therefore taken host by host.
 */
async function takeTogether(events: FleetEvents, round: readonly Numbered[]): Promise<void> {
  const reportsOf = new Map(round.map(({ host }) => [host.hostId, host.reports]));
  const releasing = new Map<string, Map<string, ObservedSandbox | Absence>>();
  const ids = round.flatMap(({ host }) => [...host.reports.keys()]);
  for (let start = 0; start < ids.length; start += ROWS_TOGETHER) {
    await events.transaction('control', async (tx, record) => {
      const rows = await locked(tx, ids.slice(start, start + ROWS_TOGETHER));
      // A host may speak of its own sandboxes only.
      const spoken = rows.filter((row) => reportsOf.get(row.hostId)?.has(row.id));
      await write(tx, record, spoken, reportsOf, (row, report) => {
        const mine = releasing.get(row.hostId) ?? new Map<string, ObservedSandbox | Absence>();
        releasing.set(row.hostId, mine.set(row.id, report));
      });
    });
  }
  for (const [hostId, reports] of releasing) await takeOf(events, { hostId, reports });
}

async function takeOf(events: FleetEvents, { hostId, reports }: HostReports): Promise<void> {
  const ids = [...reports.keys()];
  for (let start = 0; start < ids.length; start += ROWS_TOGETHER) {
    await events.transaction('control', async (tx, record) => {
      const rows = (await locked(tx, ids.slice(start, start + ROWS_TOGETHER))).filter((row) => row.hostId === hostId);
      const released = await write(tx, record, rows, new Map([[hostId, reports]]));
      // After all sandboxes are locked: everybody else locks a sandbox first and its host second.
      for (const row of released) await releaseReservation(tx, record, row);
    });
  }
}

const locked = (tx: FleetTransaction, ids: readonly string[]): Promise<SandboxRow[]> =>
  tx
    .selectFrom('Sandbox')
    .selectAll()
    .where('id', 'in', ids)
    // In one order, so that whoever else locks several cannot lock us out.
    .orderBy('id')
    .forUpdate()
    .execute();

/**
 * Decides on locked rows and writes what changes, those that change in the same way by one statement: of a host that
 * returns, nearly all do.
 *
 * @param instead of writing a row whose reservation would be given back.
 * @returns the rows, as they were, whose reservations are to be given back.
 */
async function write(
  tx: FleetTransaction,
  record: (changes: readonly Change[]) => Promise<void>,
  rows: readonly SandboxRow[],
  reportsOf: ReadonlyMap<string, Reports>,
  instead?: (row: SandboxRow, report: ObservedSandbox | Absence) => void,
): Promise<SandboxRow[]> {
  const now = new Date();
  const groups = new Map<string, [Transition['changes'], SandboxRow[]]>();
  const released: SandboxRow[] = [];
  for (const row of rows) {
    const report = reportsOf.get(row.hostId)?.get(row.id);
    if (!report) continue;
    const { changes } = observe(row, report, now);
    if (Object.keys(changes).length === 0) continue;
    const releases = row.holdsReservation && changes.holdsReservation === false;
    if (releases && instead) {
      instead(row, report);
      continue;
    }
    if (releases) released.push(row);
    const key = JSON.stringify(changes);
    const group = groups.get(key);
    if (group) group[1].push(row);
    else groups.set(key, [changes, [row]]);
  }
  for (const [changes, group] of groups.values()) {
    const ids = group.map(({ id }) => id);
    await tx
      .updateTable('Sandbox')
      .set(({ eb }) => ({ ...changes, revision: eb('revision', '+', 1) }))
      .where('id', 'in', ids)
      .execute();
    await record(
      group.map((before) => {
        // Locked since it was read: nobody else has changed it.
        const row = { ...before, ...changes, revision: before.revision + 1 };
        const change = row.deletedAt === null ? 'UPDATED' : 'DELETED';
        return { subject: 'SANDBOX', change, type: eventType(row), row, actor: `host:${row.hostId}` };
      }),
    );
  }
  return released;
}
