import type DataLoader from 'dataloader';
import { sql } from 'kysely';
import type { Actor } from '../../kernel/viewer.ts';
import { takeReport, type TakenReport } from '../placement/failover.ts';
import type { Placements } from '../placement/placement.service.ts';
import type { FleetDatabase, FleetEvents, SandboxRow } from '../tables.ts';
import { InventoryLoaders } from './inventory.loaders.ts';
import type { OrphanSighting } from './orphan.state.ts';
import type { SandboxBook } from './reconcile.ts';
import { reportsLoader, type HostReports, type Reports } from './report.loader.ts';
import { transitionSandbox } from './sandbox.record.ts';
import type { ObservedSandbox } from './sandbox.report.ts';
import { ENDED_STATUSES, type Absence, type Transition } from './sandbox.state.ts';

/** The pure decision on one row. */
export type Decide = (row: SandboxRow) => Transition;

/**
 * What {@link Convergence} reads and writes. Thin on purpose: every decision is a pure function's, and the
 * simulation (`control/test/simulation`) keeps the same books in memory.
 */
export interface SandboxBooks {
  find(sandboxId: string): Promise<SandboxRow | undefined>;
  /** The host's rows, and whatever else is known of the given sandboxes: deleted ones, those of other hosts. */
  forInventory(hostId: string, sandboxIds: readonly string[]): Promise<SandboxBook[]>;
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
  takeReports(hostId: string, reports: Reports): Promise<void>;
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

/** The books in PostgreSQL. */
export class SandboxTables implements SandboxBooks {
  readonly #database: FleetDatabase;
  readonly #events: FleetEvents;
  readonly #placements: Placements;
  readonly #inventories: InventoryLoaders;
  readonly #reports: DataLoader<HostReports, void>;

  constructor(deps: { database: FleetDatabase; events: FleetEvents; placements: Placements }) {
    this.#database = deps.database;
    this.#events = deps.events;
    this.#placements = deps.placements;
    this.#inventories = new InventoryLoaders(deps.database);
    this.#reports = reportsLoader(deps.events);
  }

  find(sandboxId: string): Promise<SandboxRow | undefined> {
    return this.#database.query.selectFrom('Sandbox').selectAll().where('id', '=', sandboxId).executeTakeFirst();
  }

  forInventory(hostId: string, sandboxIds: readonly string[]): Promise<SandboxBook[]> {
    return this.#inventories.books.load({ hostId, sandboxIds });
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

  takeReports(hostId: string, reports: Reports): Promise<void> {
    return this.#reports.load({ hostId, reports });
  }

  takeEpoch(hostId: string, epoch: number): Promise<boolean> {
    return this.#inventories.epochs.load({ hostId, epoch });
  }

  keepDigest(hostId: string, epoch: number, digest: string): Promise<void> {
    return this.#inventories.digests.load({ hostId, epoch, digest });
  }

  orphansOf(hostId: string): Promise<OrphanSighting[]> {
    return this.#inventories.orphans.load(hostId);
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
