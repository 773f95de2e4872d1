import { sql } from 'kysely';
import type { Term } from '../../kernel/leadership.ts';
import type { FleetDatabase, FleetEvents, HostRow } from '../tables.ts';
import { changeFree, changerOf, factsLoader, HOSTS_TOGETHER, type Change, type TunnelFacts } from './tunnel.rows.ts';

/** A tunnel as a control process holds it. */
export interface HeldTunnel {
  readonly hostId: string;
  readonly generation: number;
  /** Whether a round trip was made through it. */
  readonly proven: boolean;
}

/** A tunnel that is not its host's any more, and what has taken its place; a registration ends all there were. */
export interface OvertakenTunnel extends HeldTunnel {
  readonly by: 'TUNNEL' | 'REGISTRATION' | 'QUARANTINE';
}

/** An agent process that wants to be its host's. */
export interface Claimant {
  readonly instance: string;
  readonly address: string | null;
  /** Of the credentials that it was authenticated by: those that ended since claim nothing. */
  readonly familyId?: string;
}

/** Whether what an agent process says of its host's sandboxes is written down. */
export type Hearing = 'HEARD' | 'QUARANTINED' | 'OTHER_AGENT' | 'ENDED';

/** What ends every tunnel that a host has, whichever process holds it; for the transaction that gives the reason. */
export const endOfTunnels = (host: Pick<HostRow, 'tunnelGeneration'>) => ({
  tunnelGeneration: host.tunnelGeneration + 1,
  tunnelHolder: null,
  tunnelInstance: null,
  tunnelAddress: null,
  tunnelReplica: null,
});

/**
 * Which tunnel of each host counts, over all replicas.
 *
 * INVARIANT: the generation of a host grows with every tunnel that is admitted. Every write about a
 * tunnel is conditional on its generation, so that neither the late close of an older one nor a process
 * that has slept can undo what is said of a newer one.
 */
export class TunnelBooks {
  readonly #database: FleetDatabase;
  readonly #events: FleetEvents;
  readonly #replicaId: string;
  readonly #facts: ReturnType<typeof factsLoader>;
  readonly #change: ReturnType<typeof changerOf>;

  constructor(deps: { database: FleetDatabase; events: FleetEvents; replicaId: string }) {
    this.#database = deps.database;
    this.#events = deps.events;
    this.#replicaId = deps.replicaId;
    this.#facts = factsLoader(deps.database);
    this.#change = changerOf(deps.events);
  }

  /** Undefined when there is no such host (any more). */
  async read(hostId: string): Promise<TunnelFacts | undefined> {
    return (await this.#facts.load(hostId)) ?? undefined;
  }

  /**
   * Admits a tunnel, with which every older one of the host ends.
   *
   * @param seen the generation that the decision was made on.
   * @returns the tunnel's generation; undefined when something has changed since, and has to be looked at.
   */
  async claim(hostId: string, seen: number, claimant: Claimant): Promise<number | undefined> {
    const { instance, address, familyId } = claimant;
    const generation = seen + 1;
    const claimed = await this.#change({
      hostId,
      type: 'host.tunnel_down',
      familyId,
      decide: (host) => {
        if (host.tunnelGeneration !== seen || host.quarantinedAt !== null || host.leftAt !== null) return undefined;
        return {
          tunnelGeneration: generation,
          tunnelHolder: this.#replicaId,
          tunnelInstance: instance,
          tunnelAddress: address,
          // The same agent that dials anew is reached without a gap; another one, or by another process, is to be proven.
          tunnelReplica:
            host.tunnelReplica === this.#replicaId && host.tunnelInstance === instance ? this.#replicaId : null,
        };
      },
    });
    return claimed === 'WRITTEN' ? generation : undefined;
  }

  /** This process has made a round trip through the host's tunnel: it may be placed on. */
  async ready(hostId: string, generation: number): Promise<'READY' | 'OVERTAKEN' | 'GONE'> {
    let overtaken = false;
    const outcome = await this.#change({
      hostId,
      type: 'host.tunnel_up',
      decide: (host) => {
        overtaken = host.tunnelGeneration !== generation;
        const held = { tunnelHolder: this.#replicaId, tunnelReplica: this.#replicaId };
        return overtaken || same(host, held) ? undefined : held;
      },
    });
    if (outcome === 'NO_HOST') return 'GONE';
    return overtaken ? 'OVERTAKEN' : 'READY';
  }

  /** A tunnel that this process held is gone. Nothing, when a newer one was admitted since. */
  async lost(hostId: string, generation: number): Promise<void> {
    await this.#change({
      hostId,
      type: 'host.tunnel_down',
      decide: (host) =>
        host.tunnelGeneration === generation ? { tunnelHolder: null, tunnelReplica: null } : undefined,
    });
  }

  /**
   * Compares what this process holds with the books. What was taken for a dead process' is put right;
   * what was overtaken meanwhile is the caller's to close.
   */
  async check(
    tunnels: readonly HeldTunnel[],
  ): Promise<{ readonly corrected: number; readonly overtaken: readonly OvertakenTunnel[] }> {
    if (tunnels.length === 0) return { corrected: 0, overtaken: [] };
    const { rows } = await sql<Deviation>`
      select id, tunnel_generation as generation, tunnel_holder as holder, quarantined_at as "quarantinedAt"
      from hosts join unnest(
        ${tunnels.map(({ hostId }) => hostId)}::uuid[], ${tunnels.map(({ generation }) => generation)}::int[]
      ) as held (host_id, held_generation) on hosts.id = held.host_id
      where deleted_at is null and (tunnel_generation <> held_generation
        or tunnel_holder is distinct from ${this.#replicaId} or tunnel_replica is distinct from ${this.#replicaId})`.execute(
      this.#database.query,
    );
    const deviations = new Map(rows.map((host) => [host.id, host]));
    const overtaken: OvertakenTunnel[] = [];
    const untrue: HeldTunnel[] = [];
    for (const tunnel of tunnels) {
      const host = deviations.get(tunnel.hostId);
      if (host && host.generation !== tunnel.generation) overtaken.push({ ...tunnel, by: byWhom(host) });
      else if (host && tunnel.proven) untrue.push(tunnel);
    }
    const outcomes = await Promise.all(untrue.map(({ hostId, generation }) => this.ready(hostId, generation)));
    const corrected = outcomes.filter((outcome) => outcome === 'READY').length;
    return { corrected, overtaken };
  }

  /**
   * Clears tunnels that belong to no living replica, so that nothing is placed on a host which nobody can
   * reach. Their generation stays: a process that was only asleep takes them up again, unless another
   * tunnel was admitted meanwhile.
   *
   * @throws {FencedOff}
   */
  async clearOrphaned(term: Term, replicaDeadAfterMs: number): Promise<number> {
    const { query } = this.#database;
    const living = await query
      .selectFrom('Replica')
      .select('id')
      .where('seenAt', '>', sql<Date>`now() - ${replicaDeadAfterMs} * interval '1 ms'`)
      .execute();
    const ids = [this.#replicaId, ...living.map(({ id }) => id)];
    const orphaned = await query
      .selectFrom('Host')
      .select(['id', 'tunnelGeneration', 'tunnelReplica', 'tunnelHolder'])
      .where(({ or, and, eb }) =>
        or([
          and([eb('tunnelReplica', 'is not', null), eb('tunnelReplica', 'not in', ids)]),
          and([eb('tunnelHolder', 'is not', null), eb('tunnelHolder', 'not in', ids)]),
        ]),
      )
      .execute();
    const changes = orphaned.map(({ id, ...read }): Change => ({
      hostId: id,
      type: 'host.tunnel_down',
      // Only that of the dead one: the host may have dialled another replica meanwhile.
      decide: (host) => (same(host, read) ? { tunnelHolder: null, tunnelReplica: null } : undefined),
    }));
    for (let start = 0; start < changes.length; start += HOSTS_TOGETHER) {
      await this.#events.transaction('control', async (tx, record) => {
        await term.fence(tx);
        // One that is locked is being written at this moment; the next pass looks at it again.
        await changeFree(tx, record, changes.slice(start, start + HOSTS_TOGETHER));
      });
    }
    return orphaned.length;
  }

  /**
   * Whether an agent process speaks for its host. While the tunnel of one is up, only that one does: what
   * another says, a copy of it for example, would be believed of sandboxes that it does not have. A socket may
   * have been opened with credentials that have ended since, at another replica.
   */
  async hearing(hostId: string, instance: string, familyId: string): Promise<Hearing> {
    const facts = await this.#facts.load(hostId);
    if (!facts || facts.familyId !== familyId || facts.revokedAt !== null) return 'ENDED';
    if (facts.quarantinedAt) return 'QUARANTINED';
    return facts.holder === null || facts.instance === instance ? 'HEARD' : 'OTHER_AGENT';
  }
}

interface Deviation {
  readonly id: string;
  readonly generation: number;
  readonly holder: string | null;
  readonly quarantinedAt: Date | null;
}

function byWhom({ holder, quarantinedAt }: Deviation): OvertakenTunnel['by'] {
  if (quarantinedAt) return 'QUARANTINE';
  return holder === null ? 'REGISTRATION' : 'TUNNEL';
}

const same = (host: HostRow, facts: Partial<HostRow>): boolean =>
  Object.entries(facts).every(([field, value]) => host[field as keyof HostRow] === value);
