import DataLoader from 'dataloader';
import { sql } from 'kysely';
import { inOrder, together } from '../../kernel/batching.ts';
import { HOST_LOST_REASON, STATUSES_THAT_GO_MISSING } from '../sandboxes/sandbox.state.ts';
import { TOGETHER_LEASES, type Evidence } from '../monitor/monitor.state.ts';
import type { Term } from '../../kernel/leadership.ts';
import type { FleetDatabase, FleetEvents, HostRow } from '../tables.ts';
import { specsToColumns, type HostSpecs } from './host.specs.ts';

/** Rows declared lost or back in one transaction; more holds more row locks at once and blocks the process for longer while their events are made. */
const BATCH = 500;

/** Hosts that are read by one statement. */
const READ_TOGETHER = 200;

/** How the fleet learns that hosts come, go and change: the writes behind heartbeats and the monitor. */
export class HostPresence {
  readonly #database: FleetDatabase;
  readonly #events: FleetEvents;
  readonly #rows = new DataLoader((ids: readonly string[]) => this.#read(ids), together(READ_TOGETHER));

  constructor(deps: { database: FleetDatabase; events: FleetEvents }) {
    this.#database = deps.database;
    this.#events = deps.events;
  }

  /** Writes down what an agent says of its machine; nothing when it is what we know. */
  async describe(hostId: string, specs: HostSpecs): Promise<void> {
    const fields = specsToColumns(specs);
    const isNews = (host: HostRow): boolean =>
      Object.entries(fields).some(([field, value]) => !same(value, host[field as keyof HostRow]));
    // Without its lock: a whole fleet that returns has hardly ever changed.
    const known = await this.#rows.load(hostId);
    if (!known || !isNews(known)) return;
    await this.#update(hostId, 'host.described', (host) => (isNews(host) ? fields : {}));
  }

  /**
   * Heartbeats came from hosts that were not online. Their known inventories are forgotten, so that the
   * next beats ask for full ones: what went missing with a host comes back with it.
   *
   * Set-based, because after an outage they all come at once.
   */
  async heard(hostIds: readonly string[]): Promise<void> {
    for (let start = 0; start < hostIds.length; start += BATCH) {
      const batch = hostIds.slice(start, start + BATCH);
      await this.#events.transaction('control', async (tx, record) => {
        const hosts = await tx
          .updateTable('Host')
          .set(({ eb }) => ({ status: 'ONLINE', revision: eb('revision', '+', 1) }))
          .where('id', 'in', (returning) =>
            returning
              .selectFrom('Host as h')
              .select('h.id')
              .where('h.id', 'in', batch)
              .where('h.status', '!=', 'ONLINE')
              .where('h.deletedAt', 'is', null)
              // What is heard of one that has left was said before its goodbye.
              .where('h.leftAt', 'is', null)
              // In one order, so that two replicas that do this at once cannot lock each other out.
              .orderBy('h.id')
              .forUpdate('h'),
          )
          .where('status', '!=', 'ONLINE')
          .where('leftAt', 'is', null)
          .returningAll()
          .execute();
        if (hosts.length === 0) return;
        const ids = hosts.map(({ id }) => id);
        await tx.updateTable('HostLease').set({ inventoryDigest: null }).where('hostId', 'in', ids).execute();
        await record(hosts.map((row) => ({ subject: 'HOST', change: 'UPDATED', type: 'host.online', row })));
      });
    }
  }

  /**
   * What the leases say, and until when a host must have been heard not to be silent: by the database's
   * clock, which also dates the leases. Hosts that have said goodbye are silent for a reason, and count nowhere.
   */
  async evidence(leaseMs: number): Promise<Evidence & { readonly now: Date; readonly cutoff: Date }> {
    const { rows } = await sql<Record<keyof Evidence, string> & { now: Date }>`
      select date_trunc('milliseconds', now()) as now,
        count(*) filter (where host.status = 'ONLINE' and lease.seen_at >= ${ago(leaseMs)}) as heard,
        count(*) filter (where host.status = 'ONLINE' and lease.seen_at < ${ago(leaseMs)}) as silent,
        count(*) filter (where host.status = 'UNREACHABLE' and host.left_at is null
          and lease.seen_at >= ${ago(leaseMs * (1 + TOGETHER_LEASES))}) as lost,
        count(*) filter (where host.status = 'UNREACHABLE' and host.left_at is null) as unreachable
      from hosts as host join host_leases as lease on lease.host_id = host.id
      where host.deleted_at is null and host.status <> 'PENDING'`.execute(this.#database.query);
    const [row] = rows;
    if (!row) throw new Error('a count without a row');
    const now = new Date(row.now);
    return {
      now,
      cutoff: new Date(now.getTime() - leaseMs),
      heard: Number(row.heard),
      silent: Number(row.silent),
      lost: Number(row.lost),
      unreachable: Number(row.unreachable),
    };
  }

  /**
   * Dates leases now that are dated in the future, because the database's clock was put back.
   *
   * @throws {FencedOff}
   */
  async clampLeases(term: Term): Promise<void> {
    await this.#database.transaction(async (tx) => {
      await term.fence(tx);
      await tx
        .updateTable('HostLease')
        .set({ seenAt: sql<Date>`now()` })
        .where('hostId', 'in', (ahead) =>
          // One that is being written at this moment will be dated right.
          ahead
            .selectFrom('HostLease')
            .select('hostId')
            .where('seenAt', '>', sql<Date>`now()`)
            .forUpdate()
            .skipLocked(),
        )
        .execute();
    });
  }

  /**
   * Declares hosts unreachable that have not been heard since `cutoff`. Reversible.
   *
   * The cutoff is a moment and not an age: however long this process sleeps between the judgement and its
   * writing, a host that has beaten since is not touched. A lease that is being written at this very
   * moment is skipped: its host is being heard.
   *
   * @param quota how many at most.
   * @returns how many hosts it was.
   * @throws {FencedOff}
   */
  async silence(term: Term, cutoff: Date, quota: number): Promise<number> {
    return inBatches(quota, (limit) =>
      this.#events.transaction('control', async (tx, record) => {
        await term.fence(tx);
        const hosts = await tx
          .updateTable('Host')
          .set(({ eb }) => ({ status: 'UNREACHABLE', revision: eb('revision', '+', 1) }))
          .where('id', 'in', (silent) =>
            silent
              .selectFrom('Host as h')
              .innerJoin('HostLease as l', 'l.hostId', 'h.id')
              .select('h.id')
              .where('h.status', '=', 'ONLINE')
              .where('h.deletedAt', 'is', null)
              .where('l.seenAt', '<', cutoff)
              .orderBy('l.seenAt')
              .limit(limit)
              .forUpdate('l')
              .skipLocked(),
          )
          .where('status', '=', 'ONLINE')
          .returningAll()
          .execute();
        await record(hosts.map((row) => ({ subject: 'HOST', change: 'UPDATED', type: 'host.unreachable', row })));
        return hosts.length;
      }),
    );
  }

  /**
   * Declares the sandboxes of unreachable hosts missing; what they were is remembered.
   *
   * A statement of its own rather than part of {@link silence}: it follows from what is, so that one
   * that was interrupted is made good by the next pass, and it never holds a host's lock while it
   * waits for a sandbox's (everything else locks them the other way round).
   *
   * @returns how many sandboxes it was.
   * @throws {FencedOff}
   */
  async markMissing(term: Term): Promise<number> {
    return inBatches(Number.POSITIVE_INFINITY, (limit) =>
      this.#events.transaction('control', async (tx, record) => {
        await term.fence(tx);
        const sandboxes = await tx
          .updateTable('Sandbox')
          .set(({ eb, ref }) => ({
            status: 'MISSING',
            statusBeforeMissing: ref('status'),
            statusReason: HOST_LOST_REASON,
            revision: eb('revision', '+', 1),
          }))
          .where('id', 'in', (missing) =>
            missing
              .selectFrom('Sandbox as s')
              .innerJoin('Host as h', 'h.id', 's.hostId')
              .select('s.id')
              .where('h.status', '=', 'UNREACHABLE')
              .where('h.deletedAt', 'is', null)
              .where('s.status', 'in', STATUSES_THAT_GO_MISSING)
              .where('s.deletedAt', 'is', null)
              // In one order, so that whoever else locks several cannot lock us out.
              .orderBy('s.id')
              .limit(limit)
              .forUpdate('s'),
          )
          .where('status', 'in', STATUSES_THAT_GO_MISSING)
          .returningAll()
          .execute();
        await record(sandboxes.map((row) => ({ subject: 'SANDBOX', change: 'UPDATED', type: 'sandbox.missing', row })));
        return sandboxes.length;
      }),
    );
  }

  /**
   * Forgets the inventories of online hosts that have missing sandboxes, so that the next beats ask for full ones.
   *
   * {@link markMissing} locks no host: one may come back, and its inventory be found to be as it should, between what
   * it reads and what it writes. That host's digest is the known one from then on, and nobody would look again.
   *
   * @returns how many hosts it was.
   * @throws {FencedOff}
   */
  async askAgain(term: Term): Promise<number> {
    return inBatches(Number.POSITIVE_INFINITY, (limit) =>
      this.#database.transaction(async (tx) => {
        await term.fence(tx);
        const leases = await tx
          .updateTable('HostLease')
          .set({ inventoryDigest: null })
          .where('hostId', 'in', (settled) =>
            settled
              .selectFrom('HostLease as l')
              .innerJoin('Host as h', 'h.id', 'l.hostId')
              .select('l.hostId')
              .where('l.inventoryDigest', 'is not', null)
              .where('h.status', '=', 'ONLINE')
              .where('h.deletedAt', 'is', null)
              .where(({ exists, selectFrom }) =>
                exists(
                  selectFrom('Sandbox as s')
                    .select('s.id')
                    .whereRef('s.hostId', '=', 'h.id')
                    .where('s.status', '=', 'MISSING')
                    .where('s.deletedAt', 'is', null),
                ),
              )
              .limit(limit)
              // One that beats at this moment has its turn in the next pass.
              .forUpdate('l')
              .skipLocked(),
          )
          .returning('hostId')
          .execute();
        return leases.length;
      }),
    );
  }

  async #read(ids: readonly string[]): Promise<(HostRow | null)[]> {
    const hosts = await this.#database.query
      .selectFrom('Host')
      .selectAll()
      .where('id', '=', sql<string>`any(${[...ids]}::uuid[])`)
      .execute();
    return inOrder(ids, hosts, ({ id }) => id);
  }

  /** @returns whether there is such a host. */
  async #update(hostId: string, type: string, change: (host: HostRow) => Partial<HostRow>): Promise<boolean> {
    return this.#events.transaction(`host:${hostId}`, async (tx, record) => {
      const host = await tx
        .selectFrom('Host')
        .selectAll()
        .where('id', '=', hostId)
        .where('deletedAt', 'is', null)
        .forUpdate()
        .executeTakeFirst();
      if (!host) return false;
      const changes = change(host);
      if (Object.keys(changes).length === 0) return true;
      const row = await tx
        .updateTable('Host')
        .set({ ...changes, revision: host.revision + 1 })
        .where('id', '=', hostId)
        .returningAll()
        .executeTakeFirstOrThrow();
      await record([{ subject: 'HOST', change: 'UPDATED', type, row }]);
      return true;
    });
  }
}

/** So long ago by the database's clock. */
const ago = (ms: number) => sql<Date>`date_trunc('milliseconds', now()) - ${ms} * interval '1 ms'`;

/** Repeats a limited piece of work until there is nothing left to do or `quota` is used up. */
async function inBatches(quota: number, work: (limit: number) => Promise<number>): Promise<number> {
  for (let total = 0; ;) {
    const limit = Math.min(BATCH, quota - total);
    const done = limit > 0 ? await work(limit) : 0;
    total += done;
    if (done < limit || limit <= 0) return total;
  }
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
