import { sql } from 'kysely';
import type { Actor } from '../../kernel/viewer.ts';
import type { FleetDatabase, FleetEvents, FleetTransaction, SandboxRow } from '../tables.ts';
import type { OrphanSighting } from './orphan.state.ts';
import { eventType, takeReport, type TakenReport } from '../placement/failover.ts';
import type { Placements } from '../placement/placement.service.ts';
import { releaseReservation, transitionSandbox } from './sandbox.record.ts';
import type { ObservedSandbox } from './sandbox.report.ts';
import { ENDED_STATUSES, observe, type Absence, type Transition } from './sandbox.state.ts';

/** The pure decision on one row. */
export type Decide = (row: SandboxRow) => Transition;

/**
 * What {@link Convergence} reads and writes. Thin on purpose: every decision is a pure function's, and the
 * simulation (`control/test/simulation`) keeps the same books in memory.
 */
export interface SandboxBooks {
  find(sandboxId: string): Promise<SandboxRow | undefined>;
  /** The host's rows, and whatever else is known of the given sandboxes: deleted ones, those of other hosts. */
  forInventory(hostId: string, sandboxIds: readonly string[]): Promise<SandboxRow[]>;
  /**
   * Sandboxes on these hosts that are not yet what they should be; when there are more than `limit`, of each host
   * as many as of any other, and others the next time.
   */
  unsettled(hostIds: readonly string[], limit: number): Promise<Pick<SandboxRow, 'id' | 'hostId'>[]>;
  /** See {@link transitionSandbox}. */
  transition(
    actor: Actor,
    sandboxId: string,
    type: string | ((row: SandboxRow) => string),
    decide: Decide,
  ): Promise<{ row: SandboxRow; transition: Transition } | undefined>;
  /** Writes down what a host says of one of its sandboxes; see {@link takeReport}. */
  takeReport(hostId: string, sandboxId: string, report: ObservedSandbox | Absence): Promise<TakenReport | undefined>;
  /** The same for many that have started before and have not failed: their changes say nothing about the host. */
  takeReports(hostId: string, reports: ReadonlyMap<string, ObservedSandbox | Absence>): Promise<void>;
  /** Inventories may overtake each other; an older one than the last taken says nothing. @returns whether this one says something. */
  takeEpoch(hostId: string, epoch: number): Promise<boolean>;
  /** Last, when the rows say what the inventory said: an interrupted reconciliation is asked for again. */
  keepDigest(hostId: string, epoch: number, digest: string): Promise<void>;
  orphansOf(hostId: string): Promise<OrphanSighting[]>;
  /** These and no others are the host's orphans. */
  keepOrphans(hostId: string, sightings: readonly OrphanSighting[]): Promise<void>;
  /** Of these hosts, those with orphans that were first seen before a moment. */
  hostsWithOrphans(hostIds: readonly string[], firstSeenBefore: Date): Promise<string[]>;
}

/** Rows changed in one transaction; more holds more row locks at once and blocks the process for longer while their events are made. */
const BATCH = 200;

/** The books in PostgreSQL. */
export class SandboxTables implements SandboxBooks {
  readonly #database: FleetDatabase;
  readonly #events: FleetEvents;
  readonly #placements: Placements;

  constructor(deps: { database: FleetDatabase; events: FleetEvents; placements: Placements }) {
    this.#database = deps.database;
    this.#events = deps.events;
    this.#placements = deps.placements;
  }

  find(sandboxId: string): Promise<SandboxRow | undefined> {
    return this.#database.query.selectFrom('Sandbox').selectAll().where('id', '=', sandboxId).executeTakeFirst();
  }

  forInventory(hostId: string, sandboxIds: readonly string[]): Promise<SandboxRow[]> {
    return this.#database.query
      .selectFrom('Sandbox')
      .selectAll()
      .where((eb) =>
        eb.or([
          eb.and([eb('hostId', '=', hostId), eb('deletedAt', 'is', null)]),
          eb('id', '=', sql<string>`any(${sandboxIds}::uuid[])`),
        ]),
      )
      .execute();
  }

  unsettled(hostIds: readonly string[], limit: number): Promise<Pick<SandboxRow, 'id' | 'hostId'>[]> {
    return (
      this.#database.query
        .selectFrom('Sandbox')
        .select(['id', 'hostId'])
        .select(sql<string>`row_number() over (partition by host_id order by random())`.as('turn'))
        .where('hostId', '=', sql<string>`any(${hostIds}::uuid[])`)
        .where('deletedAt', 'is', null)
        .where((eb) =>
          eb.or([
            eb('desiredState', '=', 'DESTROYED'),
            eb.and([eb('desiredState', '=', 'RUNNING'), eb('status', 'in', ['PAUSED', 'RESUMING'])]),
            eb.and([eb('desiredState', '=', 'PAUSED'), eb('status', '=', 'PAUSING')]),
            eb.and([eb('status', 'not in', ENDED_STATUSES), eb('observedGeneration', '<', eb.ref('generation'))]),
          ]),
        )
        // Of a thousand hosts with trouble, and of a thousand sandboxes of one, it must not be the same ones every time.
        .orderBy('turn')
        .orderBy(sql`random()`)
        .limit(limit)
        .execute()
    );
  }

  transition(actor: Actor, sandboxId: string, type: string | ((row: SandboxRow) => string), decide: Decide) {
    return this.#events.transaction(actor, (tx, record) => transitionSandbox(tx, record, sandboxId, type, decide));
  }

  takeReport(hostId: string, sandboxId: string, report: ObservedSandbox | Absence): Promise<TakenReport | undefined> {
    return this.#events.transaction(`host:${hostId}`, (tx, record) =>
      takeReport(tx, record, this.#placements, { hostId, sandboxId, report }),
    );
  }

  async takeReports(hostId: string, reports: ReadonlyMap<string, ObservedSandbox | Absence>): Promise<void> {
    const all = [...reports.keys()];
    for (let start = 0; start < all.length; start += BATCH) {
      const ids = all.slice(start, start + BATCH);
      await this.#events.transaction(`host:${hostId}`, async (tx, record) => {
        const rows = await tx
          .selectFrom('Sandbox')
          .selectAll()
          .where('id', 'in', ids)
          // A host may speak of its own sandboxes only.
          .where('hostId', '=', hostId)
          // In one order, so that whoever else locks several cannot lock us out.
          .orderBy('id')
          .forUpdate()
          .execute();
        const now = new Date();
        const released: SandboxRow[] = [];
        for (const [changes, group] of grouped(rows, (row) => observe(row, reports.get(row.id) as Absence, now))) {
          const changed = await write(tx, group, changes);
          await record(
            changed.map((row) => ({
              subject: 'SANDBOX',
              change: row.deletedAt === null ? 'UPDATED' : 'DELETED',
              type: eventType(row),
              row,
            })),
          );
          if (changes.holdsReservation === false) released.push(...group.filter((row) => row.holdsReservation));
        }
        // After all sandboxes are locked: everybody else locks a sandbox first and its host second.
        for (const row of released) await releaseReservation(tx, record, row);
      });
    }
  }

  async takeEpoch(hostId: string, epoch: number): Promise<boolean> {
    const { numUpdatedRows } = await this.#database.query
      .updateTable('HostLease')
      .set({ inventoryEpoch: epoch })
      .where('hostId', '=', hostId)
      .where('inventoryEpoch', '<=', epoch)
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  async keepDigest(hostId: string, epoch: number, digest: string): Promise<void> {
    await this.#database.query
      .updateTable('HostLease')
      .set({ inventoryDigest: digest })
      .where('hostId', '=', hostId)
      .where('inventoryEpoch', '=', epoch)
      .execute();
  }

  orphansOf(hostId: string): Promise<OrphanSighting[]> {
    return this.#database.query.selectFrom('Orphan').selectAll().where('hostId', '=', hostId).execute();
  }

  async keepOrphans(hostId: string, sightings: readonly OrphanSighting[]): Promise<void> {
    await this.#database.transaction(async (tx) => {
      await tx.deleteFrom('Orphan').where('hostId', '=', hostId).execute();
      if (sightings.length === 0) return;
      await tx
        .insertInto('Orphan')
        .values(sightings.map((sighting) => ({ ...sighting, hostId })))
        // Another replica that holds an old tunnel of this host may have been in between.
        .onConflict((conflict) => conflict.columns(['hostId', 'sandboxId']).doNothing())
        .execute();
    });
  }

  async hostsWithOrphans(hostIds: readonly string[], firstSeenBefore: Date): Promise<string[]> {
    const rows = await this.#database.query
      .selectFrom('Orphan')
      .select('hostId')
      .distinct()
      .where('hostId', '=', sql<string>`any(${hostIds}::uuid[])`)
      .where('firstSeenAt', '<=', firstSeenBefore)
      .execute();
    return rows.map(({ hostId }) => hostId);
  }
}

/** Rows that change in the same way are written by one statement: of a host that returns, nearly all are. */
function grouped(rows: readonly SandboxRow[], decide: Decide): [Transition['changes'], SandboxRow[]][] {
  const groups = new Map<string, [Transition['changes'], SandboxRow[]]>();
  for (const row of rows) {
    const { changes } = decide(row);
    if (Object.keys(changes).length === 0) continue;
    const key = JSON.stringify(changes);
    const group = groups.get(key);
    if (group) group[1].push(row);
    else groups.set(key, [changes, [row]]);
  }
  return [...groups.values()];
}

function write(
  tx: FleetTransaction,
  rows: readonly SandboxRow[],
  changes: Transition['changes'],
): Promise<SandboxRow[]> {
  return tx
    .updateTable('Sandbox')
    .set(({ eb }) => ({ ...changes, revision: eb('revision', '+', 1) }))
    .where(
      'id',
      'in',
      rows.map(({ id }) => id),
    )
    .returningAll()
    .execute();
}
