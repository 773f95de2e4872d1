import { silentLogger } from '@rookery/wire/log.ts';
import type { DatabaseConnection } from '../../src/database/database.ts';
import { Heartbeats } from '../../src/fleet/agent-channel/heartbeat.service.ts';
import { HostPresence } from '../../src/fleet/hosts/host-presence.service.ts';
import { hostSpecsSchema } from '../../src/fleet/hosts/host.specs.ts';
import { FleetHealthService } from '../../src/fleet/monitor/fleet-health.service.ts';
import type { Evidence, Verdict } from '../../src/fleet/monitor/monitor.state.ts';
import { noteCreateFailure, noteCreateSuccess } from '../../src/fleet/placement/failover.ts';
import { NoHostFits, Placements } from '../../src/fleet/placement/placement.service.ts';
import { SandboxCreation } from '../../src/fleet/sandboxes/sandbox-creation.ts';
import { SandboxTables } from '../../src/fleet/sandboxes/sandbox.books.ts';
import { TunnelBooks } from '../../src/fleet/tunnels/tunnel.books.ts';
import type { FleetDatabase, FleetEvents, FleetTables } from '../../src/fleet/tables.ts';
import { EventLog } from '../../src/kernel/events/event-log.ts';
import { FencedOff, type Term } from '../../src/kernel/leadership.ts';
import type { FleetBooks, NewSandbox } from './sim-control.ts';

/** Of no account here, and the same for every sandbox. */
const TEAM_ID = '00000000-0000-4000-8000-00000000000a';

/** Each host's machine, as it says with every beat. */
export interface Machine {
  readonly cpuCores: number;
  readonly memoryMb: number;
  readonly diskGb: number;
}

/**
 * The books in PostgreSQL, as the simulation needs them: nothing here but calls of the real services, so that
 * `MemoryBooks` can be held to what they do.
 */
export class TableBooks extends SandboxTables implements FleetBooks, AsyncDisposable {
  readonly database: FleetDatabase;
  /** Of the credentials that each host has. */
  readonly families = new Map<string, string>();
  epoch = 0;
  readonly #events: FleetEvents;
  readonly #machine: Machine;
  readonly #creation: SandboxCreation;
  readonly #heartbeats: Heartbeats;
  readonly #health: FleetHealthService;
  readonly #presence: HostPresence;
  /** The generation of the tunnel that each replica held last of each host. */
  readonly #held = new Map<string, number>();

  constructor(connection: DatabaseConnection, machine: Machine) {
    const log = silentLogger();
    const database = connection.as<FleetTables>();
    const events = new EventLog(connection, log).as<FleetTables>();
    const placements = new Placements({ strategy: 'ROUND_ROBIN', cpuOvercommit: 1 });
    super({ database, events, placements });
    this.database = database;
    this.#events = events;
    this.#machine = machine;
    this.#creation = new SandboxCreation({ database, events, placements });
    this.#presence = new HostPresence({ database, events });
    this.#heartbeats = new Heartbeats({ database, presence: this.#presence, log });
    this.#health = new FleetHealthService({ database, events, leaseMs: 90_000 });
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

  async beat(hostId: string): Promise<string | null> {
    const specs = hostSpecsSchema.parse({
      ...{ hostname: 'h', arch: 'x86_64', os: 'o', kernel: 'k', agentVersion: '0', bootId: 'b', conditions: [] },
      ...{ ...this.#machine, runtime: { name: 'runc', version: '1' } },
    });
    const usage = { load1: 0, memoryUsedMb: 0, diskUsedMb: 0 };
    return (
      await this.#heartbeats.beat(
        { hostId, instance: hostId, familyId: this.families.get(hostId) ?? '', ...usage },
        specs,
      )
    ).knownDigest;
  }

  /** The agent dials that replica, and control makes a round trip. */
  async tunnelReady(hostId: string, replicaId: string): Promise<boolean> {
    const tunnels = this.#tunnelsOf(replicaId);
    const seen = (await tunnels.read(hostId))?.generation ?? 0;
    const generation = await tunnels.claim(hostId, seen, { instance: hostId, address: null });
    if (generation === undefined) return false;
    this.#held.set(`${replicaId} ${hostId}`, generation);
    return (await tunnels.ready(hostId, generation)) === 'READY';
  }

  async tunnelLost(hostId: string, replicaId: string): Promise<void> {
    const generation = this.#held.get(`${replicaId} ${hostId}`);
    if (generation !== undefined) await this.#tunnelsOf(replicaId).lost(hostId, generation);
  }

  async clearOrphanedTunnels(term: Term, livingReplicaId: string): Promise<void> {
    await this.#tunnelsOf(livingReplicaId).clearOrphaned(term, 0);
  }

  async create({ id, milliVcpus, memoryMb, diskMb, timeoutSeconds }: NewSandbox): Promise<string | undefined> {
    const what = { teamId: TEAM_ID, template: 'host', milliVcpus, memoryMb, diskMb };
    const constraints = { hostId: null, arch: null, labels: [] };
    const wish = { desiredState: 'RUNNING', status: 'PENDING', timeoutSeconds } as const;
    try {
      const row = await this.#creation.create('control', {
        request: { ...what, constraints, failedHostIds: [] },
        fields: { ...what, ...wish, id, name: 'box', labels: [], requestHash: '', createdAt: new Date() },
      });
      return row.id;
    } catch (error) {
      if (error instanceof NoHostFits) return undefined;
      throw error;
    }
  }

  async failing(hostIds: readonly string[]): Promise<string[]> {
    const rows = await this.database.query
      .selectFrom('Host')
      .select('id')
      .where('id', 'in', hostIds)
      .where('createsFailingSince', 'is not', null)
      .execute();
    return rows.map(({ id }) => id);
  }

  async noteCreate(hostId: string, error: string | null): Promise<void> {
    await this.#events.transaction('control', (tx, record) =>
      error === null ? noteCreateSuccess(tx, record, hostId) : noteCreateFailure(tx, record, hostId, error),
    );
  }

  evidence(leaseMs: number) {
    return this.#presence.evidence(leaseMs);
  }

  silence(term: Term, cutoff: Date, quota: number): Promise<number> {
    return this.#presence.silence(term, cutoff, quota);
  }

  askAgain(term: Term): Promise<number> {
    return this.#presence.askAgain(term);
  }

  markMissing(term: Term): Promise<number> {
    return this.#presence.markMissing(term);
  }

  clampLeases(term: Term): Promise<void> {
    return this.#presence.clampLeases(term);
  }

  publish(term: Term, verdict: Verdict, evidence: Evidence): Promise<void> {
    return this.#health.publish(term, verdict, evidence);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#events[Symbol.asyncDispose]();
  }

  #tunnelsOf(replicaId: string): TunnelBooks {
    return new TunnelBooks({ database: this.database, events: this.#events, replicaId });
  }
}
