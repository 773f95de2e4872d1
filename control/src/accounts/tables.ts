import type { InferKyselyDB } from '@mikro-orm/sql';
import type { Selectable } from 'kysely';
import type { Database, QUERY_OPTIONS } from '../database/database.ts';
import type { SessionSchema } from './sessions/session.entity.ts';
import type { MembershipSchema, TeamSchema } from './teams/team.entity.ts';
import type { UserSchema } from './users/user.entity.ts';

/** The tables that belong to the accounts subgraph. */
export type AccountsTables = InferKyselyDB<
  typeof UserSchema | typeof TeamSchema | typeof MembershipSchema | typeof SessionSchema,
  typeof QUERY_OPTIONS
>;

export type AccountsDatabase = Database<AccountsTables>;

export type UserRow = Selectable<AccountsTables['User']>;
export type TeamRow = Selectable<AccountsTables['Team']>;
