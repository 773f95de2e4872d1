import type { Logger } from '@rookery/wire/log.ts';
import { sql } from 'kysely';
import type { HostPresence, HostSpecs } from '../hosts/host-presence.service.ts';
import type { FleetDatabase } from '../tables.ts';

/** One heartbeat as it is written. */
export interface Beat {
  readonly hostId: string;
  readonly load1: number;
  readonly memoryUsedMb: number;
  readonly diskUsedMb: number;
}

export interface BeatAnswer {
  /** Digest of the host's inventory that was reconciled last. */
  readonly knownDigest: string | null;
}

/** Longest a beat waits for company before it is written, in ms. Longer makes fewer statements and later answers. */
const BATCH_WINDOW_MS = 10;

/** Beats in one statement. */
const BATCH_SIZE = 2_000;

interface Waiting {
  readonly beat: Beat;
  readonly resolve: (answer: BeatAnswer) => void;
  readonly reject: (error: unknown) => void;
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
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** What each host said of itself last on this process, to notice a change without asking the database. */
  readonly #lastSpecs = new Map<string, string>();

  constructor(deps: HeartbeatsDeps) {
    this.#deps = deps;
  }

  /** Takes one beat; resolves when it is durable. */
  async beat(beat: Beat, specs: HostSpecs): Promise<BeatAnswer> {
    const said = JSON.stringify(specs);
    if (this.#lastSpecs.get(beat.hostId) !== said) {
      await this.#deps.presence.describe(beat.hostId, specs);
      this.#lastSpecs.set(beat.hostId, said);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ beat, resolve, reject });
      if (this.#waiting.length >= BATCH_SIZE) void this.#flush();
      else this.#timer ??= setTimeout(() => void this.#flush(), BATCH_WINDOW_MS);
    });
  }

  /** The host is gone; a new one with its id starts afresh. */
  forget(hostId: string): void {
    this.#lastSpecs.delete(hostId);
  }

  async #flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#waiting.splice(0, BATCH_SIZE);
    if (batch.length === 0) return;
    try {
      const answers = await this.#write(batch.map(({ beat }) => beat));
      for (const { beat, resolve } of batch) resolve(answers.get(beat.hostId) ?? { knownDigest: null });
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  async #write(beats: readonly Beat[]): Promise<Map<string, BeatAnswer>> {
    // Two beats of one host in one batch would be two updates of one row in one statement: the last one counts.
    const latest = [...new Map(beats.map((beat) => [beat.hostId, beat])).values()];
    const column = <T>(pick: (beat: Beat) => T): T[] => latest.map(pick);
    const { rows } = await sql<{ hostId: string; digest: string | null; online: boolean }>`
      with beat as (
        select * from unnest(
          ${column((b) => b.hostId)}::uuid[], ${column((b) => b.load1)}::float8[],
          ${column((b) => b.memoryUsedMb)}::int[], ${column((b) => b.diskUsedMb)}::int[]
        ) as beat (host_id, load1, memory_used_mb, disk_used_mb)
      ), written as (
        update host_leases as lease set
          seen_at = now(), load1 = beat.load1, memory_used_mb = beat.memory_used_mb, disk_used_mb = beat.disk_used_mb
        from beat where lease.host_id = beat.host_id
        returning lease.host_id, lease.inventory_digest
      )
      select written.host_id as "hostId", written.inventory_digest as digest, hosts.status = 'ONLINE' as online
      from written join hosts on hosts.id = written.host_id and hosts.deleted_at is null`.execute(
      this.#deps.database.query,
    );
    await this.#deps.presence.heard(rows.filter(({ online }) => !online).map(({ hostId }) => hostId));
    return new Map(rows.map(({ hostId, digest }) => [hostId, { knownDigest: digest }]));
  }
}
