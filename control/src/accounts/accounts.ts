import type { Caller } from '@rookery/wire/caller.ts';
import DataLoader from 'dataloader';
import type { Logger } from '@rookery/wire/log.ts';
import type { GraphQLSchema } from 'graphql';
import type { DatabaseConnection } from '../database/database.ts';
import type { AuditLog } from '../kernel/audit/audit-log.ts';
import { inOrder } from '../kernel/batching.ts';
import type { EventHub } from '../kernel/events/event-hub.ts';
import type { EventLog } from '../kernel/events/event-log.ts';
import type { AccountsPort, FleetPort } from '../kernel/ports.ts';
import type { SigningKeys } from '../kernel/signing-keys.ts';
import type { Subgraph } from '../kernel/subgraph.ts';
import type { Viewer } from '../kernel/viewer.ts';
import { addApiKeys } from './api-keys/api-key.schema.ts';
import { ApiKeyService } from './api-keys/api-key.service.ts';
import { addAudit } from './audit/audit.schema.ts';
import { AuditService } from './audit/audit.service.ts';
import { createAccountsBuilder, type AccountsContext, type AccountsServices } from './builder.ts';
import { Identification } from './identification.ts';
import { addInvitations } from './invitations/invitation.schema.ts';
import { InvitationService } from './invitations/invitation.service.ts';
import type { OidcSettings } from './oidc/oidc.config.ts';
import { addOidc } from './oidc/oidc.schema.ts';
import { OidcService } from './oidc/oidc.service.ts';
import { addSessions } from './sessions/session.schema.ts';
import { SessionService, type SessionSettings } from './sessions/session.service.ts';
import { SignInThrottle } from './sessions/sign-in-throttle.ts';
import type { AccountsTables } from './tables.ts';
import { addMembers } from './teams/member.schema.ts';
import { MemberService } from './teams/member.service.ts';
import { addTeams } from './teams/team.schema.ts';
import { TeamService } from './teams/team.service.ts';
import { addUsers } from './users/user.schema.ts';
import { UserService } from './users/user.service.ts';

export interface AccountsDeps {
  readonly database: DatabaseConnection;
  readonly events: EventLog;
  readonly hub: EventHub;
  readonly audit: AuditLog;
  readonly keys: SigningKeys;
  readonly fleet: FleetPort;
  readonly settings: SessionSettings;
  /** Undefined when nobody signs in elsewhere. */
  readonly oidc: OidcSettings | undefined;
  readonly log: Logger;
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
  builder.subscriptionType({});
  const User = addUsers(builder);
  const teams = addTeams(builder);
  const sessions = addSessions(builder, User, teams);
  addOidc(builder, sessions);
  addInvitations(builder, User, teams, sessions);
  addApiKeys(builder, User, teams, sessions);
  addAudit(builder, teams, addMembers(builder, User, teams));
  return builder.toSubGraphSchema({});
}

/** Users, teams, sessions, API keys and the audit trail. */
export function createAccounts(deps: AccountsDeps): Accounts {
  const { database: connection, hub, keys, fleet, audit, settings } = deps;
  const database = connection.as<AccountsTables>();
  const events = deps.events.as<AccountsTables>();
  const throttle = new SignInThrottle(connection);
  const users = new UserService({ database, throttle });
  const sessions = new SessionService({ database, keys, users, throttle, settings });
  const teams = new TeamService({ database, events, fleet });
  const members = new MemberService({ database, events });
  const invitations = new InvitationService({ database, events, users, members, sessions });
  const apiKeys = new ApiKeyService({ database, events });
  const identification = new Identification({ sessions, apiKeys, audit });
  const services: AccountsServices = {
    sessions,
    users,
    teams,
    members,
    invitations,
    apiKeys,
    oidc: new OidcService({ database, users, sessions, audit, settings: deps.oidc, log: deps.log }),
    audit: new AuditService(database),
    hub,
  };
  return {
    services,
    subgraph: {
      name: 'accounts',
      schema: accountsSchema(),
      context: (viewer, caller) => context(viewer, caller, services),
    },
    port: {
      viewer: (caller) => identification.viewer(caller),
      team: async (id) => (await teams.byIds([id]))[0],
      byocTeamIds: () => teams.byocIds(),
    },
  };
}

function context(viewer: Viewer | null, caller: Caller, services: AccountsServices): AccountsContext {
  const { teams, users, apiKeys, members } = services;
  return {
    viewer,
    caller,
    services,
    loaders: {
      team: new DataLoader(async (ids) => inOrder(ids, viewer ? await teams.visible(viewer, ids) : [], ({ id }) => id)),
      user: new DataLoader(async (ids) => inOrder(ids, viewer ? await users.visible(viewer, ids) : [], ({ id }) => id)),
      apiKey: new DataLoader(async (ids) =>
        inOrder(ids, viewer ? await apiKeys.visible(viewer, ids) : [], ({ id }) => id),
      ),
      members: new DataLoader(async (teamIds) => {
        const byTeam = Map.groupBy(await members.ofTeams(teamIds), ({ teamId }) => teamId);
        return teamIds.map((id) => byTeam.get(id) ?? []);
      }),
    },
  };
}
