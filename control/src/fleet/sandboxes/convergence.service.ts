import { RookeryError } from '@rookery/wire/errors.ts';
import { inventoryDigest } from '@rookery/wire/inventory-digest.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { takeReport } from '../placement/failover.ts';
import type { Placements } from '../placement/placement.service.ts';
import type { FleetDatabase, FleetEvents, SandboxRow } from '../tables.ts';
import type { HostClientPool } from '../tunnels/host-client-pool.ts';
import { transitionSandbox } from './sandbox.record.ts';
import type { Inventory, ObservedSandbox } from './sandbox.report.ts';
import { ENDED_STATUSES, isEnded, markPushed, noteTrouble, type Absence, type Transition } from './sandbox.state.ts';

/** How long a host may take to bring one sandbox to where it should be, in ms. */
const APPLY_DEADLINE_MS = 60_000;

/** Pushes at the same time to one host; its disk and runtime are the limit, not the tunnel. */
const PUSHES_PER_HOST = 8;

/** Sandboxes looked at in one periodic pass. */
const CONVERGE_BATCH = 1_000;

export interface ConvergenceDeps {
  readonly database: FleetDatabase;
  readonly events: FleetEvents;
  readonly pool: HostClientPool;
  readonly placements: Placements;
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

  /**
   * Pushes soon, without anyone waiting for it.
   *
   * @param hostId of the sandbox, where the caller knows it: saves looking it up when the host cannot be reached.
   */
  nudge(sandboxId: string, hostId?: string): void {
    if (hostId === undefined || this.#deps.pool.get(hostId)) void this.push(sandboxId);
  }

  /** The same for many: some of them at a time. */
  nudgeAll(sandboxIds: readonly string[]): void {
    void inBatches(sandboxIds, PUSHES_PER_HOST, (id) => this.push(id));
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

  /** Waits for the pushes that are under way. */
  async idle(): Promise<void> {
    while (this.#pushing.size > 0) await Promise.all(this.#pushing.values());
  }

  /**
   * Compares everything a host has with everything it should have. What differs is pushed, without
   * being waited for: one slow sandbox must not keep the host's others, or its place, waiting.
   *
   * @returns false when a newer inventory of this host has been taken already.
   */
  async reconcile(hostId: string, { epoch, sandboxes }: Inventory): Promise<boolean> {
    const { database, log } = this.#deps;
    if (!(await this.#takeEpoch(hostId, epoch))) return false;
    const rows = await database.query
      .selectFrom('Sandbox')
      .select(['id', 'status'])
      .where('hostId', '=', hostId)
      .where('deletedAt', 'is', null)
      .execute();
    const reported = new Map(sandboxes.map((sandbox) => [sandbox.id, sandbox]));
    const toPush: string[] = [];
    for (const { id } of rows) {
      const transition = await this.observe(hostId, id, reported.get(id) ?? { absentAsOf: epoch });
      if (transition?.push) toPush.push(id);
    }
    if (toPush.length > 0) log.info({ hostId, sandboxes: toPush.length }, 'host differs from what is wanted; pushing');
    void inBatches(toPush, PUSHES_PER_HOST, (id) => this.push(id));

    const known = new Set(rows.filter(({ status }) => !isEnded(status)).map(({ id }) => id));
    await this.#removeDeleted(
      hostId,
      sandboxes.filter(({ id, status }) => !known.has(id) && !isEnded(status)),
    );
    await this.#keepDigest(hostId, epoch, inventoryDigest(sandboxes));
    return true;
  }

  /**
   * Writes down what a host says about one sandbox. One that it could not start may go to another host.
   *
   * @returns the transition, or undefined when the sandbox is not this host's.
   */
  async observe(hostId: string, sandboxId: string, report: ObservedSandbox | Absence): Promise<Transition | undefined> {
    const { events, placements, pool, log } = this.#deps;
    const taken = await events.transaction(`host:${hostId}`, (tx, record) =>
      takeReport(tx, record, placements, { hostId, sandboxId, report }),
    );
    if (taken?.leftBehind && 'generation' in report) {
      log.info({ hostId, sandboxId, to: taken.row.hostId }, 'the host could not start a sandbox; it goes to another');
      this.nudge(sandboxId);
      // Only a note of the failure is left there; its next inventory tells of it if this is lost.
      void pool
        .get(hostId)
        ?.removeSandbox(sandboxId, report.generation, APPLY_DEADLINE_MS)
        .catch((err: unknown) => log.info({ hostId, sandboxId, err }, 'a failed sandbox could not be removed'));
      return undefined;
    }
    return taken?.transition;
  }

  /** A host says what some of its sandboxes are; what differs from what is wanted is pushed. */
  async report(hostId: string, sandboxes: readonly ObservedSandbox[]): Promise<void> {
    for (const sandbox of sandboxes) {
      const transition = await this.observe(hostId, sandbox.id, sandbox);
      if (transition?.push) this.nudge(sandbox.id);
    }
  }

  /**
   * Pushes whatever is not yet what it should be on the hosts that this process can reach.
   *
   * @returns how many sandboxes that is. They are pushed without being waited for.
   */
  async converge(): Promise<number> {
    const hostIds = this.#deps.pool.provenHostIds;
    if (hostIds.length === 0) return 0;
    const rows = await this.#deps.database.query
      .selectFrom('Sandbox')
      .select(['id', 'hostId'])
      .where('hostId', 'in', hostIds)
      .where('deletedAt', 'is', null)
      .where((eb) =>
        eb.or([
          eb('desiredState', '=', 'DESTROYED'),
          eb.and([eb('desiredState', '=', 'RUNNING'), eb('status', 'in', ['PAUSED', 'RESUMING'])]),
          eb.and([eb('desiredState', '=', 'PAUSED'), eb('status', '=', 'PAUSING')]),
          eb.and([eb('status', 'not in', ENDED_STATUSES), eb('observedGeneration', '<', eb.ref('generation'))]),
        ]),
      )
      .orderBy('id')
      .limit(CONVERGE_BATCH)
      .execute();
    // Each host at its own pace: one that does not answer holds up nobody else's.
    for (const [, sandboxes] of Map.groupBy(rows, ({ hostId }) => hostId)) {
      void inBatches(
        sandboxes.filter(({ id }) => !this.#pushing.has(id)),
        PUSHES_PER_HOST,
        ({ id }) => this.push(id),
      );
    }
    return rows.length;
  }

  async #push(sandboxId: string): Promise<void> {
    const { database, events, pool } = this.#deps;
    const row = await database.query.selectFrom('Sandbox').selectAll().where('id', '=', sandboxId).executeTakeFirst();
    if (!row || row.deletedAt) return;
    const host = await pool.find(row.hostId);
    if (!host) return;

    if (row.desiredState === 'DESTROYED') {
      await host.removeSandbox(row.id, row.generation, APPLY_DEADLINE_MS);
      await this.observe(row.hostId, row.id, { absentAsOf: null });
      return;
    }
    if (isEnded(row.status)) return;
    await events.transaction('control', (tx, record) =>
      transitionSandbox(tx, record, row.id, 'sandbox.starting', markPushed),
    );
    try {
      const observed = await host.applySandbox(toSpec(row), row.generation, APPLY_DEADLINE_MS);
      // An agent that answers for another sandbox than it was asked about is not believed.
      if (observed.id === row.id) await this.observe(row.hostId, row.id, observed);
    } catch (error) {
      if (!(error instanceof RookeryError)) throw error;
      await events.transaction('control', (tx, record) =>
        transitionSandbox(tx, record, row.id, 'sandbox.delayed', (state) => noteTrouble(state, error.message)),
      );
      throw error;
    }
  }

  /** Inventories may overtake each other; an older one than the last taken says nothing. */
  async #takeEpoch(hostId: string, epoch: number): Promise<boolean> {
    const { numUpdatedRows } = await this.#deps.database.query
      .updateTable('HostLease')
      .set({ inventoryEpoch: epoch })
      .where('hostId', '=', hostId)
      .where('inventoryEpoch', '<=', epoch)
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  /** Last, when the rows say what the inventory said: an interrupted reconciliation is asked for again. */
  async #keepDigest(hostId: string, epoch: number, digest: string): Promise<void> {
    await this.#deps.database.query
      .updateTable('HostLease')
      .set({ inventoryDigest: digest })
      .where('hostId', '=', hostId)
      .where('inventoryEpoch', '=', epoch)
      .execute();
  }

  /** What the host runs and was destroyed is removed; what has ended in our books, or was never in them, is left alone. */
  async #removeDeleted(hostId: string, orphans: readonly ObservedSandbox[]): Promise<void> {
    if (orphans.length === 0) return;
    const { database, pool, log } = this.#deps;
    const deleted = await database.query
      .selectFrom('Sandbox')
      .select(['id', 'generation'])
      .where(
        'id',
        'in',
        orphans.map(({ id }) => id),
      )
      .where('hostId', '=', hostId)
      .where('deletedAt', 'is not', null)
      .execute();
    void inBatches(deleted, PUSHES_PER_HOST, async ({ id, generation }) => {
      const host = await pool.find(hostId);
      await host
        ?.removeSandbox(id, generation, APPLY_DEADLINE_MS)
        .catch((err: unknown) => log.warn({ hostId, sandboxId: id, err }, 'an orphan could not be removed'));
    });
    const strangers = orphans.length - deleted.length;
    if (strangers > 0)
      log.warn(
        { hostId, sandboxes: strangers },
        'the host runs sandboxes that should not be there; they are left alone',
      );
  }
}

function toSpec(row: SandboxRow) {
  const { id, name, template, memoryMb, diskMb, timeoutSeconds } = row;
  const desiredState = row.desiredState === 'PAUSED' ? 'PAUSED' : 'RUNNING';
  return { id, name, template, memoryMb, diskMb, timeoutSeconds, vcpus: row.milliVcpus / 1_000, desiredState } as const;
}

async function inBatches<T>(items: readonly T[], size: number, work: (item: T) => Promise<void>): Promise<void> {
  for (let start = 0; start < items.length; start += size)
    await Promise.all(items.slice(start, start + size).map(work));
}
