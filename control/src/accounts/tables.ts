import type { InferKyselyDB } from '@mikro-orm/sql';
import type { Kysely, Selectable } from 'kysely';
import type { Database, QUERY_OPTIONS } from '../database/database.ts';
import type { AuditEventSchema } from '../kernel/audit/audit.entity.ts';
import type { EventLog } from '../kernel/events/event-log.ts';
import type { ApiKeySchema } from './api-keys/api-key.entity.ts';
import type { InvitationSchema } from './invitations/invitation.entity.ts';
import type { OidcFlowSchema } from './oidc/oidc-flow.entity.ts';
import type { SessionSchema } from './sessions/session.entity.ts';
import type { MembershipSchema, TeamSchema } from './teams/team.entity.ts';
import type { UserIdentitySchema, UserSchema } from './users/user.entity.ts';

/** The tables that belong to the accounts subgraph. */
export type AccountsTables = InferKyselyDB<
  | typeof UserSchema
  | typeof UserIdentitySchema
  | typeof TeamSchema
  | typeof MembershipSchema
  | typeof InvitationSchema
  | typeof ApiKeySchema
  | typeof OidcFlowSchema
  | typeof SessionSchema
  | typeof AuditEventSchema,
  typeof QUERY_OPTIONS
>;

export type AccountsDatabase = Database<AccountsTables>;
/** A connection inside a transaction of accounts'. */
export type AccountsTransaction = Kysely<AccountsTables>;
/** The event log, for changes of these tables. */
export type AccountsEvents = EventLog<AccountsTables>;

export type UserRow = Selectable<AccountsTables['User']>;
export type TeamRow = Selectable<AccountsTables['Team']>;
export type MembershipRow = Selectable<AccountsTables['Membership']>;
export type InvitationRow = Selectable<AccountsTables['Invitation']>;
export type ApiKeyRow = Selectable<AccountsTables['ApiKey']>;
export type SessionRow = Selectable<AccountsTables['Session']>;
export type { AuditEventRow } from '../kernel/audit/audit.entity.ts';
