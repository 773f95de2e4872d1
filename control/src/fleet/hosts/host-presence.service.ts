import { sql } from 'kysely';
import { HOST_LOST_REASON, STATUSES_THAT_GO_MISSING } from '../sandboxes/sandbox.state.ts';
import type { FleetDatabase, FleetEvents, FleetTransaction, HostRow } from '../tables.ts';
import { specsToColumns, type HostSpecs } from './host.specs.ts';

/** Hosts silenced in one transaction; more holds more row locks at once. */
const SILENCE_BATCH = 500;

/** How the fleet learns that hosts come, go and change: the writes behind heartbeats, tunnels and the monitor. */
export class HostPresence {
  readonly #database: FleetDatabase;
  readonly #events: FleetEvents;
  readonly #replicaId: string;

  constructor(deps: { database: FleetDatabase; events: FleetEvents; replicaId: string }) {
    this.#database = deps.database;
    this.#events = deps.events;
    this.#replicaId = deps.replicaId;
  }

  /** Writes down what an agent says of its machine; nothing when it is what we know. */
  async describe(hostId: string, specs: HostSpecs): Promise<void> {
    const fields = specsToColumns(specs);
    await this.#update(hostId, 'host.described', (host) =>
      Object.entries(fields).some(([field, value]) => !same(value, host[field as keyof HostRow])) ? fields : undefined,
    );
  }

  /**
   * A heartbeat came from a host that was not online. Its known inventory is forgotten, so that the
   * next beats ask for a full one: what went missing with the host comes back with it.
   */
  async heard(hostId: string): Promise<void> {
    await this.#update(
      hostId,
      'host.online',
      (host) => (host.status === 'ONLINE' ? undefined : { status: 'ONLINE' }),
      async (tx) => {
        await tx.updateTable('HostLease').set({ inventoryDigest: null }).where('hostId', '=', hostId).execute();
      },
    );
  }

  /**
   * This process has made a round trip through the host's tunnel: it may be placed on.
   *
   * @returns false when there is no such host any more.
   */
  async tunnelReady(hostId: string): Promise<boolean> {
    return this.#update(hostId, 'host.tunnel_up', (host) =>
      host.tunnelReplica === this.#replicaId ? undefined : { tunnelReplica: this.#replicaId },
    );
  }

  /**
   * Puts right which hosts this process reaches, whatever was written meanwhile: after a stall its
   * tunnels may have been taken for those of a dead process.
   *
   * @param hostIds hosts whose tunnel here is proven.
   * @returns how many rows were wrong.
   */
  async assertTunnels(hostIds: readonly string[]): Promise<number> {
    if (hostIds.length === 0) return 0;
    const wrong = await this.#database.query
      .selectFrom('Host')
      .select('id')
      .where('id', 'in', hostIds)
      .where('tunnelReplica', 'is distinct from', this.#replicaId)
      .where('deletedAt', 'is', null)
      .execute();
    for (const { id } of wrong) await this.tunnelReady(id);
    return wrong.length;
  }

  /** The tunnel that this process held is gone; one that another replica took over in the meantime is left alone. */
  async tunnelLost(hostId: string): Promise<void> {
    await this.#update(hostId, 'host.tunnel_down', (host) =>
      host.tunnelReplica === this.#replicaId ? { tunnelReplica: null } : undefined,
    );
  }

  /** Clears tunnels that belong to no living replica, so that nothing is placed on a host which nobody can reach. */
  async clearOrphanedTunnels(replicaDeadAfterMs: number): Promise<number> {
    const orphaned = await this.#database.query
      .selectFrom('Host')
      .select('id')
      .where('tunnelReplica', 'is not', null)
      .where('tunnelReplica', '!=', this.#replicaId)
      .where('tunnelReplica', 'not in', (living) =>
        living
          .selectFrom('Replica')
          .select('Replica.id')
          .where('seenAt', '>', sql<Date>`now() - ${replicaDeadAfterMs} * interval '1 ms'`),
      )
      .execute();
    for (const { id } of orphaned) {
      await this.#update(id, 'host.tunnel_down', (host) => (host.tunnelReplica ? { tunnelReplica: null } : undefined));
    }
    return orphaned.length;
  }

  /**
   * Declares hosts unreachable that have been silent for too long. Reversible.
   *
   * @returns how many hosts it was.
   */
  async silence(silentForMs: number): Promise<number> {
    return this.#events.transaction('control', async (tx, record) => {
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
            .where('l.seenAt', '<', sql<Date>`now() - ${silentForMs} * interval '1 ms'`)
            .limit(SILENCE_BATCH),
        )
        .where('status', '=', 'ONLINE')
        .returningAll()
        .execute();
      await record(hosts.map((row) => ({ subject: 'HOST', change: 'UPDATED', type: 'host.unreachable', row })));
      return hosts.length;
    });
  }

  /**
   * Declares the sandboxes of unreachable hosts missing; what they were is remembered.
   *
   * A statement of its own rather than part of {@link silence}: it follows from what is, so that one
   * that was interrupted is made good by the next pass, and it never holds a host's lock while it
   * waits for a sandbox's (everything else locks them the other way round).
   *
   * @returns how many sandboxes it was.
   */
  async markMissing(): Promise<number> {
    return this.#events.transaction('control', async (tx, record) => {
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
            // In one order, so that two replicas that do this at once cannot lock each other out.
            .orderBy('s.id')
            .limit(SILENCE_BATCH)
            .forUpdate('s'),
        )
        .where('status', 'in', STATUSES_THAT_GO_MISSING)
        .returningAll()
        .execute();
      await record(sandboxes.map((row) => ({ subject: 'SANDBOX', change: 'UPDATED', type: 'sandbox.missing', row })));
      return sandboxes.length;
    });
  }

  /** @returns whether there is such a host. */
  async #update(
    hostId: string,
    type: string,
    change: (host: HostRow) => Partial<HostRow> | undefined,
    also: (tx: FleetTransaction) => Promise<void> = async () => {},
  ): Promise<boolean> {
    return this.#events.transaction(`host:${hostId}`, async (tx, record) => {
      const host = await tx
        .selectFrom('Host')
        .selectAll()
        .where('id', '=', hostId)
        .where('deletedAt', 'is', null)
        .forUpdate()
        .executeTakeFirst();
      const changes = host && change(host);
      if (!changes) return host !== undefined;
      const row = await tx
        .updateTable('Host')
        .set({ ...changes, revision: host.revision + 1 })
        .where('id', '=', hostId)
        .returningAll()
        .executeTakeFirstOrThrow();
      await also(tx);
      await record([{ subject: 'HOST', change: 'UPDATED', type, row }]);
      return true;
    });
  }
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
