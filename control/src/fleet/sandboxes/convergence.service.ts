import { RookeryError } from '@rookery/wire/errors.ts';
import { inventoryDigest } from '@rookery/wire/inventory-digest.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { isUuid } from '../../kernel/global-id.ts';
import type { EventLog } from '../events/event-log.ts';
import type { FleetDatabase, SandboxRow } from '../tables.ts';
import type { Inventory, ObservedSandbox } from '../tunnels/host-client.ts';
import type { HostClientPool } from '../tunnels/host-client-pool.ts';
import { transitionSandbox } from './sandbox.record.ts';
import { ENDED_STATUSES, markPushed, observe, type SandboxReport, type Transition } from './sandbox.state.ts';

/** How long a host may take to bring one sandbox to where it should be, in ms. */
const APPLY_DEADLINE_MS = 60_000;

/** Pushes at the same time to one host; its disk and runtime are the limit, not the tunnel. */
const PUSHES_PER_HOST = 8;

export interface ConvergenceDeps {
  readonly database: FleetDatabase;
  readonly events: EventLog;
  readonly pool: HostClientPool;
  readonly log: Logger;
}

/**
 * Brings hosts to what is wanted and rows to what is.
 *
 * Level-triggered: a push says what a sandbox should be, never what to do about it, so it can be
 * repeated after any loss. Creation and destruction push at once, a reconnect and a periodic pass
 * push again, all through {@link push}.
 */
export class Convergence {
  readonly #deps: ConvergenceDeps;
  /** Sandboxes that are being pushed; a further push of the same waits for that one and then looks again. */
  readonly #pushing = new Map<string, Promise<void>>();

  constructor(deps: ConvergenceDeps) {
    this.#deps = deps;
  }

  /** Pushes soon, without anyone waiting for it. */
  nudge(sandboxId: string): void {
    void this.push(sandboxId);
  }

  /**
   * Tells the sandbox's host what it should be and writes down what it then is. Does nothing when
   * the host cannot be reached: its reconnect pushes again.
   */
  async push(sandboxId: string): Promise<void> {
    const running = this.#pushing.get(sandboxId);
    const mine = (running ?? Promise.resolve())
      .then(() => this.#push(sandboxId))
      .catch((err: unknown) => {
        const known = err instanceof RookeryError;
        this.#deps.log[known ? 'info' : 'error'](
          { sandboxId, err: known ? err.message : err },
          'a push did not get through; it will be repeated',
        );
      });
    this.#pushing.set(sandboxId, mine);
    await mine;
    if (this.#pushing.get(sandboxId) === mine) this.#pushing.delete(sandboxId);
  }

  /**
   * Compares everything a host has with everything it should have.
   *
   * @returns false when a newer inventory of this host has been taken already.
   */
  async reconcile(hostId: string, inventory: Pick<Inventory, 'epoch' | 'sandboxes'>): Promise<boolean> {
    const { database, log } = this.#deps;
    if (!(await this.#takeEpoch(hostId, inventory))) return false;
    const rows = await database.query
      .selectFrom('Sandbox')
      .selectAll()
      .where('hostId', '=', hostId)
      .where('deletedAt', 'is', null)
      .execute();
    const reported = new Map(inventory.sandboxes.map((sandbox) => [sandbox.id, sandbox]));
    const toPush: string[] = [];
    for (const { id } of rows) {
      const report = reported.get(id);
      const transition = await this.observe(hostId, id, report ?? 'absent');
      if (transition?.push) toPush.push(id);
    }

    const unknown = [...reported.keys()].filter((id) => !rows.some((row) => row.id === id));
    await this.#removeDeleted(
      hostId,
      unknown.map((id) => reported.get(id) as ObservedSandbox),
    );
    if (toPush.length > 0) log.info({ hostId, sandboxes: toPush.length }, 'host differs from what is wanted; pushing');
    await inBatches(toPush, PUSHES_PER_HOST, (id) => this.push(id));
    return true;
  }

  /**
   * Writes down what a host says about one sandbox.
   *
   * @returns the transition, or undefined when the sandbox is not this host's.
   */
  async observe(
    hostId: string,
    sandboxId: string,
    report: ObservedSandbox | 'absent',
  ): Promise<Transition | undefined> {
    const { events } = this.#deps;
    const observed = report === 'absent' ? report : toReport(report);
    const result = await events.transaction(`host:${hostId}`, (tx, record) =>
      transitionSandbox(
        tx,
        record,
        sandboxId,
        (row) => `sandbox.${row.status.toLowerCase()}`,
        (state) =>
          // A host may speak of its own sandboxes only.
          state.hostId === hostId ? observe(state, observed, new Date()) : { changes: {}, push: false },
      ),
    );
    return result?.row.hostId === hostId ? result.transition : undefined;
  }

  /** A host says what some of its sandboxes are; what differs from what is wanted is pushed. */
  async report(hostId: string, sandboxes: readonly ObservedSandbox[]): Promise<void> {
    for (const sandbox of sandboxes) {
      if (!isUuid(sandbox.id)) continue;
      const transition = await this.observe(hostId, sandbox.id, sandbox);
      if (transition?.push) this.nudge(sandbox.id);
    }
  }

  /** Pushes whatever is not yet what it should be on the hosts that this process can reach. */
  async converge(): Promise<number> {
    const hostIds = this.#deps.pool.connectedHostIds;
    if (hostIds.length === 0) return 0;
    const rows = await this.#deps.database.query
      .selectFrom('Sandbox')
      .select('id')
      .where('hostId', 'in', hostIds)
      .where('deletedAt', 'is', null)
      .where((eb) =>
        eb.or([
          eb('desiredState', '=', 'DESTROYED'),
          eb.and([eb('status', 'not in', ENDED_STATUSES), eb('observedGeneration', '<', eb.ref('generation'))]),
        ]),
      )
      .limit(1_000)
      .execute();
    await inBatches(rows, PUSHES_PER_HOST, ({ id }) => this.push(id));
    return rows.length;
  }

  async #push(sandboxId: string): Promise<void> {
    const { database, events, pool } = this.#deps;
    const row = await database.query.selectFrom('Sandbox').selectAll().where('id', '=', sandboxId).executeTakeFirst();
    if (!row || row.deletedAt) return;
    const host = pool.get(row.hostId);
    if (!host) return;

    if (row.desiredState === 'DESTROYED') {
      await host.removeSandbox(row.id, row.generation, APPLY_DEADLINE_MS);
      await this.observe(row.hostId, row.id, 'absent');
      return;
    }
    if ((ENDED_STATUSES as readonly string[]).includes(row.status)) return;
    await events.transaction('control', (tx, record) =>
      transitionSandbox(tx, record, row.id, 'sandbox.starting', markPushed),
    );
    await this.observe(row.hostId, row.id, await host.applySandbox(toSpec(row), row.generation, APPLY_DEADLINE_MS));
  }

  /** Inventories may overtake each other; an older one than the last taken says nothing. */
  async #takeEpoch(hostId: string, { epoch, sandboxes }: Pick<Inventory, 'epoch' | 'sandboxes'>): Promise<boolean> {
    const { numUpdatedRows } = await this.#deps.database.query
      .updateTable('HostLease')
      .set({ inventoryEpoch: epoch, inventoryDigest: inventoryDigest(sandboxes) })
      .where('hostId', '=', hostId)
      .where('inventoryEpoch', '<=', epoch)
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  /** Sandboxes that the host has and that were destroyed are removed; ones we have never known are left alone. */
  async #removeDeleted(hostId: string, orphans: readonly ObservedSandbox[]): Promise<void> {
    if (orphans.length === 0) return;
    const { database, pool, log } = this.#deps;
    const ids = orphans.map(({ id }) => id).filter(isUuid);
    const deleted =
      ids.length === 0
        ? []
        : await database.query
            .selectFrom('Sandbox')
            .select(['id', 'generation'])
            .where('id', 'in', ids)
            .where('deletedAt', 'is not', null)
            .execute();
    for (const { id, generation } of deleted) {
      await pool
        .get(hostId)
        ?.removeSandbox(id, generation, APPLY_DEADLINE_MS)
        .catch((err: unknown) => log.warn({ hostId, sandboxId: id, err }, 'an orphan could not be removed'));
    }
    const strangers = orphans.length - deleted.length;
    if (strangers > 0)
      log.warn(
        { hostId, sandboxes: strangers },
        'the host runs sandboxes that this control plane does not know; they are left alone',
      );
  }
}

function toSpec(row: SandboxRow) {
  const { id, name, template, memoryMb, diskMb } = row;
  return { id, name, template, memoryMb, diskMb, vcpus: row.milliVcpus / 1_000, desiredState: 'RUNNING' as const };
}

function toReport({ generation, status, statusReason, startedAt, lastActiveAt }: ObservedSandbox): SandboxReport {
  return {
    generation,
    status,
    statusReason: statusReason ?? null,
    startedAt: startedAt ? new Date(startedAt) : null,
    lastActiveAt: lastActiveAt ? new Date(lastActiveAt) : null,
  };
}

async function inBatches<T>(items: readonly T[], size: number, work: (item: T) => Promise<void>): Promise<void> {
  for (let start = 0; start < items.length; start += size)
    await Promise.all(items.slice(start, start + size).map(work));
}
