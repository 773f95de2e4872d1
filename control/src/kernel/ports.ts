import type { Viewer } from './viewer.ts';

/** What the fleet needs to know of accounts. Implemented there, wired in `app.ts`. */
export interface AccountsPort {
  /** The viewer behind a session token; null when it is missing, bad, expired or signed out. */
  viewer(token: string | undefined): Promise<Viewer | null>;
  /** A team's facts; undefined when there is no such team. */
  team(teamId: string): Promise<{ isByoc: boolean } | undefined>;
}
