import type { Selectable } from 'kysely';
import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';
import { isEnded, UNCONFIRMED_REASON } from '../../src/fleet/sandboxes/sandbox.state.ts';
import type { FleetDatabase, FleetTables, HostRow, SandboxRow } from '../../src/fleet/tables.ts';
import type { Machine } from './machine.ts';

/** An event as it is looked at. */
type Logged = Pick<
  Selectable<FleetTables['Event']>,
  'id' | 'subject' | 'subjectId' | 'revision' | 'change' | 'type' | 'state'
>;

/** Of every row at the last look. */
interface Looked {
  readonly hosts: ReadonlyMap<string, HostRow>;
  readonly sandboxes: ReadonlyMap<string, SandboxRow>;
}

const RESOURCES = [
  ['allocatedMilliVcpus', 'milliVcpus', ({ cpuCores }: HostRow) => (cpuCores ?? 0) * 1_000],
  ['allocatedMemoryMb', 'memoryMb', ({ memoryMb }: HostRow) => memoryMb ?? 0],
  ['allocatedDiskMb', 'diskMb', ({ diskGb }: HostRow) => (diskGb ?? 0) * 1_024],
] as const;

/** Compares the books with themselves, with what they were, with the event log, and with what really lives. */
export class LedgerWatch {
  readonly #database: FleetDatabase;
  /** Newest revision in the log, by subject. */
  readonly #logged = new Map<string, number>();
  #lastEvent = 0;
  #before: Looked = { hosts: new Map(), sandboxes: new Map() };
  /** Since the last look. */
  readonly #removed: { readonly hostId: string; readonly sandboxId: string }[] = [];
  readonly #violations: string[] = [];

  constructor(database: FleetDatabase) {
    this.#database = database;
  }

  get hosts(): readonly HostRow[] {
    return [...this.#before.hosts.values()];
  }

  get sandboxes(): readonly SandboxRow[] {
    return [...this.#before.sandboxes.values()];
  }

  /** Something that lives is removed; at the next look it must be so that nobody wants it there. */
  removing({ hostId }: Machine, sandboxId: string): void {
    this.#removed.push({ hostId, sandboxId });
  }

  async check(machines: readonly Machine[]): Promise<void> {
    const { hosts, sandboxes, events } = await this.#look();
    for (const host of hosts) this.#checkHost(host, sandboxes);
    for (const row of sandboxes) this.#checkSandbox(row);
    this.#checkTruth(machines, hosts, sandboxes);
    this.#checkEvents(events, [...hosts, ...sandboxes]);
    this.#before = {
      hosts: new Map(hosts.map((row) => [row.id, row])),
      sandboxes: new Map(sandboxes.map((row) => [row.id, row])),
    };
    expect(this.#violations).toEqual([]);
  }

  /** All as of one moment. */
  #look() {
    return this.#database.query
      .transaction()
      .setIsolationLevel('repeatable read')
      .execute(async (tx) => ({
        hosts: await tx.selectFrom('Host').selectAll().orderBy('id').execute(),
        sandboxes: await tx.selectFrom('Sandbox').selectAll().orderBy('id').execute(),
        events: await tx
          .selectFrom('Event')
          .select(['id', 'subject', 'subjectId', 'revision', 'state', 'change', 'type'])
          .where('id', '>', this.#lastEvent)
          .where('subject', 'in', ['HOST', 'SANDBOX'])
          .orderBy('id')
          .execute(),
      }));
  }

  #checkHost(host: HostRow, sandboxes: readonly SandboxRow[]): void {
    if (host.deletedAt) {
      const was = this.#before.hosts.get(host.id);
      if (was?.deletedAt && !isDeepStrictEqual(host, was))
        this.#violate(`host ${host.id} changed after it was deleted`);
      const left = sandboxes.filter(({ hostId, deletedAt }) => hostId === host.id && !deletedAt);
      if (left.length > 0) this.#violate(`host ${host.id} is deleted and has ${left.length} sandboxes`);
      return;
    }
    const held = sandboxes.filter(({ hostId, holdsReservation }) => hostId === host.id && holdsReservation);
    const before = this.#before.hosts.get(host.id) ?? host;
    const hasNew = held.some(({ id }) => {
      const was = this.#before.sandboxes.get(id);
      return was?.hostId !== host.id || !was.holdsReservation;
    });
    if (host.allocatedSandboxes !== held.length)
      this.#violate(`host ${host.id} counts ${host.allocatedSandboxes} sandboxes and has ${held.length}`);
    for (const [allocated, amount, capacity] of RESOURCES) {
      const sum = held.reduce((total, row) => total + row[amount], 0);
      if (host[allocated] !== sum)
        this.#violate(`host ${host.id}: ${allocated} is ${host[allocated]}, and should be ${sum}`);
      // One that has said that it is smaller than it was keeps what it has, and gets nothing new.
      if (hasNew && host[allocated] > Math.max(capacity(host), capacity(before)))
        this.#violate(`host ${host.id} is overbooked: ${allocated} ${host[allocated]}`);
    }
  }

  #checkSandbox(row: SandboxRow): void {
    const say = `sandbox ${row.id} (wanted ${row.desiredState}, ${row.status}, ${row.statusReason})`;
    if (isEnded(row.status) && row.holdsReservation) this.#violate(`${say} has ended and holds its reservation`);
    if (!isEnded(row.status) && !row.holdsReservation && row.desiredState !== 'DESTROYED')
      this.#violate(`${say} lives and holds no reservation`);
    const was = this.#before.sandboxes.get(row.id);
    if (!was) return;
    if (was.deletedAt && !isDeepStrictEqual(row, was)) this.#violate(`${say} changed after it was deleted`);
    if (isEnded(was.status) && !isEnded(row.status) && row.desiredState !== 'DESTROYED')
      this.#violate(`${say} has left a terminal state: it was ${was.status}`);
    if (row.generation < was.generation) this.#violate(`${say} went back a generation`);
    if (row.hostId !== was.hostId && was.startedAt) this.#violate(`${say} changed its host after it had run`);
    if (was.desiredState === 'DESTROYED' && row.desiredState !== 'DESTROYED')
      this.#violate(`${say} is not to be destroyed any more`);
    if (!was.holdsReservation && row.holdsReservation) this.#violate(`${say} took its reservation back`);
  }

  #checkTruth(machines: readonly Machine[], hosts: readonly HostRow[], sandboxes: readonly SandboxRow[]): void {
    const rows = new Map(sandboxes.map((row) => [row.id, row]));
    const isDeleted = new Map(hosts.map(({ id, deletedAt }) => [id, deletedAt !== null]));
    const places = new Map<string, string>();
    for (const { hostId, live } of machines) {
      for (const id of live.keys()) {
        const other = places.get(id);
        if (other) this.#violate(`sandbox ${id} lives on two hosts, ${other} and ${hostId}`);
        places.set(id, hostId);
        const row = rows.get(id);
        // What a deleted host does, and what nobody could tell of, is not known; both are said.
        if (!row || row.hostId !== hostId || isDeleted.get(hostId)) continue;
        if (isEnded(row.status) && row.statusReason !== UNCONFIRMED_REASON && row.desiredState !== 'DESTROYED')
          this.#violate(`sandbox ${id} is reported ${row.status} (${row.statusReason}) and lives`);
        if (row.deletedAt) this.#violate(`sandbox ${id} is reported gone and lives`);
      }
    }
    for (const { hostId, sandboxId } of this.#removed.splice(0)) {
      const row = rows.get(sandboxId);
      if (row?.hostId === hostId && row.desiredState !== 'DESTROYED' && !isEnded(row.status))
        this.#violate(`sandbox ${sandboxId} was removed from ${hostId} and is wanted there`);
    }
  }

  /** Every change of a row has one event, with the row and its revision. */
  #checkEvents(events: readonly Logged[], rows: readonly (HostRow | SandboxRow)[]): void {
    for (const { id, subject, subjectId, revision, state, change, type } of events) {
      this.#lastEvent = id;
      const last = this.#logged.get(subjectId);
      const say = `${type} of ${subject} ${subjectId}`;
      if (last === undefined && subject === 'SANDBOX' && change !== 'CREATED')
        this.#violate(`${say} comes before its creation`);
      // Reservations that are made together on one host are one event of it.
      const isNext = subject === 'HOST' ? revision > (last ?? 0) : revision === (last ?? 0) + 1;
      if (!isNext) this.#violate(`${say} has revision ${revision} after ${last}`);
      if (state['revision'] !== revision) this.#violate(`${say} has the row of revision ${String(state['revision'])}`);
      this.#logged.set(subjectId, revision);
    }
    for (const row of rows) {
      const logged = this.#logged.get(row.id);
      // One that was made for the test and not by a service has no event of its creation.
      if (row.revision !== (logged ?? 1))
        this.#violate(`${row.id} is at revision ${row.revision}, and the log at ${logged}`);
    }
  }

  #violate(what: string): void {
    this.#violations.push(what);
  }
}
