import type DataLoader from 'dataloader';
import type { EventHub } from '../kernel/events/event-hub.ts';
import type { TeamRole, UserViewer, Viewer } from '../kernel/viewer.ts';
import { createSubgraphBuilder, type SubgraphContext } from '../kernel/graphql.ts';
import type { ApiKeyService } from './api-keys/api-key.service.ts';
import type { AuditService } from './audit/audit.service.ts';
import type { InvitationService } from './invitations/invitation.service.ts';
import type { OidcService } from './oidc/oidc.service.ts';
import type { SessionService } from './sessions/session.service.ts';
import type { ApiKeyRow, MembershipRow, TeamRow, UserRow } from './tables.ts';
import type { MemberService } from './teams/member.service.ts';
import type { TeamService } from './teams/team.service.ts';
import type { UserService } from './users/user.service.ts';

export interface AccountsServices {
  readonly sessions: SessionService;
  readonly users: UserService;
  readonly teams: TeamService;
  readonly members: MemberService;
  readonly invitations: InvitationService;
  readonly apiKeys: ApiKeyService;
  readonly oidc: OidcService;
  readonly audit: AuditService;
  readonly hub: EventHub;
}

/** What a resolver of this subgraph gets; the loaders live for one request or one event. */
export interface AccountsContext extends Omit<SubgraphContext, 'viewer'> {
  /** Gains the role that a mutation has just given them, so that its answer is right. */
  viewer: Viewer | null;
  readonly services: AccountsServices;
  readonly loaders: {
    /** Only teams that the viewer may know of. */
    readonly team: DataLoader<string, TeamRow | null>;
    /** Only users that the viewer may know of. */
    readonly user: DataLoader<string, UserRow | null>;
    /** Only keys that the viewer may know of. */
    readonly apiKey: DataLoader<string, ApiKeyRow | null>;
    /** Members of a team that the viewer was shown. */
    readonly members: DataLoader<string, MembershipRow[]>;
  };
}

/** The viewer with a role that they were given during this request. */
export const withRole = (viewer: UserViewer, teamId: string, role: TeamRole): UserViewer => ({
  ...viewer,
  roles: new Map([...viewer.roles, [teamId, role]]),
});

export const createAccountsBuilder = () => createSubgraphBuilder<AccountsContext>();

export type AccountsBuilder = ReturnType<typeof createAccountsBuilder>;
