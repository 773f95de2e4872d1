import type { Caller } from '@rookery/wire/caller.ts';
import { CloseCode } from '@rookery/wire/close-codes.ts';
import type { Logger } from '@rookery/wire/log.ts';
import DataLoader from 'dataloader';
import type { GraphQLSchema } from 'graphql';
import type { DatabaseConnection } from '../database/database.ts';
import type { Leadership } from '../kernel/leadership.ts';
import type { LoopDriver } from '../kernel/loops.ts';
import type { AuditLog } from '../kernel/audit/audit-log.ts';
import type { AccountsPort, FleetPort } from '../kernel/ports.ts';
import type { SigningKeys } from '../kernel/signing-keys.ts';
import type { Subgraph } from '../kernel/subgraph.ts';
import type { Viewer } from '../kernel/viewer.ts';
import { Claims } from './claims.ts';
import type { AgentChannelServices } from './agent-channel/agent-channel.schema.ts';
import { isAgentBuilt } from './agent-channel/agent-bundle.ts';
import { AgentUrlCheck } from './agent-channel/agent-url.ts';
import { Departures } from './agent-channel/departure.service.ts';
import { Heartbeats } from './agent-channel/heartbeat.service.ts';
import { createFleetBuilder, type FleetContext, type FleetServices } from './builder.ts';
import { CredentialIssuer, type CredentialLifetimes } from './enrolment/credential.issuer.ts';
import { EnrolmentAudit } from './enrolment/enrolment.audit.ts';
import { Enrolment } from './enrolment/enrolment.service.ts';
import { addHostTokens } from './enrolment/host-token.schema.ts';
import { HostTokens } from './enrolment/host-token.service.ts';
import { inOrder } from '../kernel/batching.ts';
import type { EventHub } from '../kernel/events/event-hub.ts';
import type { EventLog } from '../kernel/events/event-log.ts';
import { addFleetLoops, MONITOR } from './fleet.loops.ts';
import { HostDrains } from './hosts/host-drain.service.ts';
import { HostOperations } from './hosts/host-operations.service.ts';
import { HostByoc } from './hosts/host-byoc.service.ts';
import { HostDeletion } from './hosts/host-deletion.service.ts';
import { HostPresence } from './hosts/host-presence.service.ts';
import { addHostOperations } from './hosts/host-operations.schema.ts';
import { addHosts } from './hosts/host.schema.ts';
import { HostService } from './hosts/host.service.ts';
import { addFleetHealth } from './monitor/fleet-health.schema.ts';
import { FleetHealthService } from './monitor/fleet-health.service.ts';
import { InterruptionWatch, toleranceFor } from './monitor/interruption-watch.ts';
import { HostMonitor } from './monitor/monitor.service.ts';
import { Canaries } from './placement/canary.ts';
import type { PlacementStrategyName } from './placement/placement.ts';
import { Placements } from './placement/placement.service.ts';
import { Convergence } from './sandboxes/convergence.service.ts';
import { SandboxTables } from './sandboxes/sandbox.books.ts';
import { StartDeadlines } from './sandboxes/start-deadline.ts';
import { ExecService } from './sandboxes/exec.service.ts';
import { addSandboxOperations } from './sandboxes/sandbox-operations.schema.ts';
import { addSandboxes } from './sandboxes/sandbox.schema.ts';
import { SandboxOperations } from './sandboxes/sandbox-operations.service.ts';
import { SandboxService } from './sandboxes/sandbox.service.ts';
import { addShared } from './shared.schema.ts';
import { addTeamFields } from './team.schema.ts';
import type { FleetTables } from './tables.ts';
import { DeletedHosts } from './tunnels/deleted-hosts.ts';
import { HostClientPool } from './tunnels/host-client-pool.ts';
import { PeerServer } from './tunnels/peer-server.ts';
import { PeerTunnels } from './tunnels/peer-tunnels.ts';
import { TunnelAdmission } from './tunnels/admission.ts';
import { TunnelBooks } from './tunnels/tunnel.books.ts';

export interface FleetSettings {
  /** Heartbeat interval that agents are told, in ms. */
  readonly heartbeatMs: number;
  /** Silence after which a host counts as unreachable, in ms. */
  readonly unreachableAfterMs: number;
  /** How long a sandbox that nobody wants must have been one before it is removed, in ms. */
  readonly orphanMinAgeMs: number;
  /** Virtual CPUs that may be promised for each core. */
  readonly cpuOvercommit: number;
  readonly lifetimes: CredentialLifetimes;
  /** Which of the hosts that fit gets a sandbox. */
  readonly placementStrategy: PlacementStrategyName;
}

export interface FleetDeps {
  readonly database: DatabaseConnection;
  readonly events: EventLog;
  readonly hub: EventHub;
  readonly audit: AuditLog;
  readonly keys: SigningKeys;
  readonly accounts: AccountsPort;
  readonly loops: LoopDriver;
  readonly leadership: Leadership;
  readonly replicaId: string;
  readonly settings: FleetSettings;
  /** Where agents reach control, without a slash at the end. */
  readonly agentUrl: () => string;
  /** Cuts the agent channel of one host. */
  readonly disconnectHost: (hostId: string, code: CloseCode, reason: string) => void;
  /** Hosts whose agent channel this process holds. */
  readonly connectedHosts: () => number;
  readonly log: Logger;
}

export interface Fleet extends AsyncDisposable {
  readonly subgraph: Subgraph;
  readonly services: FleetServices;
  /** What accounts may ask. */
  readonly port: FleetPort;
  readonly agentChannel: AgentChannelServices;
  readonly tunnels: HostClientPool;
  /** What other replicas reach this one's tunnels through; disposed with the server that it is part of. */
  readonly peers: PeerServer;
}

/** The fleet subgraph's schema; needs no database. */
export function fleetSchema(): GraphQLSchema {
  const builder = createFleetBuilder();
  builder.queryType({});
  builder.mutationType({});
  builder.subscriptionType({});
  const shared = addShared(builder);
  const sandboxTypes = addSandboxes(builder, shared);
  addSandboxOperations(builder, sandboxTypes);
  addTeamFields(builder, shared, addHosts(builder, shared, sandboxTypes), sandboxTypes);
  addHostOperations(builder, shared, sandboxTypes);
  addFleetHealth(builder, shared);
  addHostTokens(builder, shared);
  return builder.toSubGraphSchema({});
}

/** Hosts, sandboxes and everything that moves them. */
export async function createFleet(deps: FleetDeps): Promise<Fleet> {
  const {
    database: connection,
    hub,
    accounts,
    keys,
    loops,
    leadership,
    replicaId,
    settings,
    agentUrl,
    disconnectHost,
    log,
  } = deps;
  const database = connection.as<FleetTables>();
  const events = deps.events.as<FleetTables>();

  const presence = new HostPresence({ database, events });
  const tunnels = new TunnelBooks({ database, events, replicaId });
  const tunnelLog = log.child({ part: 'tunnel' });
  const peerTunnels = new PeerTunnels({ database, keys, replicaId, log: tunnelLog });
  const pool: HostClientPool = new HostClientPool({
    log: tunnelLog,
    replicaId,
    peers: peerTunnels,
    admit: (hostId, newcomer, ask) => admission.admit(hostId, newcomer, ask),
    onReady: async (hostId, generation, inventory) => {
      await convergence.reconcile(hostId, inventory);
      return tunnels.ready(hostId, generation);
    },
    onLost: (hostId, generation) => tunnels.lost(hostId, generation),
    check: (held) => tunnels.check(held),
  });
  const admission = new TunnelAdmission({ books: tunnels, enrolment: () => enrolment, log: tunnelLog });
  const { cpuOvercommit, placementStrategy } = settings;
  const placements = new Placements({ strategy: placementStrategy, cpuOvercommit });
  const claims = new Claims(connection.url);
  const convergence = new Convergence({
    books: new SandboxTables({ database, events, placements }),
    pool,
    orphanMinAgeMs: settings.orphanMinAgeMs,
    log: log.child({ part: 'convergence' }),
  });
  const heartbeats = new Heartbeats({ database, presence, log });

  const { registrationTokenSeconds } = settings.lifetimes;
  const hosts = new HostService({ database, events, hub, accounts, agentUrl, registrationTokenSeconds });
  const hostTokens = new HostTokens({ database, events, hub, hosts, agentUrl, registrationTokenSeconds });
  const disconnect = (hostId: string, code: CloseCode, reason: string): void => {
    heartbeats.forget(hostId);
    disconnectHost(hostId, code, reason);
  };
  const peers = new PeerServer({ replicaId, keys, pool, log: tunnelLog });
  const letGo = (hostId: string): void => {
    disconnect(hostId, CloseCode.HostDeleted, 'host deleted');
    pool.evict(hostId, CloseCode.HostDeleted, 'host deleted');
  };
  const deletedHosts = new DeletedHosts(hub, letGo, log);
  const deletion = new HostDeletion({ database, events, hub, hosts, pool, convergence, claims, disconnect, log });
  const hostOperations = new HostOperations({ events, hub, hosts });
  const byoc = new HostByoc({ database, accounts, operations: hostOperations });
  const drains = new HostDrains({ database, events, hub, hosts, convergence, claims, log });
  const sandboxes = new SandboxService({ database, events, hub, accounts, convergence, placements });
  const sandboxOperations = new SandboxOperations({ events, hub, sandboxes, convergence });
  const exec = new ExecService({ database, hub, pool, sandboxes, operations: sandboxOperations });
  const canaries = new Canaries({ database, events, pool, log: log.child({ part: 'canaries' }) });
  const health = new FleetHealthService({ database, events, leaseMs: settings.unreachableAfterMs });
  const services: FleetServices = {
    hosts,
    hostOperations,
    drains,
    deletion,
    hostTokens,
    sandboxes,
    sandboxOperations,
    exec,
    health,
    canaries,
    agentUrl: new AgentUrlCheck(agentUrl, isAgentBuilt),
    hub,
  };

  const leaseMs = settings.unreachableAfterMs;
  const watch = new InterruptionWatch(toleranceFor(leaseMs));
  const monitor = new HostMonitor({
    store: {
      evidence: (lease) => presence.evidence(lease),
      silence: (term, cutoff, quota) => presence.silence(term, cutoff, quota),
      clampLeases: (term) => presence.clampLeases(term),
      markMissing: (term) => presence.markMissing(term),
      askAgain: (term) => presence.askAgain(term),
      publish: (term, verdict, evidence) => health.publish(term, verdict, evidence),
    },
    watch,
    leaseMs,
    log: log.child({ part: 'monitor' }),
  });
  addFleetLoops(loops, {
    leadership,
    events,
    monitor,
    convergence,
    startDeadlines: new StartDeadlines({ database, events, log: log.child({ part: 'start-deadline' }) }),
    deletion,
    drains,
    canaries,
    byoc,
    pool,
    tunnels,
    leaseMs,
    orphanMinAgeMs: settings.orphanMinAgeMs,
  });
  // Before anybody asks how the fleet is: what is written there is of before this process.
  await loops.nudge(MONITOR);
  const issuer = new CredentialIssuer(keys, settings.lifetimes);
  const enrolmentAudit = new EnrolmentAudit(database, deps.audit);
  const enrolment = new Enrolment({
    database,
    events,
    accounts,
    issuer,
    audit: enrolmentAudit,
    disconnect,
    cutTunnel: (hostId, code, reason) => pool.evict(hostId, code, reason),
    log: log.child({ part: 'enrolment' }),
  });
  const departures = new Departures({ database, events, enrolment, issuer, audit: enrolmentAudit, disconnect });
  // What a killed process has left is taken up at once, not at the loop's first turn.
  const resuming = deletion
    .resume()
    .catch((err: unknown) => log.warn({ err }, 'interrupted deletions could not be resumed; a loop tries again'));
  return {
    services,
    port: byoc,
    subgraph: { name: 'fleet', schema: fleetSchema(), context: (viewer, caller) => context(viewer, caller, services) },
    agentChannel: {
      enrolment,
      departures,
      heartbeats,
      convergence,
      tunnels,
      heartbeatMs: settings.heartbeatMs,
      leaseMs: settings.unreachableAfterMs,
      connectedHosts: deps.connectedHosts,
    },
    tunnels: pool,
    peers,
    async [Symbol.asyncDispose]() {
      watch[Symbol.dispose]();
      await resuming;
      await deletedHosts[Symbol.asyncDispose]();
      await peerTunnels[Symbol.asyncDispose]();
      await pool[Symbol.asyncDispose]();
      await convergence.idle();
      await claims[Symbol.asyncDispose]();
    },
  };
}

function context(viewer: Viewer | null, caller: Caller, services: FleetServices): FleetContext {
  return {
    viewer,
    caller,
    services,
    loaders: {
      host: new DataLoader(async (ids) => inOrder(ids, await services.hosts.findMany(viewer, ids), ({ id }) => id)),
      sandbox: new DataLoader(async (ids) =>
        inOrder(ids, await services.sandboxes.findMany(viewer, ids), ({ id }) => id),
      ),
      credentials: new DataLoader((hosts) => services.hostTokens.views(viewer, hosts), {
        cacheKeyFn: ({ id }) => id as never,
      }),
      drain: new DataLoader(async (ids) => inOrder(ids, await services.drains.latest(ids), ({ hostId }) => hostId)),
      lease: new DataLoader(async (ids) => inOrder(ids, await services.hosts.leases(ids), ({ hostId }) => hostId)),
    },
  };
}
