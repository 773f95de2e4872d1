import type { Caller } from '@rookery/wire/caller.ts';
import { StartupError } from '@rookery/wire/errors.ts';
import { networkAddress, reachableAddress } from '@rookery/wire/http.ts';
import type { ListeningServer } from '@rookery/wire/http.ts';
import type { Logger } from '@rookery/wire/log.ts';
import type { FormattedExecutionResult } from 'graphql';
import { createAccounts, type Accounts } from './accounts/accounts.ts';
import { ensureFirstAdmin, type FirstAdmin } from './accounts/first-run.ts';
import { oidcSettings } from './accounts/oidc/oidc.config.ts';
import { AgentSockets, startAgentServer } from './agent-server.ts';
import type { ControlConfig } from './config.ts';
import { openDatabase, type DatabaseConnection } from './database/database.ts';
import { pruneFleet } from './fleet/fleet.retention.ts';
import { createFleet, type Fleet } from './fleet/fleet.ts';
import type { FleetTables } from './fleet/tables.ts';
import { PEER_PATH } from './fleet/tunnels/peer-server.ts';
import type { AuditTables } from './kernel/audit/audit.entity.ts';
import { AuditLog } from './kernel/audit/audit-log.ts';
import { auditMutations } from './kernel/audit/audited-mutations.ts';
import type { EventTables } from './kernel/events/event.entity.ts';
import { EventHub } from './kernel/events/event-hub.ts';
import { EventLog } from './kernel/events/event-log.ts';
import { keepKeysFresh } from './kernel/key-rotation.ts';
import { Leadership, type Term } from './kernel/leadership.ts';
import { LoopDriver, type LoopStatus } from './kernel/loops.ts';
import { joinReplicas } from './kernel/replica.ts';
import { auditEventsBefore, eventsBefore, pruneInChunks } from './kernel/retention.ts';
import { SigningKeys } from './kernel/signing-keys.ts';
import { executeOnSubgraph, type SubgraphOperation } from './kernel/subgraph.ts';
import type { Viewer } from './kernel/viewer.ts';
import { createNodes } from './nodes/nodes.ts';
import { startSubgraphServer, type SubgraphServerDeps } from './subgraph-server.ts';

export interface ControlDeps {
  readonly config: ControlConfig;
  readonly databaseUrl: string;
  /** Whether gateways come over the network; in embedded mode they call {@link Control.execute}. */
  readonly serveSubgraphs: boolean;
  readonly log: Logger;
}

/** A running control process. */
export interface Control extends AsyncDisposable {
  /** Where agents reach it. */
  readonly agentUrl: string;
  readonly agentPort: number;
  /** Undefined when subgraphs are not served. */
  readonly subgraphPort: number | undefined;
  /** Set on the very first start only. */
  readonly firstAdmin: FirstAdmin | undefined;
  readonly database: DatabaseConnection;
  readonly keys: SigningKeys;
  readonly auditLog: AuditLog;
  readonly accounts: Accounts;
  readonly fleet: Fleet;
  /** Names this process among the replicas; hosts that it reaches carry it. */
  readonly replicaId: string;
  /** Executes an operation on one subgraph for a caller. */
  execute(
    subgraph: string,
    operation: SubgraphOperation,
    caller: Caller,
  ): Promise<FormattedExecutionResult | AsyncIterableIterator<FormattedExecutionResult>>;
  isReady(): Promise<boolean>;
  loops(): LoopStatus[];
}

/** How long an agent whose credentials have ended may stay connected to a replica that was not told, in ms; each pass is one query. */
const SOCKET_CHECK_MS = 15_000;

/** How often old things are looked for, in ms; most passes find nothing and cost some index look-ups. */
const RETENTION_PERIOD_MS = 10 * 60 * 1_000;

const DAY_MS = 24 * 60 * 60 * 1_000;

/**
 * Joins the parts of a control process and starts them. Disposing stops them in reverse.
 *
 * @throws {StartupError} in one sentence.
 */
export async function createControl({ config, databaseUrl, serveSubgraphs, log }: ControlDeps): Promise<Control> {
  const stack = new AsyncDisposableStack();
  await using _undoOnFailure = stack;
  const database = stack.use(await openDatabase(databaseUrl, log));
  const hub = stack.use(new EventHub(database, log));
  await hub.start();
  const events = stack.use(new EventLog(database, log));
  const keys = new SigningKeys(database);
  const audit = new AuditLog(database, events, log.child({ part: 'audit' }));
  const accounts = createAccounts({
    database,
    events,
    hub,
    audit,
    keys,
    // The two need each other; by the time anyone asks, both are there.
    fleet: { teamByocChanged: (teamId) => fleet.port.teamByocChanged(teamId) },
    settings: {
      accessTokenSeconds: config.ROOKERY_ACCESS_TOKEN_SECONDS,
      sessionSeconds: config.ROOKERY_SESSION_SECONDS,
    },
    oidc: oidcSettings(config),
    log: log.child({ part: 'accounts' }),
  });
  const firstAdmin = await ensureFirstAdmin(accounts.services, config);

  const loops = new LoopDriver(log.child({ part: 'loops' }));
  const replica = stack.use(await joinReplicas(database, loops));
  const leadership = stack.use(
    new Leadership({ url: databaseUrl, replicaId: replica.id, log: log.child({ part: 'leadership' }) }),
  );
  await leadership.start();
  loops.add({
    name: 'signing-keys',
    description: 'Gives tokens a new key now and then, and drops those that nothing good was signed with.',
    periodMs: 60 * 60 * 1_000,
    run: () => keepKeysFresh(database),
  });
  loops.add({
    name: 'retention',
    description: 'Deletes events, audit events and what has ended once they are old.',
    periodMs: RETENTION_PERIOD_MS,
    run: leadership.judge((term) => prune(database, term, config)),
  });
  const sockets = new AgentSockets();
  let agentUrl = '';
  const fleet = stack.use(
    await createFleet({
      database,
      events,
      hub,
      audit,
      keys,
      accounts: accounts.port,
      loops,
      leadership,
      replicaId: replica.id,
      settings: {
        heartbeatMs: config.ROOKERY_HEARTBEAT_MS,
        unreachableAfterMs: config.ROOKERY_UNREACHABLE_AFTER_MS,
        orphanMinAgeMs: config.ROOKERY_ORPHAN_MIN_AGE_MS,
        cpuOvercommit: config.ROOKERY_CPU_OVERCOMMIT,
        lifetimes: {
          registrationTokenSeconds: config.ROOKERY_REGISTRATION_TOKEN_SECONDS,
          accessTokenSeconds: config.ROOKERY_HOST_TOKEN_SECONDS,
          refreshTokenSeconds: config.ROOKERY_HOST_REFRESH_TOKEN_SECONDS,
        },
        placementStrategy: config.ROOKERY_PLACEMENT_STRATEGY,
      },
      agentUrl: () => agentUrl,
      disconnectHost: (hostId, code, reason) => sockets.disconnect(hostId, code, reason),
      connectedHosts: () => sockets.hosts,
      log,
    }),
  );
  loops.add({
    name: 'agent-sockets',
    description: 'Cuts agents whose credentials have ended since they connected, at another replica for example.',
    periodMs: SOCKET_CHECK_MS,
    run: () => sockets.cutEnded((hosts) => fleet.agentChannel.enrolment.stillStanding(hosts)),
  });
  // Stopped before the fleet: a loop must not find its parts gone.
  stack.use(loops);

  const isReady = (): Promise<boolean> => database.isUp();
  const host = config.ROOKERY_HOST;
  const agents = stack.use(
    await startAgentServer({
      host,
      port: config.ROOKERY_AGENT_PORT,
      channel: fleet.agentChannel,
      tunnels: fleet.tunnels,
      sockets,
      isReady,
      log,
    }),
  );
  agentUrl = (config.ROOKERY_AGENT_URL ?? reachableAddress(host, agents.port)).replace(/\/+$/, '');

  const idsOf = (rows: readonly { readonly id: string }[]): string[] => rows.map(({ id }) => id);
  const nodes = createNodes({
    ApiKey: async (viewer, ids) => idsOf(await accounts.services.apiKeys.visible(viewer, ids)),
    Host: async (viewer, ids) => idsOf(await fleet.services.hosts.findMany(viewer, ids)),
    Sandbox: async (viewer, ids) => idsOf(await fleet.services.sandboxes.findMany(viewer, ids)),
    Team: async (viewer, ids) => idsOf(await accounts.services.teams.visible(viewer, ids)),
    User: async (viewer, ids) => idsOf(await accounts.services.users.visible(viewer, ids)),
  });
  const subgraphs = [accounts.subgraph, fleet.subgraph, nodes];
  for (const { schema } of subgraphs) auditMutations(schema, audit);
  const identify = (caller: Caller): Promise<Viewer | null> => accounts.port.viewer(caller);
  const peers = { path: PEER_PATH, upgrade: fleet.peers.upgrade.bind(fleet.peers) };
  const subgraphServer = serveSubgraphs
    ? stack.use(await serve(config, { subgraphs, identify, isReady, peers, log }))
    : undefined;
  if (subgraphServer) await replica.announce(config.ROOKERY_PEER_URL ?? networkAddress(host, subgraphServer.port));

  const byName = new Map(subgraphs.map((subgraph) => [subgraph.name, subgraph]));
  const running = stack.move();
  return {
    agentUrl,
    agentPort: agents.port,
    subgraphPort: subgraphServer?.port,
    firstAdmin,
    database,
    keys,
    auditLog: audit,
    accounts,
    fleet,
    replicaId: replica.id,
    isReady,
    loops: () => loops.statuses(),
    async execute(name, operation, caller) {
      const subgraph = byName.get(name);
      if (!subgraph) throw new Error(`there is no subgraph ${name}`);
      return executeOnSubgraph(subgraph, operation, caller, identify, log);
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** @returns how many rows were deleted. */
async function prune(database: DatabaseConnection, term: Term, config: ControlConfig): Promise<number> {
  const before = (days: number): Date => new Date(Date.now() - days * DAY_MS);
  const { ROOKERY_EVENT_RETENTION_DAYS, ROOKERY_AUDIT_RETENTION_DAYS } = config;
  const events = before(ROOKERY_EVENT_RETENTION_DAYS);
  const pruned = [
    await pruneInChunks(database.as<EventTables>(), term, eventsBefore(events)),
    await pruneInChunks(database.as<AuditTables>(), term, auditEventsBefore(before(ROOKERY_AUDIT_RETENTION_DAYS))),
    await pruneFleet(database.as<FleetTables>(), term, events),
  ];
  return pruned.reduce((sum, count) => sum + count, 0);
}

async function serve(
  config: ControlConfig,
  parts: Pick<SubgraphServerDeps, 'subgraphs' | 'identify' | 'isReady' | 'peers' | 'log'>,
): Promise<ListeningServer> {
  const gatewaySecret = config.ROOKERY_GATEWAY_SECRET;
  if (!gatewaySecret) {
    throw new StartupError('ROOKERY_GATEWAY_SECRET is not set; control and gateways need the same one.');
  }
  return startSubgraphServer({
    ...parts,
    host: config.ROOKERY_HOST,
    port: config.ROOKERY_SUBGRAPH_PORT,
    gatewaySecret,
  });
}
