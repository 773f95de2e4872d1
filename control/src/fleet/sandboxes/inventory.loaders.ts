import DataLoader from 'dataloader';
import { sql } from 'kysely';
import { together } from '../../kernel/batching.ts';
import type { FleetDatabase } from '../tables.ts';
import type { OrphanSighting } from './orphan.state.ts';
import type { SandboxBook } from './reconcile.ts';

/**
 * Hosts whose inventories are read by one statement. More makes fewer statements, and blocks the process for longer
 * while their rows are made.
 */
const HOSTS_TOGETHER = 100;

/** What is read of a sandbox's row to compare it: all that its lifecycle knows of, and nothing that is only shown. */
const BOOK_COLUMNS = [
  'id',
  'hostId',
  'desiredState',
  'pauseCause',
  'timeoutSeconds',
  'generation',
  'observedGeneration',
  'observedEpoch',
  'status',
  'statusReason',
  'statusBeforeMissing',
  'holdsReservation',
  'startedAt',
  'lastActiveAt',
  'deletedAt',
] as const satisfies readonly (keyof SandboxBook)[];

interface EpochOf {
  readonly hostId: string;
  readonly epoch: number;
}

interface Listed {
  readonly hostId: string;
  readonly sandboxIds: readonly string[];
}

/**
 * What inventories read and write of the books, for those of many hosts together: after an outage a whole fleet hands
 * in its own at once, and a statement for each would take minutes.
 *
 * INVARIANT: no statement here waits for a lease while it holds another, so that it cannot lock itself out with the
 * heartbeats, which write many leases in any order: what is locked is skipped, and written by itself.
 */
export class InventoryLoaders {
  readonly epochs: DataLoader<EpochOf, boolean>;
  readonly digests: DataLoader<EpochOf & { readonly digest: string }, void>;
  readonly books: DataLoader<Listed, SandboxBook[]>;
  readonly orphans: DataLoader<string, OrphanSighting[]>;
  readonly #database: FleetDatabase;

  constructor(database: FleetDatabase) {
    this.#database = database;
    this.epochs = new DataLoader((asked) => this.#takeEpochs(asked), together(HOSTS_TOGETHER));
    this.digests = new DataLoader((asked) => this.#keepDigests(asked), together(HOSTS_TOGETHER));
    this.books = new DataLoader((asked) => this.#readBooks(asked), together(HOSTS_TOGETHER));
    this.orphans = new DataLoader((hostIds) => this.#readOrphans(hostIds), together(HOSTS_TOGETHER));
  }

  async #takeEpochs(asked: readonly EpochOf[]): Promise<boolean[]> {
    const newest = newestOf(asked);
    const { rows } = await sql<{ hostId: string; known: string }>`
      with free as (
        select lease.host_id, lease.inventory_epoch as known, asked.epoch
        from host_leases as lease join ${unnested(newest)} on asked.host_id = lease.host_id
        for update of lease skip locked
      ), written as (
        update host_leases as lease set inventory_epoch = free.epoch
        from free where lease.host_id = free.host_id and free.known < free.epoch
      )
      select host_id as "hostId", known from free`.execute(this.#database.query);
    const known = new Map(rows.map(({ hostId, known: epoch }) => [hostId, Number(epoch)]));
    return Promise.all(
      asked.map(async (one) => {
        const before = known.get(one.hostId);
        if (before === undefined) return this.#takeEpoch(one);
        // As if they had come one after the other.
        if (one.epoch < before) return false;
        known.set(one.hostId, one.epoch);
        return true;
      }),
    );
  }

  async #takeEpoch({ hostId, epoch }: EpochOf): Promise<boolean> {
    const { numUpdatedRows } = await this.#database.query
      .updateTable('HostLease')
      .set({ inventoryEpoch: epoch })
      .where('hostId', '=', hostId)
      .where('inventoryEpoch', '<=', epoch)
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  async #keepDigests(asked: readonly (EpochOf & { digest: string })[]): Promise<undefined[]> {
    const newest = newestOf(asked);
    const { rows } = await sql<{ hostId: string }>`
      with free as (
        select lease.host_id, lease.inventory_epoch as known, asked.epoch, asked.digest
        from host_leases as lease join ${unnested(newest)} on asked.host_id = lease.host_id
        for update of lease skip locked
      ), written as (
        update host_leases as lease set inventory_digest = free.digest
        from free where lease.host_id = free.host_id and free.known = free.epoch
      )
      select host_id as "hostId" from free`.execute(this.#database.query);
    const done = new Set(rows.map(({ hostId }) => hostId));
    for (const one of newest.filter(({ hostId }) => !done.has(hostId))) await this.#keepDigest(one);
    return asked.map(() => undefined);
  }

  async #keepDigest({ hostId, epoch, digest }: EpochOf & { digest?: string }): Promise<void> {
    await this.#database.query
      .updateTable('HostLease')
      .set({ inventoryDigest: digest ?? null })
      .where('hostId', '=', hostId)
      .where('inventoryEpoch', '=', epoch)
      .execute();
  }

  async #readBooks(asked: readonly Listed[]): Promise<SandboxBook[][]> {
    const columns = this.#database.query.selectFrom('Sandbox').select(BOOK_COLUMNS);
    const hostIds = asked.map(({ hostId }) => hostId);
    const own = await columns
      .where('hostId', '=', sql<string>`any(${hostIds}::uuid[])`)
      .where('deletedAt', 'is', null)
      .execute();
    const known = new Map(own.map((row) => [row.id, row]));
    const others = asked.flatMap(({ sandboxIds }) => sandboxIds.filter((id) => !known.has(id)));
    if (others.length > 0) {
      const found = await columns.where('id', '=', sql<string>`any(${others}::uuid[])`).execute();
      for (const row of found) known.set(row.id, row);
    }
    const byHost = Map.groupBy(own, ({ hostId }) => hostId);
    return asked.map(({ hostId, sandboxIds }) => {
      const mine = byHost.get(hostId) ?? [];
      const listed = sandboxIds.flatMap((id) => known.get(id) ?? []);
      return [...new Set([...mine, ...listed])];
    });
  }

  async #readOrphans(hostIds: readonly string[]): Promise<OrphanSighting[][]> {
    const rows = await this.#database.query
      .selectFrom('Orphan')
      .selectAll()
      .where('hostId', '=', sql<string>`any(${hostIds}::uuid[])`)
      .execute();
    const byHost = Map.groupBy(rows, ({ hostId }) => hostId);
    return hostIds.map((hostId) => byHost.get(hostId) ?? []);
  }
}

/** Of several inventories of one host that came together, the one that counts. */
function newestOf<T extends EpochOf>(asked: readonly T[]): T[] {
  const newest = new Map<string, T>();
  for (const one of asked) if (one.epoch >= (newest.get(one.hostId)?.epoch ?? 0)) newest.set(one.hostId, one);
  return [...newest.values()];
}

const unnested = (asked: readonly (EpochOf & { digest?: string })[]) => sql`unnest(
  ${asked.map(({ hostId }) => hostId)}::uuid[], ${asked.map(({ epoch }) => epoch)}::bigint[],
  ${asked.map(({ digest }) => digest ?? null)}::text[]
) as asked (host_id, epoch, digest)`;
