import { FencedOff, type Term } from '../../src/kernel/leadership.ts';
import type { Evidence, Verdict } from '../../src/fleet/monitor/monitor.state.ts';
import { TOGETHER_LEASES } from '../../src/fleet/monitor/monitor.state.ts';
import type { OrphanSighting } from '../../src/fleet/sandboxes/orphan.state.ts';
import { MAX_CREATE_FAILURES } from '../../src/fleet/hosts/host-lifecycle.state.ts';
import { MAX_ATTEMPTS, type TakenReport } from '../../src/fleet/placement/failover.ts';
import type { Decide } from '../../src/fleet/sandboxes/sandbox.books.ts';
import type { ObservedSandbox } from '../../src/fleet/sandboxes/sandbox.report.ts';
import {
  ENDED_STATUSES,
  HOST_LOST_REASON,
  observe,
  relocate,
  STATUSES_THAT_GO_MISSING,
  type Absence,
  type Transition,
} from '../../src/fleet/sandboxes/sandbox.state.ts';
import type { SandboxRow } from '../../src/fleet/tables.ts';
import type { FleetBooks, NewSandbox } from './sim-control.ts';

/** What the simulation keeps of a host: its row and its lease. */
export interface BookedHost {
  readonly id: string;
  readonly capacity: Pick<NewSandbox, 'milliVcpus' | 'memoryMb' | 'diskMb'>;
  readonly allocated: { sandboxes: number; milliVcpus: number; memoryMb: number; diskMb: number };
  status: 'ONLINE' | 'UNREACHABLE';
  tunnelReplica: string | null;
  seenAt: number;
  lastPlacement: number;
  /** In a row. */
  createFailures: number;
  /** Out of placement because of them. */
  isFailing: boolean;
  inventoryDigest: string | null;
  inventoryEpoch: number;
}

/** Told of what is written, at the moment it is. */
export interface Witness {
  onSandbox(before: SandboxRow | undefined, after: SandboxRow): void;
  onLost(host: BookedHost, epoch: number): void;
}

/** The books in memory: what the SQL of `SandboxTables` and `HostPresence` does, row by row. Every decision is the real one. */
export class MemoryBooks implements FleetBooks {
  readonly hosts = new Map<string, BookedHost>();
  readonly sandboxes = new Map<string, SandboxRow>();
  readonly orphans = new Map<string, OrphanSighting[]>();
  /** Of the last verdict that was published. */
  verdict: Verdict | undefined;
  epoch = 0;
  readonly #now: () => number;
  readonly #witness: Witness;
  #placements = 0;
  /** Hosts on which a sandbox could not be started. */
  readonly #failedHosts = new Map<string, string[]>();

  /** @param now the database's clock, in ms. */
  constructor(now: () => number, witness: Witness) {
    this.#now = now;
    this.#witness = witness;
  }

  addHost(id: string, capacity: BookedHost['capacity']): void {
    this.hosts.set(id, {
      id,
      capacity,
      allocated: { sandboxes: 0, milliVcpus: 0, memoryMb: 0, diskMb: 0 },
      status: 'ONLINE',
      tunnelReplica: null,
      seenAt: this.#now(),
      lastPlacement: 0,
      createFailures: 0,
      isFailing: false,
      inventoryDigest: null,
      inventoryEpoch: 0,
    });
  }

  async newTerm(): Promise<Term> {
    const epoch = ++this.epoch;
    return {
      epoch,
      fence: async () => {
        if (this.epoch !== epoch) throw new FencedOff(epoch);
      },
    };
  }

  async find(id: string): Promise<SandboxRow | undefined> {
    return this.sandboxes.get(id);
  }

  async forInventory(hostId: string, ids: readonly string[]): Promise<SandboxRow[]> {
    const wanted = new Set(ids);
    return [...this.sandboxes.values()].filter(
      (row) => (row.hostId === hostId && row.deletedAt === null) || wanted.has(row.id),
    );
  }

  async unsettled(hostIds: readonly string[], limit: number): Promise<SandboxRow[]> {
    return [...this.sandboxes.values()]
      .filter(
        (row) =>
          hostIds.includes(row.hostId) &&
          row.deletedAt === null &&
          (row.desiredState === 'DESTROYED' ||
            (row.desiredState === 'RUNNING' && (row.status === 'PAUSED' || row.status === 'RESUMING')) ||
            (row.desiredState === 'PAUSED' && row.status === 'PAUSING') ||
            (!(ENDED_STATUSES as readonly string[]).includes(row.status) && row.observedGeneration < row.generation)),
      )
      .slice(0, limit);
  }

  async transition(_actor: string, id: string, _type: unknown, decide: Decide) {
    const before = this.sandboxes.get(id);
    if (!before) return undefined;
    const transition = decide(before);
    return { row: this.#write(before, transition.changes), transition };
  }

  async takeReport(hostId: string, id: string, report: ObservedSandbox | Absence): Promise<TakenReport | undefined> {
    const before = this.sandboxes.get(id);
    if (before?.hostId !== hostId) return undefined;
    const transition = observe(before, report, new Date());
    const failed = 'status' in report && report.status === 'ERROR' && report.errorCause === 'HOST';
    if (failed && before.startedAt === null && transition.changes.status === 'ERROR') {
      this.#noteCreate(hostId, false);
      const moved = this.#failOver(before, report);
      if (moved)
        return {
          row: moved,
          transition: { changes: {}, push: moved.hostId !== hostId },
          leftBehind: moved.hostId !== hostId,
        };
    }
    const row = this.#write(before, transition.changes);
    if (before.startedAt === null && row.startedAt !== null) this.#noteCreate(hostId, true);
    return { row, transition, leftBehind: false };
  }

  async takeReports(hostId: string, reports: ReadonlyMap<string, ObservedSandbox | Absence>): Promise<void> {
    for (const [id, report] of reports) {
      const before = this.sandboxes.get(id);
      if (before?.hostId === hostId) this.#write(before, observe(before, report, new Date()).changes);
    }
  }

  /** As `failOver` in `failover.ts`. */
  #failOver(row: SandboxRow, { statusReason }: ObservedSandbox): SandboxRow | undefined {
    const attempts = [...(this.#failedHosts.get(row.id) ?? []), row.hostId];
    if (attempts.length >= MAX_ATTEMPTS) return undefined;
    this.#failedHosts.set(row.id, attempts);
    this.#reserve(this.#host(row.hostId), row, -1);
    const host = this.#place(row, attempts);
    const { changes } = relocate(row, host !== undefined);
    if (host) this.#reserve(host, row, 1);
    const after = {
      ...row,
      ...changes,
      ...(host ? { hostId: host.id } : { statusReason }),
      revision: row.revision + 1,
    };
    this.sandboxes.set(row.id, after);
    this.#witness.onSandbox(row, after);
    return after;
  }

  #place({ milliVcpus, memoryMb, diskMb }: Omit<NewSandbox, 'id'>, not: readonly string[]): BookedHost | undefined {
    const [host] = [...this.hosts.values()]
      .filter(
        ({ id, status, tunnelReplica, isFailing, allocated, capacity }) =>
          !not.includes(id) &&
          !isFailing &&
          status === 'ONLINE' &&
          tunnelReplica !== null &&
          allocated.milliVcpus + milliVcpus <= capacity.milliVcpus &&
          allocated.memoryMb + memoryMb <= capacity.memoryMb &&
          allocated.diskMb + diskMb <= capacity.diskMb,
      )
      .sort((a, b) => a.lastPlacement - b.lastPlacement || (a.id < b.id ? -1 : 1));
    if (host) host.lastPlacement = ++this.#placements;
    return host;
  }

  async takeEpoch(hostId: string, epoch: number): Promise<boolean> {
    const host = this.#host(hostId);
    if (host.inventoryEpoch > epoch) return false;
    host.inventoryEpoch = epoch;
    return true;
  }

  async keepDigest(hostId: string, epoch: number, digest: string): Promise<void> {
    const host = this.#host(hostId);
    if (host.inventoryEpoch === epoch) host.inventoryDigest = digest;
  }

  async orphansOf(hostId: string): Promise<OrphanSighting[]> {
    return this.orphans.get(hostId) ?? [];
  }

  async keepOrphans(hostId: string, sightings: readonly OrphanSighting[]): Promise<void> {
    this.orphans.set(hostId, [...sightings]);
  }

  async hostsWithOrphans(hostIds: readonly string[], before: Date): Promise<string[]> {
    return hostIds.filter((id) => (this.orphans.get(id) ?? []).some(({ firstSeenAt }) => firstSeenAt <= before));
  }

  async beat(hostId: string): Promise<string | null> {
    const host = this.#host(hostId);
    host.seenAt = this.#now();
    if (host.status === 'ONLINE') return host.inventoryDigest;
    host.status = 'ONLINE';
    host.inventoryDigest = null;
    return null;
  }

  async tunnelReady(hostId: string, replicaId: string): Promise<boolean> {
    this.#host(hostId).tunnelReplica = replicaId;
    return true;
  }

  async tunnelLost(hostId: string, replicaId: string): Promise<void> {
    const host = this.#host(hostId);
    if (host.tunnelReplica === replicaId) host.tunnelReplica = null;
  }

  async clearOrphanedTunnels(term: Term, living: string): Promise<void> {
    await term.fence(undefined as never);
    for (const host of this.hosts.values()) if (host.tunnelReplica !== living) host.tunnelReplica = null;
  }

  async create(sandbox: NewSandbox): Promise<string | undefined> {
    const host = this.#place(sandbox, []);
    if (!host) return undefined;
    this.#reserve(host, sandbox, 1);
    const row = {
      ...sandbox,
      name: 'box',
      teamId: 'team',
      hostId: host.id,
      template: 'host',
      labels: [],
      desiredState: 'RUNNING',
      pauseCause: null,
      generation: 1,
      observedGeneration: 0,
      observedEpoch: 0,
      status: 'PENDING',
      statusReason: null,
      statusBeforeMissing: null,
      holdsReservation: true,
      startedAt: null,
      lastActiveAt: null,
      deletedAt: null,
      revision: 1,
    } as unknown as SandboxRow;
    this.sandboxes.set(row.id, row);
    this.#witness.onSandbox(undefined, row);
    return row.id;
  }

  async failing(hostIds: readonly string[]): Promise<string[]> {
    return hostIds.filter((id) => this.#host(id).isFailing);
  }

  async noteCreate(hostId: string, error: string | null): Promise<void> {
    this.#noteCreate(hostId, error === null);
  }

  /** As `noteCreateFailure` and `noteCreateSuccess` in `failover.ts`. */
  #noteCreate(hostId: string, hasStarted: boolean): void {
    const host = this.#host(hostId);
    host.createFailures = hasStarted ? 0 : host.createFailures + 1;
    host.isFailing = !hasStarted && (host.isFailing || host.createFailures >= MAX_CREATE_FAILURES);
  }

  async evidence(leaseMs: number): Promise<Evidence & { now: Date; cutoff: Date }> {
    const now = this.#now();
    const cutoff = now - leaseMs;
    const hosts = [...this.hosts.values()];
    const unreachable = hosts.filter(({ status }) => status === 'UNREACHABLE');
    return {
      now: new Date(now),
      cutoff: new Date(cutoff),
      heard: hosts.filter(({ status, seenAt }) => status === 'ONLINE' && seenAt >= cutoff).length,
      silent: hosts.filter(({ status, seenAt }) => status === 'ONLINE' && seenAt < cutoff).length,
      lost: unreachable.filter(({ seenAt }) => seenAt >= cutoff - TOGETHER_LEASES * leaseMs).length,
      unreachable: unreachable.length,
    };
  }

  async clampLeases(term: Term): Promise<void> {
    await term.fence(undefined as never);
    for (const host of this.hosts.values()) host.seenAt = Math.min(host.seenAt, this.#now());
  }

  async silence(term: Term, cutoff: Date, quota: number): Promise<number> {
    await term.fence(undefined as never);
    const silent = [...this.hosts.values()]
      .filter(({ status, seenAt }) => status === 'ONLINE' && seenAt < cutoff.getTime())
      .sort((a, b) => a.seenAt - b.seenAt)
      .slice(0, Number.isFinite(quota) ? quota : undefined);
    for (const host of silent) this.#witness.onLost(host, term.epoch);
    for (const host of silent) host.status = 'UNREACHABLE';
    return silent.length;
  }

  async markMissing(term: Term): Promise<number> {
    await term.fence(undefined as never);
    const missing = [...this.sandboxes.values()].filter(
      (row) =>
        row.deletedAt === null &&
        this.#host(row.hostId).status === 'UNREACHABLE' &&
        (STATUSES_THAT_GO_MISSING as readonly string[]).includes(row.status),
    );
    for (const row of missing) {
      this.#write(row, { status: 'MISSING', statusBeforeMissing: row.status, statusReason: HOST_LOST_REASON });
    }
    return missing.length;
  }

  async askAgain(term: Term): Promise<number> {
    await term.fence(undefined as never);
    const missing = [...this.sandboxes.values()].filter((row) => row.deletedAt === null && row.status === 'MISSING');
    const hosts = [...new Set(missing.map(({ hostId }) => this.#host(hostId)))].filter(
      ({ status, inventoryDigest }) => status === 'ONLINE' && inventoryDigest !== null,
    );
    for (const host of hosts) host.inventoryDigest = null;
    return hosts.length;
  }

  async publish(term: Term, verdict: Verdict): Promise<void> {
    await term.fence(undefined as never);
    this.verdict = verdict;
  }

  /** INVARIANT: rows are replaced, never changed, so that whoever has read one keeps what was read. */
  #write(before: SandboxRow, changes: Transition['changes']): SandboxRow {
    if (Object.keys(changes).length === 0) return before;
    const after = { ...before, ...changes, revision: before.revision + 1 };
    this.sandboxes.set(after.id, after);
    if (before.holdsReservation && !after.holdsReservation) this.#reserve(this.#host(before.hostId), before, -1);
    this.#witness.onSandbox(before, after);
    return after;
  }

  #reserve({ allocated }: BookedHost, { milliVcpus, memoryMb, diskMb }: Omit<NewSandbox, 'id'>, sign: 1 | -1): void {
    allocated.sandboxes += sign;
    allocated.milliVcpus += sign * milliVcpus;
    allocated.memoryMb += sign * memoryMb;
    allocated.diskMb += sign * diskMb;
  }

  #host(id: string): BookedHost {
    const host = this.hosts.get(id);
    if (!host) throw new Error(`there is no host ${id}`);
    return host;
  }
}
