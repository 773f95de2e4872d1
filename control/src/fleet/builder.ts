import type DataLoader from 'dataloader';
import { createSubgraphBuilder, type SubgraphContext } from '../kernel/graphql.ts';
import type { EventHub } from '../kernel/events/event-hub.ts';
import type { AgentUrlCheck } from './agent-channel/agent-url.ts';
import type { HostCredentialsView, HostTokens } from './enrolment/host-token.service.ts';
import type { HostDrains } from './hosts/host-drain.service.ts';
import type { HostOperations } from './hosts/host-operations.service.ts';
import type { HostDeletion } from './hosts/host-deletion.service.ts';
import type { HostService } from './hosts/host.service.ts';
import type { FleetHealthService } from './monitor/fleet-health.service.ts';
import type { ExecService } from './sandboxes/exec.service.ts';
import type { Canaries } from './placement/canary.ts';
import type { SandboxOperations } from './sandboxes/sandbox-operations.service.ts';
import type { SandboxService } from './sandboxes/sandbox.service.ts';
import type { HostDrainRow, HostLeaseRow, HostRow, SandboxRow } from './tables.ts';

export interface FleetServices {
  readonly hosts: HostService;
  readonly hostOperations: HostOperations;
  readonly drains: HostDrains;
  readonly deletion: HostDeletion;
  readonly hostTokens: HostTokens;
  readonly sandboxes: SandboxService;
  readonly sandboxOperations: SandboxOperations;
  readonly exec: ExecService;
  readonly health: FleetHealthService;
  readonly agentUrl: AgentUrlCheck;
  readonly canaries: Canaries;
  readonly hub: EventHub;
}

/** What a resolver of this subgraph gets; the loaders live for one request or one event. */
export interface FleetContext extends SubgraphContext {
  readonly services: FleetServices;
  readonly loaders: {
    /** Only hosts and sandboxes that the viewer may know of. */
    readonly host: DataLoader<string, HostRow | null>;
    readonly sandbox: DataLoader<string, SandboxRow | null>;
    readonly credentials: DataLoader<HostRow, HostCredentialsView | null>;
    /** The newest of each host. */
    readonly drain: DataLoader<string, HostDrainRow | null>;
    readonly lease: DataLoader<string, HostLeaseRow | null>;
  };
}

export const createFleetBuilder = () => createSubgraphBuilder<FleetContext>();

export type FleetBuilder = ReturnType<typeof createFleetBuilder>;
