import { RookeryError } from '@rookery/wire/errors.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { randomUUID } from 'node:crypto';
import type { FleetDatabase, FleetEvents } from '../tables.ts';
import type { HostClientPool } from '../tunnels/host-client-pool.ts';
import { noteCreateFailure, noteCreateSuccess } from './failover.ts';

/** How long a host may take to start or remove a canary, in ms. */
const DEADLINE_MS = 60_000;

/** The smallest sandbox there is; it is counted against nobody. */
const CANARY = {
  name: 'canary',
  template: 'host',
  vcpus: 0.1,
  memoryMb: 64,
  diskMb: 32,
  timeoutSeconds: null,
} as const;

export interface CanariesDeps {
  readonly database: FleetDatabase;
  readonly events: FleetEvents;
  readonly pool: HostClientPool;
  readonly log: Logger;
}

/**
 * Tries hosts that were taken out of placement because they failed to start sandboxes, with one that
 * nobody waits for. Only hosts whose tunnel is here are tried, so each is by one control process.
 */
export class Canaries {
  readonly #deps: CanariesDeps;

  constructor(deps: CanariesDeps) {
    this.#deps = deps;
  }

  /** @returns how many hosts were tried. */
  async run(): Promise<number> {
    const { database, pool } = this.#deps;
    const hostIds = pool.provenHostIds;
    if (hostIds.length === 0) return 0;
    const failing = await database.query
      .selectFrom('Host')
      .select('id')
      .where('id', 'in', hostIds)
      .where('createsFailingSince', 'is not', null)
      .where('deletingAt', 'is', null)
      .where('deletedAt', 'is', null)
      .execute();
    await Promise.all(failing.map(({ id }) => this.#try(id)));
    return failing.length;
  }

  async #try(hostId: string): Promise<void> {
    const { pool, events, log } = this.#deps;
    const host = pool.get(hostId);
    if (!host) return;
    const id = randomUUID();
    try {
      const seen = await host.applySandbox({ ...CANARY, id, desiredState: 'RUNNING' }, 1, DEADLINE_MS);
      await events.transaction('control', (tx, record) =>
        seen.status === 'RUNNING'
          ? noteCreateSuccess(tx, record, hostId)
          : noteCreateFailure(tx, record, hostId, seen.statusReason ?? `The canary is ${seen.status.toLowerCase()}.`),
      );
    } catch (err) {
      // Neither yes nor no: it is tried again.
      if (!(err instanceof RookeryError)) throw err;
      log.info({ hostId, err }, 'a canary did not get through');
    } finally {
      await host
        .removeSandbox(id, 1, DEADLINE_MS)
        .catch((err: unknown) => log.warn({ hostId, err }, 'a canary could not be removed'));
    }
  }
}
