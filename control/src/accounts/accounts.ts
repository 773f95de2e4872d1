import DataLoader from 'dataloader';
import type { GraphQLSchema } from 'graphql';
import type { DatabaseConnection } from '../database/database.ts';
import type { AccountsPort } from '../kernel/ports.ts';
import type { SigningKeys } from '../kernel/signing-keys.ts';
import type { Subgraph } from '../kernel/subgraph.ts';
import type { Viewer } from '../kernel/viewer.ts';
import { createAccountsBuilder, type AccountsContext, type AccountsServices } from './builder.ts';
import { addSessions } from './sessions/session.schema.ts';
import { SessionService } from './sessions/session.service.ts';
import type { AccountsTables } from './tables.ts';
import { addTeams } from './teams/team.schema.ts';
import { TeamService } from './teams/team.service.ts';
import { addUsers } from './users/user.schema.ts';
import { UserService } from './users/user.service.ts';

export interface AccountsDeps {
  readonly database: DatabaseConnection;
  readonly keys: SigningKeys;
}

export interface Accounts {
  readonly subgraph: Subgraph;
  readonly services: AccountsServices;
  /** What the fleet may ask. */
  readonly port: AccountsPort;
}

/** The accounts subgraph's schema; needs no database. */
export function accountsSchema(): GraphQLSchema {
  const builder = createAccountsBuilder();
  builder.queryType({});
  builder.mutationType({});
  const User = addUsers(builder);
  addSessions(builder, User, addTeams(builder));
  return builder.toSubGraphSchema({});
}

/** Users, teams and sessions. */
export function createAccounts({ database, keys }: AccountsDeps): Accounts {
  const tables = database.as<AccountsTables>();
  const users = new UserService(tables);
  const teams = new TeamService(tables);
  const services: AccountsServices = { users, teams, sessions: new SessionService({ database: tables, keys, users }) };
  return {
    services,
    subgraph: { name: 'accounts', schema: accountsSchema(), context: (viewer) => context(viewer, services) },
    port: {
      viewer: (token) => services.sessions.viewer(token),
      team: async (id) => (await teams.byIds([id]))[0],
    },
  };
}

function context(viewer: Viewer | null, services: AccountsServices): AccountsContext {
  return {
    viewer,
    services,
    loaders: {
      team: new DataLoader(async (ids) => inOrder(ids, viewer ? await services.teams.visible(viewer, ids) : [])),
      user: new DataLoader(async (ids) => inOrder(ids, viewer ? await services.users.visible(viewer, ids) : [])),
    },
  };
}

function inOrder<Row extends { id: string }>(ids: readonly string[], rows: readonly Row[]): (Row | null)[] {
  const byId = new Map(rows.map((row) => [row.id, row]));
  return ids.map((id) => byId.get(id) ?? null);
}
