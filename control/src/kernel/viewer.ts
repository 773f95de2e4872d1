/** Who is asking. Made for each request by the accounts subgraph, used by both. */

export const TEAM_ROLES = ['OWNER', 'ADMIN', 'MEMBER'] as const;
export type TeamRole = (typeof TEAM_ROLES)[number];

export const API_KEY_SCOPES = ['hosts:read', 'hosts:write', 'sandboxes:read', 'sandboxes:write'] as const;
export type ApiKeyScope = (typeof API_KEY_SCOPES)[number];

/** A person who has signed in. */
export interface UserViewer {
  readonly kind: 'USER';
  /** The user's id. */
  readonly id: string;
  /** How the audit log calls them: the e-mail address. */
  readonly label: string;
  readonly sessionId: string;
  /** As the database says now, not as the token said when it was issued. */
  readonly isAdmin: boolean;
  /** Role by team id. */
  readonly roles: ReadonlyMap<string, TeamRole>;
}

/** A program with a team's API key. */
export interface ApiKeyViewer {
  readonly kind: 'API_KEY';
  /** The key's id. */
  readonly id: string;
  /** How the audit log calls it: its visible prefix and its name. */
  readonly label: string;
  readonly isAdmin: false;
  readonly teamId: string;
  readonly scopes: ReadonlySet<ApiKeyScope>;
}

export type Viewer = UserViewer | ApiKeyViewer;

/** How the log names whoever caused a change. */
export type Actor = `user:${string}` | `api-key:${string}` | `host:${string}` | 'control';

export const actorOf = (viewer: Viewer): Actor => `${viewer.kind === 'USER' ? 'user' : 'api-key'}:${viewer.id}`;

/** Changes with everything that a viewer's rights depend on, and with nothing else. */
export function fingerprint(viewer: Viewer | null): string {
  if (!viewer) return '';
  return viewer.kind === 'USER'
    ? JSON.stringify([viewer.id, viewer.isAdmin, [...viewer.roles].sort()])
    : JSON.stringify([viewer.id, viewer.teamId, [...viewer.scopes].sort()]);
}
