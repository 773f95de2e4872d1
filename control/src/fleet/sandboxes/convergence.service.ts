import { RookeryError } from '@rookery/wire/errors.ts';
import { inventoryDigest } from '@rookery/wire/inventory-digest.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { validate as isUuid } from 'uuid';
import type { SandboxRow } from '../tables.ts';
import type { HostClientPool } from '../tunnels/host-client-pool.ts';
import { ORPHAN_MIN_AGE_MS, readOrphans } from './orphan.state.ts';
import { reconcile, type SandboxBook } from './reconcile.ts';
import type { SandboxBooks } from './sandbox.books.ts';
import type { Inventory, ObservedSandbox } from './sandbox.report.ts';
import { isEnded, markPushed, noteTrouble, type Absence, type Transition } from './sandbox.state.ts';

/** How long a host may take to bring one sandbox to where it should be, in ms. */
const APPLY_DEADLINE_MS = 60_000;

/** Pushes at the same time to one host; its disk and runtime are the limit, not the tunnel. */
const PUSHES_PER_HOST = 8;

/** Sandboxes taken up in one periodic pass, of all hosts together; the next one goes on with the others. */
const CONVERGE_BATCH = 1_000;

/** How long a host may take to say again what it has, in ms. */
const INVENTORY_DEADLINE_MS = 10_000;

interface Pushing {
  readonly now: Promise<void>;
  /** The one push that waits for it, however many have asked for one. */
  next?: Promise<void>;
}

interface Backlog {
  readonly sandboxIds: Set<string>;
  workers: number;
}

export interface ConvergenceDeps {
  readonly books: SandboxBooks;
  readonly pool: Pick<HostClientPool, 'get' | 'find' | 'provenHostIds'>;
  readonly log: Logger;
  /** How long a sandbox must have been an orphan before it is removed, in ms; default {@link ORPHAN_MIN_AGE_MS}. */
  readonly orphanMinAgeMs?: number;
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
  /** Sandboxes that are being pushed; see {@link push}. */
  readonly #pushing = new Map<string, Pushing>();
  /** What is to be pushed to each host when its turn comes. */
  readonly #backlogs = new Map<string, Backlog>();
  readonly #removing = new Set<string>();

  constructor(deps: ConvergenceDeps) {
    this.#deps = deps;
  }

  /** Pushes soon, without anyone waiting for it, through whichever replica is connected to the host. */
  nudge(sandboxId: string): void {
    void this.push(sandboxId);
  }

  /**
   * The same for many of one host: some of them at a time. One that waits for its turn already does not
   * get a second; a single {@link nudge} does not wait for any of them.
   */
  nudgeAll(hostId: string, sandboxIds: readonly string[]): void {
    const backlog = this.#backlogs.get(hostId) ?? { sandboxIds: new Set<string>(), workers: 0 };
    for (const id of sandboxIds) backlog.sandboxIds.add(id);
    if (backlog.sandboxIds.size > 0) this.#backlogs.set(hostId, backlog);
    const lacking = Math.min(PUSHES_PER_HOST - backlog.workers, backlog.sandboxIds.size);
    for (let n = 0; n < lacking; n++) void this.#workOff(hostId, backlog);
  }

  async #workOff(hostId: string, backlog: Backlog): Promise<void> {
    backlog.workers += 1;
    // Goes on with what is added meanwhile.
    for (const id of backlog.sandboxIds) {
      backlog.sandboxIds.delete(id);
      await this.push(id);
    }
    backlog.workers -= 1;
    if (backlog.workers === 0) this.#backlogs.delete(hostId);
  }

  /**
   * Tells the sandbox's host what it should be and writes down what it then is. Does nothing when
   * the host cannot be reached: its reconnect pushes again.
   *
   * While one is under way all further ones of the same sandbox are one more, which looks again: they
   * would all push the same.
   */
  async push(sandboxId: string): Promise<void> {
    const running = this.#pushing.get(sandboxId);
    await (running ? (running.next ??= running.now.then(() => this.#begin(sandboxId))) : this.#begin(sandboxId));
  }

  #begin(sandboxId: string): Promise<void> {
    const now = this.#push(sandboxId)
      .catch((err: unknown) => {
        const known = err instanceof RookeryError;
        this.#deps.log[known ? 'info' : 'error'](
          { sandboxId, err: known ? err.message : err },
          'a push did not get through; it will be repeated',
        );
      })
      .then(() => {
        if (!pushing.next) this.#pushing.delete(sandboxId);
      });
    const pushing: Pushing = { now };
    this.#pushing.set(sandboxId, pushing);
    return now;
  }

  /** Waits for the pushes that are under way or wait for their turn. */
  async idle(): Promise<void> {
    while (this.#pushing.size > 0) await Promise.all([...this.#pushing.values()].map(({ now, next }) => next ?? now));
  }

  /**
   * Compares everything a host has with everything it should have. What differs is pushed, without
   * being waited for: one slow sandbox must not keep the host's others, or its place, waiting.
   *
   * @returns false when a newer inventory of this host has been taken already.
   */
  async reconcile(hostId: string, inventory: Inventory): Promise<boolean> {
    const { books, log } = this.#deps;
    const { epoch, sandboxes } = inventory;
    if (!(await books.takeEpoch(hostId, epoch))) return false;
    const rows = await books.forInventory(
      hostId,
      sandboxes.map(({ id }) => id),
    );
    // Decided on rows as they were read; what changes is decided again on the locked ones.
    const { changed, toPush, toRemove, orphans } = reconcile(hostId, rows, inventory, new Date());
    await this.#takeAll(hostId, rows, changed);
    if (toPush.length > 0) log.info({ hostId, sandboxes: toPush.length }, 'host differs from what is wanted; pushing');
    this.nudgeAll(hostId, toPush);
    void inBatches(toRemove, PUSHES_PER_HOST, (sandbox) => this.#remove(hostId, sandbox));
    await this.#watchOrphans(hostId, orphans);
    await books.keepDigest(hostId, epoch, inventoryDigest(sandboxes));
    return true;
  }

  /**
   * Looks again at hosts that had orphans long enough ago for a second look to count.
   *
   * @returns how many hosts that is.
   */
  async rereadOrphans(): Promise<number> {
    const { books, pool, log, orphanMinAgeMs = ORPHAN_MIN_AGE_MS } = this.#deps;
    const proven = pool.provenHostIds;
    if (proven.length === 0) return 0;
    const hostIds = await books.hostsWithOrphans(proven, new Date(Date.now() - orphanMinAgeMs));
    await inBatches(hostIds, PUSHES_PER_HOST, async (hostId) => {
      const host = await pool.find(hostId);
      const inventory = await host
        ?.inventory(INVENTORY_DEADLINE_MS)
        .catch((err: unknown) => void log.info({ hostId, err }, 'a host with orphans could not be read again'));
      if (inventory) await this.reconcile(hostId, inventory);
    });
    return hostIds.length;
  }

  /**
   * Writes down what a host says about one sandbox. One that it could not start may go to another host.
   *
   * @returns the transition, or undefined when the sandbox is not this host's.
   */
  async observe(hostId: string, sandboxId: string, report: ObservedSandbox | Absence): Promise<Transition | undefined> {
    const { books, log } = this.#deps;
    const taken = await books.takeReport(hostId, sandboxId, report);
    if (taken?.leftBehind && 'generation' in report) {
      log.info({ hostId, sandboxId, to: taken.row.hostId }, 'the host could not start a sandbox; it goes to another');
      this.nudge(sandboxId);
      // Only a note of the failure is left there; its next inventory tells of it if this is lost.
      void this.#remove(hostId, { id: sandboxId, generation: report.generation });
      return undefined;
    }
    return taken?.transition;
  }

  /** Of some sandboxes, those that a host should have running. */
  async toRun(hostId: string, sandboxIds: readonly string[]): Promise<string[]> {
    const asked = new Set(sandboxIds.filter((id) => isUuid(id)));
    const rows = await this.#deps.books.forInventory(hostId, [...asked]);
    return rows
      .filter((row) => asked.has(row.id) && row.hostId === hostId && !row.deletedAt && !isEnded(row.status))
      .filter(({ desiredState }) => desiredState === 'RUNNING')
      .map(({ id }) => id);
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
    // Each host at its own pace: one that does not answer holds up nobody else's, and is given nothing more to do.
    const hostIds = this.#deps.pool.provenHostIds.filter((hostId) => !this.#backlogs.has(hostId));
    if (hostIds.length === 0) return 0;
    const rows = await this.#deps.books.unsettled(hostIds, CONVERGE_BATCH);
    for (const [hostId, sandboxes] of Map.groupBy(rows, (row) => row.hostId)) {
      const ids = sandboxes.map(({ id }) => id);
      this.nudgeAll(
        hostId,
        ids.filter((id) => !this.#pushing.has(id)),
      );
    }
    return rows.length;
  }

  async #push(sandboxId: string): Promise<void> {
    const { books, pool } = this.#deps;
    const row = await books.find(sandboxId);
    if (!row || row.deletedAt) return;
    const host = await pool.find(row.hostId);
    if (!host) return;

    if (row.desiredState === 'DESTROYED') {
      await host.removeSandbox(row.id, row.generation, APPLY_DEADLINE_MS);
      await this.observe(row.hostId, row.id, { absentAsOf: null });
      return;
    }
    if (isEnded(row.status)) return;
    await books.transition('control', row.id, 'sandbox.starting', markPushed);
    try {
      const observed = await host.applySandbox(toSpec(row), row.generation, APPLY_DEADLINE_MS);
      // An agent that answers for another sandbox than it was asked about is not believed.
      if (observed.id === row.id) await this.observe(row.hostId, row.id, observed);
    } catch (error) {
      if (!(error instanceof RookeryError)) throw error;
      await books.transition('control', row.id, 'sandbox.delayed', (state) => noteTrouble(state, error.message));
      throw error;
    }
  }

  /** What changes in the ordinary way is written together; what says something about the host as well, one by one. */
  async #takeAll(
    hostId: string,
    rows: readonly SandboxBook[],
    changed: ReadonlyMap<string, ObservedSandbox | Absence>,
  ): Promise<void> {
    const hasStarted = new Set(rows.filter(({ startedAt }) => startedAt !== null).map(({ id }) => id));
    const [ordinary, telling] = partition([...changed], ([id, report]) => {
      const failed = 'status' in report && report.status === 'ERROR';
      return hasStarted.has(id) && !failed;
    });
    await this.#deps.books.takeReports(hostId, new Map(ordinary));
    for (const [id, report] of telling) await this.observe(hostId, id, report);
  }

  /** What the host has was destroyed here: it is asked again to remove it. */
  async #remove(hostId: string, { id, generation }: { id: string; generation: number }): Promise<void> {
    const { pool, log } = this.#deps;
    const name = `${hostId} ${id} ${generation}`;
    if (this.#removing.has(name)) return;
    this.#removing.add(name);
    try {
      const host = await pool.find(hostId);
      await host?.removeSandbox(id, generation, APPLY_DEADLINE_MS);
    } catch (err) {
      log.warn({ hostId, sandboxId: id, err }, 'a sandbox that should be gone could not be removed');
    } finally {
      this.#removing.delete(name);
    }
  }

  async #watchOrphans(hostId: string, seen: readonly ObservedSandbox[]): Promise<void> {
    const { books, log, orphanMinAgeMs = ORPHAN_MIN_AGE_MS } = this.#deps;
    const before = await books.orphansOf(hostId);
    if (before.length === 0 && seen.length === 0) return;
    const { sightings, due } = readOrphans(before, seen, new Date(), orphanMinAgeMs);
    await books.keepOrphans(hostId, sightings);
    if (sightings.length > before.length)
      log.warn({ hostId, sandboxes: sightings.length }, 'the host runs sandboxes that nobody wants; they are watched');
    void inBatches(due, PUSHES_PER_HOST, async ({ sandboxId, generation }) => {
      log.warn({ hostId, sandboxId }, 'removing a sandbox that nobody has wanted for long enough');
      await this.#remove(hostId, { id: sandboxId, generation });
    });
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

function partition<T>(items: readonly T[], belongs: (item: T) => boolean): [T[], T[]] {
  return [items.filter(belongs), items.filter((item) => !belongs(item))];
}
