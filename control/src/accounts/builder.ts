import type DataLoader from 'dataloader';
import { createSubgraphBuilder, type SubgraphContext } from '../kernel/graphql.ts';
import type { Viewer } from '../kernel/viewer.ts';
import type { SessionService } from './sessions/session.service.ts';
import type { TeamRow, UserRow } from './tables.ts';
import type { TeamService } from './teams/team.service.ts';
import type { UserService } from './users/user.service.ts';

export interface AccountsServices {
  readonly sessions: SessionService;
  readonly teams: TeamService;
  readonly users: UserService;
}

/** What a resolver of this subgraph gets; the loaders live for one request or one event. */
export interface AccountsContext extends SubgraphContext {
  readonly viewer: Viewer | null;
  readonly services: AccountsServices;
  readonly loaders: {
    /** Only teams that the viewer may know of. */
    readonly team: DataLoader<string, TeamRow | null>;
    readonly user: DataLoader<string, UserRow | null>;
  };
}

export const createAccountsBuilder = () => createSubgraphBuilder<AccountsContext>();

export type AccountsBuilder = ReturnType<typeof createAccountsBuilder>;
