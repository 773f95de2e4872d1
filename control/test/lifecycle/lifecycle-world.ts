import { silentLogger } from '@rookery/wire/log.ts';
import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { sql } from 'kysely';
import type { DatabaseConnection } from '../../src/database/database.ts';
import { Claims } from '../../src/fleet/claims.ts';
import { HostByoc } from '../../src/fleet/hosts/host-byoc.service.ts';
import { HostDeletion } from '../../src/fleet/hosts/host-deletion.service.ts';
import { HostDrains } from '../../src/fleet/hosts/host-drain.service.ts';
import { HostOperations } from '../../src/fleet/hosts/host-operations.service.ts';
import { HostPresence } from '../../src/fleet/hosts/host-presence.service.ts';
import { TunnelBooks } from '../../src/fleet/tunnels/tunnel.books.ts';
import { HostService } from '../../src/fleet/hosts/host.service.ts';
import { FleetHealthService } from '../../src/fleet/monitor/fleet-health.service.ts';
import { HostMonitor } from '../../src/fleet/monitor/monitor.service.ts';
import { Canaries } from '../../src/fleet/placement/canary.ts';
import type { PlacementStrategyName } from '../../src/fleet/placement/placement.ts';
import { Placements } from '../../src/fleet/placement/placement.service.ts';
import { Convergence } from '../../src/fleet/sandboxes/convergence.service.ts';
import { SandboxTables } from '../../src/fleet/sandboxes/sandbox.books.ts';
import { SandboxOperations } from '../../src/fleet/sandboxes/sandbox-operations.service.ts';
import { SandboxService } from '../../src/fleet/sandboxes/sandbox.service.ts';
import { StartDeadlines } from '../../src/fleet/sandboxes/start-deadline.ts';
import type { FleetDatabase, FleetTables, HostRow, SandboxRow } from '../../src/fleet/tables.ts';
import { EventHub } from '../../src/kernel/events/event-hub.ts';
import { EventLog } from '../../src/kernel/events/event-log.ts';
import type { Term } from '../../src/kernel/leadership.ts';
import type { AccountsPort } from '../../src/kernel/ports.ts';
import { insertHost, newAdmin } from '../harness.ts';
import { LedgerWatch } from './ledger-watch.ts';
import { Machine } from './machine.ts';

const LEASE_MS = 90_000;
const log = silentLogger();

/** A judge that nobody contests. */
export const TERM: Term = { epoch: 1, fence: async () => {} };

/**
 * The fleet's real services on a real PostgreSQL, with {@link Machine}s in place of agents behind tunnels, and
 * without loops: what they do happens when a model says so. So a run follows from its commands.
 */
export class LifecycleWorld implements AsyncDisposable {
  readonly admin = newAdmin();
  readonly teamId = randomUUID();
  readonly replicaId = randomUUID();
  readonly machines = new Map<string, Machine>();
  /** What machines have said and control has not heard yet. */
  readonly inFlight: { readonly hostId: string; readonly deliver: () => Promise<unknown> }[] = [];
  readonly watch: LedgerWatch;
  isByoc = true;
  readonly database: FleetDatabase;
  readonly presence: HostPresence;
  readonly tunnels: TunnelBooks;
  readonly hosts: HostService;
  readonly operations: HostOperations;
  readonly byoc: HostByoc;
  readonly drains: HostDrains;
  readonly deletion: HostDeletion;
  readonly canaries: Canaries;
  readonly sandboxes: SandboxService;
  readonly sandboxOperations: SandboxOperations;
  readonly convergence: Convergence;
  readonly startDeadlines: StartDeadlines;
  readonly events: EventLog<FleetTables>;
  readonly hub: EventHub;
  readonly accounts: AccountsPort;
  readonly #monitor: HostMonitor;
  readonly #claims: Claims;
  /** Monotonic, in ms; moves only when a model moves it. */
  #now = 0;

  private constructor(connection: DatabaseConnection, strategy: PlacementStrategyName) {
    const database = connection.as<FleetTables>();
    const events = new EventLog(connection, log).as<FleetTables>();
    const hub = new EventHub(connection, log);
    this.database = database;
    this.events = events;
    this.hub = hub;
    this.watch = new LedgerWatch(database);
    this.accounts = {
      viewer: async () => null,
      team: async (id) => (id === this.teamId ? { isByoc: this.isByoc } : undefined),
      byocTeamIds: async () => (this.isByoc ? [this.teamId] : []),
    };
    const { accounts, replicaId } = this;
    const { machines } = this;
    const pool = {
      get: (hostId: string) => machines.get(hostId)?.client,
      find: async (hostId: string) => machines.get(hostId)?.client,
      evict: (hostId: string) => this.#evict(hostId),
      get provenHostIds() {
        return [...machines.values()].filter(({ isConnected }) => isConnected).map(({ hostId }) => hostId);
      },
    } as never;
    this.#claims = new Claims(connection.url);
    const claims = this.#claims;
    const placements = new Placements({ strategy, cpuOvercommit: 1 });
    const books = new SandboxTables({ database, events, placements });
    this.presence = new HostPresence({ database, events });
    this.tunnels = new TunnelBooks({ database, events, replicaId });
    this.convergence = new Convergence({ books, pool, orphanMinAgeMs: 0, log });
    const { convergence, presence } = this;
    this.hosts = new HostService({
      database,
      events,
      hub,
      accounts,
      agentUrl: () => 'http://control',
      registrationTokenSeconds: 3_600,
    });
    const { hosts } = this;
    this.operations = new HostOperations({ events, hub, hosts });
    this.byoc = new HostByoc({ database, accounts, operations: this.operations });
    this.drains = new HostDrains({ database, events, hub, hosts, convergence, claims, log });
    const disconnect = (): void => {};
    this.deletion = new HostDeletion({ database, events, hub, hosts, pool, convergence, claims, disconnect, log });
    this.canaries = new Canaries({ database, events, pool, log });
    this.sandboxes = new SandboxService({ database, events, hub, accounts, convergence, placements });
    this.sandboxOperations = new SandboxOperations({ events, hub, sandboxes: this.sandboxes, convergence });
    const now = (): number => this.#now;
    this.startDeadlines = new StartDeadlines({ database, events, log, now });
    const health = new FleetHealthService({ database, events, leaseMs: LEASE_MS });
    this.#monitor = new HostMonitor({
      store: {
        evidence: (lease) => presence.evidence(lease),
        silence: (term, cutoff, quota) => presence.silence(term, cutoff, quota),
        clampLeases: (term) => presence.clampLeases(term),
        markMissing: (term) => presence.markMissing(term),
        askAgain: (term) => presence.askAgain(term),
        publish: (term, verdict, evidence) => health.publish(term, verdict, evidence),
      },
      watch: { take: () => undefined, databaseClock: () => {} } as never,
      leaseMs: LEASE_MS,
      log,
      now,
    });
  }

  /** An empty fleet: what an earlier one has left in the database is gone. */
  static async start(
    connection: DatabaseConnection,
    strategy: PlacementStrategyName = 'ROUND_ROBIN',
  ): Promise<LifecycleWorld> {
    const world = new LifecycleWorld(connection, strategy);
    await sql`truncate hosts, host_leases, host_drains, sandboxes, orphans, events, fleet_health`.execute(
      world.database.query,
    );
    return world;
  }

  /** A host that is online and can be placed on. */
  async addMachine(host: Partial<HostRow> = {}): Promise<Machine> {
    const { id } = await insertHost({ as: () => this.database } as never, { tunnelReplica: this.replicaId, ...host });
    await sql`insert into host_leases (host_id, seen_at, load1, memory_used_mb, disk_used_mb, inventory_epoch)
      values (${id}, now(), 0, 0, 0, 0)`.execute(this.database.query);
    return this.plugIn(id);
  }

  async plugIn(hostId: string): Promise<Machine> {
    const machine = await Machine.start(hostId, (on, id) => this.watch.removing(on, id));
    this.machines.set(hostId, machine);
    return machine;
  }

  /** Waits until nothing moves by itself any more. */
  async quiet(): Promise<void> {
    for (;;) {
      await this.convergence.idle();
      await setImmediate();
      if ([...this.machines.values()].every(({ busy }) => busy === 0)) break;
    }
    await this.convergence.idle();
  }

  /** What must be true at every moment. */
  async check(): Promise<void> {
    await this.watch.check([...this.machines.values()]);
  }

  host(id: string): Promise<HostRow> {
    return this.database.query.selectFrom('Host').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
  }

  row(id: string): Promise<SandboxRow> {
    return this.database.query.selectFrom('Sandbox').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
  }

  /** Nothing is heard of a host for a lease, and the monitor looks. */
  async silence(hostId: string): Promise<void> {
    await sql`update host_leases set seen_at = now() - interval '1 hour' where host_id = ${hostId}`.execute(
      this.database.query,
    );
    await this.judge();
  }

  /** A pass of the monitor, with nothing left to observe before it. */
  async judge(): Promise<void> {
    this.pass(LEASE_MS + 1);
    // The first pass of a term begins to listen.
    await this.#monitor.pass(TERM);
    this.pass(LEASE_MS + 1);
    await this.#monitor.pass(TERM);
  }

  pass(ms: number): void {
    this.#now += ms;
  }

  /** A heartbeat, and what follows from it. */
  async beat(hostId: string): Promise<void> {
    await sql`update host_leases set seen_at = now() where host_id = ${hostId}`.execute(this.database.query);
    await this.presence.heard([hostId]);
  }

  /** The agent dials: its tunnel is proven by an inventory. */
  async dial(machine: Machine): Promise<void> {
    machine.isConnected = true;
    await this.convergence.reconcile(machine.hostId, machine.inventory());
    const { hostId } = machine;
    const seen = (await this.tunnels.read(hostId))?.generation ?? 0;
    const generation = await this.tunnels.claim(hostId, seen, { instance: hostId, address: null });
    if (generation !== undefined) await this.tunnels.ready(hostId, generation);
  }

  async hangUp(machine: Machine): Promise<void> {
    machine.isConnected = false;
    const { hostId } = machine;
    await this.tunnels.lost(hostId, (await this.tunnels.read(hostId))?.generation ?? 0);
  }

  #evict(hostId: string): void {
    const machine = this.machines.get(hostId);
    if (machine) machine.isConnected = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.quiet();
    for (const machine of this.machines.values()) await machine[Symbol.asyncDispose]();
    await this.events[Symbol.asyncDispose]();
    await this.#claims[Symbol.asyncDispose]();
  }
}
