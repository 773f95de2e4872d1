/** Who is asking. Made once a request by the accounts subgraph, used by both. */

export const TEAM_ROLES = ['OWNER', 'ADMIN', 'MEMBER'] as const;
export type TeamRole = (typeof TEAM_ROLES)[number];

export interface Viewer {
  readonly userId: string;
  readonly sessionId: string;
  /** As the database says now, not as the token said when it was issued. */
  readonly isAdmin: boolean;
  /** Role by team id. */
  readonly roles: ReadonlyMap<string, TeamRole>;
  /** When the session ends; a stream must not outlive it. */
  readonly expiresAt: Date;
}

/** The ids of the teams a viewer belongs to. */
export const teamsOf = (viewer: Viewer): string[] => [...viewer.roles.keys()];

/** How the log names whoever caused a change. */
export type Actor = `user:${string}` | `host:${string}` | 'control';

export const actorOf = (viewer: Viewer): Actor => `user:${viewer.userId}`;
