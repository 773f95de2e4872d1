import type { Client } from 'graphql-ws';
import { isUnauthenticated } from '#lib/gql/errors.ts';
import { retryDelay } from '#lib/live/connection.ts';
import { pause, streamEvents } from '#lib/live/live-feed.ts';
import { TeamTouchedSubscription } from './team.operations.ts';

export interface TeamWatchOptions {
  readonly socket: Client;
  /** Where the teams' events are now. */
  readonly readCursor: () => Promise<string>;
  /** A team has changed, or its members, invitations or keys; null when any may have. */
  readonly onTeam: (teamId: string | null) => void;
  /** The viewer's rights are another thing now, or may be. */
  readonly onRightsChanged: () => Promise<unknown>;
  readonly onUnauthorized: () => void;
}

/**
 * Hears of everything that happens to the viewer's teams, and of the viewer's own rights: the server ends the
 * stream within seconds of any change of them, and what the viewer may do is then read again.
 */
export async function watchTeams(options: TeamWatchOptions, signal: AbortSignal): Promise<void> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      // The cursor first: what changes while the rest is read is replayed.
      const after = await options.readCursor();
      await options.onRightsChanged();
      if (signal.aborted) return;
      options.onTeam(null);
      attempt = 0;
      await streamEvents(
        {
          socket: options.socket,
          subscription: TeamTouchedSubscription,
          after,
          next: ({ teamChanged: { cursor, teamId } }) => {
            options.onTeam(teamId);
            return cursor;
          },
        },
        signal,
      );
    } catch (error) {
      if (signal.aborted) return;
      if (isUnauthenticated(error)) return options.onUnauthorized();
      // The lists say so when the server is away; this goes on quietly until it is back.
    }
    await pause(retryDelay(attempt), signal);
  }
}
