import { StartupError } from '@rookery/wire/errors.ts';
import { reachableAddress } from '@rookery/wire/http.ts';
import type { ListeningServer } from '@rookery/wire/http.ts';
import type { Logger } from '@rookery/wire/log.ts';
import type { FormattedExecutionResult } from 'graphql';
import { createAccounts, type Accounts } from './accounts/accounts.ts';
import { ensureFirstAdmin, type FirstAdmin } from './accounts/first-run.ts';
import { AgentSockets, startAgentServer } from './agent-server.ts';
import type { ControlConfig } from './config.ts';
import { openDatabase, type DatabaseConnection } from './database/database.ts';
import { createFleet, type Fleet } from './fleet/fleet.ts';
import { EventHub } from './kernel/events/event-hub.ts';
import { EventLog } from './kernel/events/event-log.ts';
import { Leadership } from './kernel/leadership.ts';
import { LoopDriver, type LoopStatus } from './kernel/loops.ts';
import { joinReplicas } from './kernel/replica.ts';
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
  readonly accounts: Accounts;
  readonly fleet: Fleet;
  /** Names this process among the replicas; hosts that it reaches carry it. */
  readonly replicaId: string;
  /** Executes an operation on one subgraph for whoever the token stands for. */
  execute(
    subgraph: string,
    operation: SubgraphOperation,
    token: string | undefined,
  ): Promise<FormattedExecutionResult | AsyncIterableIterator<FormattedExecutionResult>>;
  isReady(): Promise<boolean>;
  loops(): LoopStatus[];
}

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
  const accounts = createAccounts({ database, keys });
  const firstAdmin = await ensureFirstAdmin(accounts.services, config);

  const loops = new LoopDriver(log.child({ part: 'loops' }));
  const replica = stack.use(await joinReplicas(database, loops));
  const leadership = stack.use(
    new Leadership({ url: databaseUrl, replicaId: replica.id, log: log.child({ part: 'leadership' }) }),
  );
  await leadership.start();
  const sockets = new AgentSockets();
  let agentUrl = '';
  const fleet = stack.use(
    await createFleet({
      database,
      events,
      hub,
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
        placementStrategy: config.ROOKERY_PLACEMENT_STRATEGY,
      },
      agentUrl: () => agentUrl,
      disconnectHost: (hostId, code, reason) => sockets.disconnect(hostId, code, reason),
      log,
    }),
  );
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
    Host: async (viewer, ids) => idsOf(await fleet.services.hosts.findMany(viewer, ids)),
    Sandbox: async (viewer, ids) => idsOf(await fleet.services.sandboxes.findMany(viewer, ids)),
    Team: async (viewer, ids) => idsOf(await accounts.services.teams.visible(viewer, ids)),
    User: async (viewer, ids) => idsOf(await accounts.services.users.visible(viewer, ids)),
  });
  const subgraphs = [accounts.subgraph, fleet.subgraph, nodes];
  const viewer = (token: string | undefined): Promise<Viewer | null> => accounts.port.viewer(token);
  const subgraphServer = serveSubgraphs
    ? stack.use(await serve(config, { subgraphs, viewer, isReady, log }))
    : undefined;

  const byName = new Map(subgraphs.map((subgraph) => [subgraph.name, subgraph]));
  const running = stack.move();
  return {
    agentUrl,
    agentPort: agents.port,
    subgraphPort: subgraphServer?.port,
    firstAdmin,
    database,
    accounts,
    fleet,
    replicaId: replica.id,
    isReady,
    loops: () => loops.statuses(),
    async execute(name, operation, token) {
      const subgraph = byName.get(name);
      if (!subgraph) throw new Error(`there is no subgraph ${name}`);
      return executeOnSubgraph(subgraph, operation, () => viewer(token), log);
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function serve(
  config: ControlConfig,
  parts: Pick<SubgraphServerDeps, 'subgraphs' | 'viewer' | 'isReady' | 'log'>,
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
