import { defineEntity, p } from '@mikro-orm/core';
import { HOST_KINDS, HOST_STATUSES, type AgentCondition } from './host.state.ts';

export interface Label {
  key: string;
  value: string;
}

/**
 * Expressions that an index of `hosts` and the statements of placement share; PostgreSQL uses the one
 * for the other only while they are the same.
 */
export const POOL = `coalesce("team_id", '00000000-0000-0000-0000-000000000000')`;
export const REACHABLE = `"deleted_at" is null and "status" = 'ONLINE' and "tunnel_replica" is not null and "cordoned_at" is null and "deleting_at" is null`;

export const HostSchema = defineEntity({
  name: 'Host',
  tableName: 'hosts',
  properties: {
    id: p.uuid().primary(),
    name: p.text(),
    kind: p.enum(HOST_KINDS),
    status: p.enum(HOST_STATUSES),
    /** Null for platform hosts. */
    teamId: p.uuid().nullable(),
    provider: p.text().nullable(),
    availabilityZone: p.text().nullable(),
    labels: p.json<Label[]>(),

    // What the agent reports about the machine; null until it has registered.
    hostname: p.text().nullable(),
    arch: p.text().nullable(),
    os: p.text().nullable(),
    kernel: p.text().nullable(),
    cpuCores: p.integer().nullable(),
    memoryMb: p.integer().nullable(),
    diskGb: p.integer().nullable(),
    agentVersion: p.text().nullable(),
    bootId: p.text().nullable(),
    runtimeName: p.text().nullable(),
    runtimeVersion: p.text().nullable(),
    agentConditions: p.json<AgentCondition[]>(),
    /** Names of the templates that the machine can make sandboxes of. */
    templates: p.json<string[]>().defaultRaw(`'["host"]'`),

    // Reserved by live sandboxes. INVARIANT: the sums over this host's sandboxes that hold a reservation.
    allocatedSandboxes: p.integer().default(0),
    allocatedMilliVcpus: p.integer().default(0),
    allocatedMemoryMb: p.integer().default(0),
    allocatedDiskMb: p.integer().default(0),
    /** When something was last placed here, as a number that only grows; round robin takes the lowest. */
    lastPlacement: p.bigint('number').default(0),

    /** The control replica that holds a tunnel through which it has made a round trip; null when none does. */
    tunnelReplica: p.uuid().nullable(),
    /**
     * Grows with every tunnel that is admitted and with everything that ends all there were. What is written
     * about a tunnel is written only while this is still its number; see `tunnels/tunnel.books.ts`.
     */
    tunnelGeneration: p.integer().default(0),
    /** The control replica that holds the admitted tunnel, whether or not it has made a round trip. */
    tunnelHolder: p.uuid().nullable(),
    /** The agent process that was admitted last, and where it dialled from. */
    tunnelInstance: p.text().nullable(),
    tunnelAddress: p.text().nullable(),
    cordonedAt: p.datetime().nullable(),
    /** Its operator took it out of the fleet (`rookery-agent leave`), and it has not joined again since. */
    leftAt: p.datetime().nullable(),
    /** Two machines have used this host's credentials; its owner has to say which of them it is. */
    quarantinedAt: p.datetime().nullable(),
    /** While its sandboxes are being moved out of the way; see `host-drain.entity.ts`. */
    drainingSince: p.datetime().nullable(),
    /** Since when the team may not bring its own hosts any more. */
    byocDisabledAt: p.datetime().nullable(),
    /** Sandboxes in a row that this host failed to start, for reasons of its own. */
    createFailures: p.integer().default(0),
    lastCreateError: p.text().nullable(),
    /** Since when it is out of placement because of them; until a canary has started on it. */
    createsFailingSince: p.datetime().nullable(),
    /** Set by `deleteHost` before anything is destroyed, so that an interrupted deletion is finished. */
    deletingAt: p.datetime().nullable(),
    deletedAt: p.datetime().nullable(),
    registeredAt: p.datetime().nullable(),
    createdAt: p.datetime().defaultRaw('now()'),
    createdBy: p.uuid().nullable(),
    idempotencyKey: p.text().nullable(),
    /** Hash of the request that the key was first used with. */
    requestHash: p.text().nullable(),
    revision: p.integer().default(1),
  },
  uniques: [{ name: 'hosts_idempotency_key', properties: ['createdBy', 'idempotencyKey'] }],
  indexes: [
    {
      name: 'hosts_name_key',
      expression:
        'create unique index "hosts_name_key" on "hosts" (coalesce("team_id", \'00000000-0000-0000-0000-000000000000\'), "name") where "deleted_at" is null',
    },
    // For placement: the hosts of a pool (the platform's, or one team's) that can be reached, in an order that
    // nothing which placement writes can change. So its updates touch no index.
    {
      name: 'hosts_placement',
      expression: `create index "hosts_placement" on "hosts" (${POOL}, uuid_hash("id")) where ${REACHABLE}`,
    },
  ],
});

export class Host extends HostSchema.class {}
HostSchema.setClass(Host);

/**
 * When a host was last heard. Narrow and apart from `hosts`, because it is written with every
 * heartbeat: those writes must neither bloat the wide table nor wait for its row locks.
 */
export const HostLeaseSchema = defineEntity({
  name: 'HostLease',
  tableName: 'host_leases',
  properties: {
    hostId: p.uuid().primary(),
    /** The database's clock, whatever the agent's says. */
    seenAt: p.datetime(),
    load1: p.float(),
    memoryUsedMb: p.integer(),
    diskUsedMb: p.integer(),
    /** Of the last inventory that was reconciled; a heartbeat with another digest asks for a full one. */
    inventoryDigest: p.text().nullable(),
    inventoryEpoch: p.bigint('number').default(0),
  },
});

export class HostLease extends HostLeaseSchema.class {}
HostLeaseSchema.setClass(HostLease);
