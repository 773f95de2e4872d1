import type { InferKyselyDB } from '@mikro-orm/sql';
import type { Kysely, Selectable } from 'kysely';
import type { Database, QUERY_OPTIONS } from '../database/database.ts';
import type { LeadershipSchema } from '../kernel/leadership.entity.ts';
import type { ReplicaSchema } from '../kernel/replica.entity.ts';
import type { HostIdentitySchema, RefreshTokenSchema, RegistrationTokenSchema } from './enrolment/enrolment.entity.ts';
import type { EventLog } from '../kernel/events/event-log.ts';
import type { EventHeadSchema, EventSchema } from '../kernel/events/event.entity.ts';
import type { HostDrainSchema } from './hosts/host-drain.entity.ts';
import type { HostLeaseSchema, HostSchema } from './hosts/host.entity.ts';
import type { FleetHealthSchema } from './monitor/fleet-health.entity.ts';
import type { OrphanSchema } from './sandboxes/orphan.entity.ts';
import type { SandboxSchema } from './sandboxes/sandbox.entity.ts';

/** The tables that belong to the fleet subgraph. */
export type FleetTables = InferKyselyDB<
  | typeof HostSchema
  | typeof HostLeaseSchema
  | typeof HostDrainSchema
  | typeof SandboxSchema
  | typeof EventSchema
  | typeof EventHeadSchema
  | typeof RegistrationTokenSchema
  | typeof HostIdentitySchema
  | typeof RefreshTokenSchema
  | typeof OrphanSchema
  | typeof FleetHealthSchema
  | typeof LeadershipSchema
  | typeof ReplicaSchema,
  typeof QUERY_OPTIONS
>;

export type FleetDatabase = Database<FleetTables>;
/** A connection inside a transaction of the fleet's. */
export type FleetTransaction = Kysely<FleetTables>;

export type HostRow = Selectable<FleetTables['Host']>;
export type HostLeaseRow = Selectable<FleetTables['HostLease']>;
export type HostDrainRow = Selectable<FleetTables['HostDrain']>;
export type SandboxRow = Selectable<FleetTables['Sandbox']>;
export type OrphanRow = Selectable<FleetTables['Orphan']>;
export type FleetHealthRow = Selectable<FleetTables['FleetHealth']>;
/** The event log, for changes of the fleet's tables. */
export type FleetEvents = EventLog<FleetTables>;
