import type { Logger } from '@rookery/wire/log.ts';
import { sql } from 'kysely';
import DataLoader from 'dataloader';
import { LRUCache } from 'lru-cache';
import { RookeryError } from '@rookery/wire/errors.ts';
import { together } from '../../kernel/batching.ts';
import type { HostPresence } from '../hosts/host-presence.service.ts';
import type { HostSpecs, HostUsage } from '../hosts/host.specs.ts';
import type { FleetDatabase } from '../tables.ts';

/** One heartbeat as it is written. */
export interface Beat extends HostUsage {
  readonly hostId: string;
  /** Of the credentials that it was sent with. */
  readonly familyId: string;
  /** The agent process that it came from. */
  readonly instance: string;
}

export interface BeatAnswer {
  /** Digest of the host's inventory that was reconciled last. */
  readonly knownDigest: string | null;
  /** Whether what this agent process says of the host is believed; see `TunnelBooks.hearing`. */
  readonly isHeard: boolean;
}

/** Longest a beat waits for company before it is written, in ms. Longer makes fewer statements and later answers. */
const BATCH_WINDOW_MS = 25;

/** Hosts of which the newest epochs are looked up by one statement. */
const HOSTS_TOGETHER = 200;

/** Beats in one statement. */
const BATCH_SIZE = 2_000;

/** How soon a host's description may be written again, in ms: a machine that changes with every beat is not worth an event each. */
const DESCRIBE_EVERY_MS = 5_000;

/** Hosts whose last description is remembered; one that is forgotten is compared with its row. */
const DESCRIPTIONS_KEPT = 50_000;

interface Waiting {
  beat: Beat;
  /** All that wait for this host's beat to be written; a hasty one that beats again joins them. */
  readonly answer: PromiseWithResolvers<BeatAnswer>;
}

export interface HeartbeatsDeps {
  readonly database: FleetDatabase;
  readonly presence: HostPresence;
  readonly log: Logger;
}

/**
 * Writes heartbeats. Beats that arrive together are written by one statement into the narrow lease
 * table and acknowledged after its commit: a single-row update each costs some fifty times as much.
 */
export class Heartbeats {
  readonly #deps: HeartbeatsDeps;
  #waiting = new Map<string, Waiting>();
  #timer: NodeJS.Timeout | undefined;
  /** What each host said of itself last on this process, to notice a change without asking the database. */
  readonly #described = new LRUCache<string, { said: string; at: number }>({ max: DESCRIPTIONS_KEPT });

  /** One statement for hosts that report together, as they do after a restart. */
  readonly #epochs = new DataLoader(
    (hostIds: readonly string[]) => this.#newestEpochs(hostIds),
    together(HOSTS_TOGETHER),
  );

  constructor(deps: HeartbeatsDeps) {
    this.#deps = deps;
  }

  /**
   * Takes one beat; resolves when it is durable.
   *
   * @throws {RookeryError} `UNAUTHENTICATED` when there is no such host any more.
   */
  async beat(beat: Beat, specs: HostSpecs): Promise<BeatAnswer> {
    const answer = await this.#queue(beat);
    if (answer.isHeard) await this.#describe(beat.hostId, specs);
    return answer;
  }

  #queue(beat: Beat): Promise<BeatAnswer> {
    // Two agents of one host are answered apart.
    const key = `${beat.hostId} ${beat.instance}`;
    const waiting = this.#waiting.get(key);
    if (waiting) {
      waiting.beat = beat;
      return waiting.answer.promise;
    }
    const answer = Promise.withResolvers<BeatAnswer>();
    this.#waiting.set(key, { beat, answer });
    if (this.#waiting.size >= BATCH_SIZE) void this.#flush();
    else this.#timer ??= setTimeout(() => void this.#flush(), BATCH_WINDOW_MS);
    return answer.promise;
  }

  /** The newest epoch of which control has taken news of a host. */
  newestEpoch(hostId: string): Promise<number> {
    return this.#epochs.load(hostId);
  }

  /** The host is gone; a new one with its id starts afresh. */
  forget(hostId: string): void {
    this.#described.delete(hostId);
  }

  async #newestEpochs(hostIds: readonly string[]): Promise<number[]> {
    const { rows } = await sql<{ hostId: string; epoch: string }>`
      select lease.host_id as "hostId", greatest(lease.inventory_epoch,
        (select max(observed_epoch) from sandboxes where sandboxes.host_id = lease.host_id)) as epoch
      from host_leases as lease where lease.host_id = any(${[...hostIds]}::uuid[])`.execute(this.#deps.database.query);
    const known = new Map(rows.map(({ hostId, epoch }) => [hostId, Number(epoch)]));
    return hostIds.map((hostId) => known.get(hostId) ?? 0);
  }

  async #describe(hostId: string, specs: HostSpecs): Promise<void> {
    const said = JSON.stringify(specs);
    const last = this.#described.get(hostId);
    if (last?.said === said || (last && Date.now() - last.at < DESCRIBE_EVERY_MS)) return;
    this.#described.set(hostId, { said, at: Date.now() });
    try {
      await this.#deps.presence.describe(hostId, specs);
    } catch (error) {
      this.#described.delete(hostId);
      throw error;
    }
  }

  async #flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = [...this.#waiting.values()];
    this.#waiting = new Map();
    if (batch.length === 0) return;
    try {
      await this.#settle(batch);
    } catch {
      // One bad beat must not cost the others their lease.
      for (const waiting of batch)
        await this.#settle([waiting]).catch((error: unknown) => waiting.answer.reject(error));
    }
  }

  async #settle(batch: readonly Waiting[]): Promise<void> {
    const answers = await this.#write(batch.map(({ beat }) => beat));
    for (const { beat, answer } of batch) {
      const known = answers.get(beat);
      if (known) answer.resolve(known);
      else
        answer.reject(
          new RookeryError('UNAUTHENTICATED', 'There is no such host any more, or it has left.', {
            reason: 'TOKEN_UNKNOWN',
          }),
        );
    }
  }

  async #write(beats: readonly Beat[]): Promise<Map<Beat, BeatAnswer>> {
    const column = <T>(pick: (beat: Beat) => T): T[] => beats.map(pick);
    const { rows } = await sql<Written>`
      with beat as (
        -- Of two agents of one host, either: the lease is the host's. But not of those whose credentials have ended.
        select distinct on (said.host_id) said.* from unnest(
          ${column((b) => b.hostId)}::uuid[], ${column((b) => b.familyId)}::uuid[], ${column((b) => b.load1)}::float8[],
          ${column((b) => b.memoryUsedMb)}::int[], ${column((b) => b.diskUsedMb)}::int[]
        ) as said (host_id, family_id, load1, memory_used_mb, disk_used_mb)
        join host_identities as identity on identity.host_id = said.host_id
          and identity.family_id = said.family_id and identity.revoked_at is null
      ), written as (
        update host_leases as lease set
          seen_at = now(), load1 = beat.load1, memory_used_mb = beat.memory_used_mb, disk_used_mb = beat.disk_used_mb
        from beat where lease.host_id = beat.host_id
        returning lease.host_id, beat.family_id, lease.inventory_digest
      )
      select written.host_id as "hostId", written.family_id as "familyId", written.inventory_digest as digest, hosts.status = 'ONLINE' as online,
        hosts.quarantined_at is not null as quarantined, hosts.tunnel_holder as holder, hosts.tunnel_instance as instance
      from written join hosts on hosts.id = written.host_id and hosts.deleted_at is null and hosts.left_at is null`.execute(
      this.#deps.database.query,
    );
    const returning = rows.filter(({ online }) => !online).map(({ hostId }) => hostId);
    if (returning.length > 0) {
      // The leases stand either way; the next beats try again.
      await this.#deps.presence
        .heard(returning)
        .catch((err: unknown) =>
          this.#deps.log.warn({ hosts: returning.length, err }, 'returning hosts could not be written down'),
        );
    }
    const hosts = new Map(rows.map((row) => [row.hostId, row]));
    return new Map(
      beats.flatMap((beat) => {
        const host = hosts.get(beat.hostId);
        if (host?.familyId !== beat.familyId) return [];
        const isHeard = !host.quarantined && (host.holder === null || host.instance === beat.instance);
        return [[beat, { knownDigest: host.online ? host.digest : null, isHeard }]];
      }),
    );
  }
}

interface Written {
  readonly hostId: string;
  readonly familyId: string;
  readonly digest: string | null;
  readonly online: boolean;
  readonly quarantined: boolean;
  readonly holder: string | null;
  readonly instance: string | null;
}
