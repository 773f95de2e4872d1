import { sql } from 'kysely';
import { expect } from 'vitest';
import type { DesiredState } from '../../src/fleet/sandboxes/sandbox.state.ts';
import type { Placement } from '../../src/fleet/placement/placement.ts';
import type { SandboxRow } from '../../src/fleet/tables.ts';
import type { LifecycleWorld } from './lifecycle-world.ts';

export interface Size {
  readonly milliVcpus: number;
  readonly memoryMb: number;
  readonly diskMb: number;
}

interface ModelHost {
  readonly id: string;
  capacity: Size;
  isReached: boolean;
  isCordoned: boolean;
  /** Nothing can be started on it. */
  isBroken: boolean;
  isDeleted: boolean;
}

interface ModelSandbox {
  readonly id: string;
  readonly size: Size;
  /** Where it has been reserved for, the newest last. */
  hosts: string[];
  isHeld: boolean;
  wish: DesiredState;
}

/** What a command may have done to reservations; every other one must be as it was. */
export interface Effects {
  /** Given back for certain. */
  readonly released?: readonly string[];
  /** Given back or moved to another host, depending on what came first. */
  readonly shaken?: readonly string[];
}

const RESOURCES = ['milliVcpus', 'memoryMb', 'diskMb'] as const;

/** What is reserved where, kept beside the books and without looking at their sums. */
export class LedgerModel {
  readonly hosts = new Map<string, ModelHost>();
  readonly sandboxes = new Map<string, ModelSandbox>();
  /** Which sandbox a key has made, and for which request. */
  readonly keys = new Map<string, { readonly id: string; readonly request: string }>();

  get living(): ModelHost[] {
    return [...this.hosts.values()].filter(({ isDeleted }) => !isDeleted);
  }

  addHost(id: string, capacity: Size): void {
    this.hosts.set(id, { id, capacity, isReached: true, isCordoned: false, isBroken: false, isDeleted: false });
  }

  placed({ id, hostId }: SandboxRow, size: Size): void {
    this.sandboxes.set(id, { id, size, hosts: [hostId], isHeld: true, wish: 'RUNNING' });
  }

  /** Sandboxes that were reserved for on a host last. */
  on(hostId: string): ModelSandbox[] {
    return [...this.sandboxes.values()].filter(({ hosts }) => hosts.at(-1) === hostId);
  }

  reservedOn(hostId: string): Size & { readonly sandboxes: number } {
    const held = this.on(hostId).filter(({ isHeld }) => isHeld);
    const sum = (resource: keyof Size): number => held.reduce((total, { size }) => total + size[resource], 0);
    return { sandboxes: held.length, milliVcpus: sum('milliVcpus'), memoryMb: sum('memoryMb'), diskMb: sum('diskMb') };
  }

  /** Hosts that must take a sandbox. Whether one is tried at all after it has failed is not the ledger's to know. */
  fitting(world: LifecycleWorld, size: Size): string[] {
    const failing = new Set(world.watch.hosts.filter((row) => row.createsFailingSince).map(({ id }) => id));
    return this.living
      .filter(({ id, isReached, isCordoned }) => isReached && !isCordoned && !failing.has(id))
      .filter(({ id, capacity }) => {
        const reserved = this.reservedOn(id);
        return RESOURCES.every((resource) => reserved[resource] + size[resource] <= capacity[resource]);
      })
      .map(({ id }) => id);
  }

  /** Follows the rows, as far as the command explains what has become of them, and compares them with what must be. */
  async audit(world: LifecycleWorld, name: string, { released = [], shaken = [] }: Effects): Promise<void> {
    const mayEnd = new Set([...released, ...shaken]);
    const mayMove = new Set(shaken);
    const rows = world.watch.sandboxes;
    expect(rows.map(({ id }) => id).sort(), `${name}: exactly what was asked for was made`).toEqual(
      [...this.sandboxes.keys()].sort(),
    );
    for (const row of rows) this.#follow(row, `${name}: sandbox ${row.id}`, mayEnd, mayMove);
    for (const id of released) expect(this.sandboxes.get(id)?.isHeld, `${name}: ${id} is given back`).toBe(false);
    for (const host of world.watch.hosts.filter(({ deletedAt }) => !deletedAt)) {
      const { allocatedSandboxes: sandboxes, allocatedMilliVcpus: milliVcpus } = host;
      const { allocatedMemoryMb: memoryMb, allocatedDiskMb: diskMb } = host;
      expect({ sandboxes, milliVcpus, memoryMb, diskMb }, `${name}: reserved on ${host.id}`).toEqual(
        this.reservedOn(host.id),
      );
    }
    this.#checkTruth(world, name);
    await this.#checkReleases(world, name);
  }

  #follow(row: SandboxRow, say: string, mayEnd: ReadonlySet<string>, mayMove: ReadonlySet<string>): void {
    const sandbox = this.sandboxes.get(row.id) as ModelSandbox;
    const failed = ((row.placement as Placement).failedAttempts ?? []).map(({ hostId }) => hostId);
    const hosts = [...new Set([...failed, row.hostId])];
    if (hosts.length !== sandbox.hosts.length) {
      expect(mayMove.has(row.id), `${say} has changed its host`).toBe(true);
      expect(hosts.slice(0, sandbox.hosts.length), say).toEqual(sandbox.hosts);
    } else expect(hosts, say).toEqual(sandbox.hosts);
    if (row.holdsReservation !== sandbox.isHeld)
      expect([sandbox.isHeld, mayEnd.has(row.id)], `${say} has given back its reservation`).toEqual([true, true]);
    Object.assign(sandbox, { hosts, isHeld: row.holdsReservation });
  }

  /** On hosts that are heard, what is reserved lives, and what lives is reserved. */
  #checkTruth(world: LifecycleWorld, name: string): void {
    for (const { id: hostId, isReached } of this.living) {
      const live = world.machines.get(hostId)?.live ?? new Map<string, string>();
      for (const { id, isHeld, wish } of this.on(hostId)) {
        const say = `${name}: sandbox ${id} on ${hostId}, wanted ${wish}`;
        if (!isHeld) expect(live.has(id), `${say}, lives without a reservation`).toBe(false);
        else if (isReached)
          expect([live.has(id), wish !== 'DESTROYED'], `${say}, is reserved for`).toEqual([true, true]);
      }
    }
  }

  /** Each reservation is given back by one event of its host, and by no second one. */
  async #checkReleases(world: LifecycleWorld, name: string): Promise<void> {
    const { rows } = await sql<{ count: number }>`select count(*)::int as count from events
      where type = 'host.reservation_released'`.execute(world.database.query);
    const ever = [...this.sandboxes.values()].map(({ hosts, isHeld }) => hosts.length - (isHeld ? 1 : 0));
    expect(rows[0]?.count, `${name}: times that something was given back`).toBe(ever.reduce((a, b) => a + b, 0));
  }
}
