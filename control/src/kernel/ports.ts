import type { Caller } from '@rookery/wire/caller.ts';
import type { Viewer } from './viewer.ts';

/** What the fleet needs to know of accounts. Implemented there, wired in `app.ts`. */
export interface AccountsPort {
  /** The viewer behind a caller's credentials; null when they are missing, bad, expired or revoked. */
  viewer(caller: Caller): Promise<Viewer | null>;
  /** A team's facts; undefined when there is no such team. */
  team(teamId: string): Promise<{ isByoc: boolean } | undefined>;
  /** Facts of all teams that may bring their own hosts. */
  byocTeamIds(): Promise<string[]>;
}

/** What accounts needs done in the fleet. Implemented there, wired in `app.ts`. */
export interface FleetPort {
  /** A team may bring its own hosts now, or no longer: its hosts follow. */
  teamByocChanged(teamId: string): Promise<void>;
}
