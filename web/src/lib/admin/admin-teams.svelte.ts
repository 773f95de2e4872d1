import type { Fleet } from '#lib/fleet/fleet.svelte.ts';
import { query } from '#lib/gql/client.ts';
import type { AdminTeamFieldsFragment } from '#lib/gql/generated/graphql.ts';
import type { LiveNode } from '#lib/live/live-collection.ts';
import type { LiveList } from '#lib/live/live-list.svelte.ts';
import { AdminTeamChangedSubscription, AdminTeamsQuery } from './admin.operations.ts';

/** A team as the admin section knows it. */
export type AdminTeam = AdminTeamFieldsFragment & LiveNode;

/**
 * Follows every team of the platform.
 *
 * Teams carry no revision, so the order in which they are heard of stands for it: the stream keeps the order of the
 * log, and what is read with a team is as of that moment.
 */
export function followTeams(fleet: Fleet, signal: AbortSignal): LiveList<AdminTeam> {
  let heard = 0;
  const numbered = (team: AdminTeamFieldsFragment): AdminTeam => ({ ...team, revision: heard++ });
  return fleet.follow(
    {
      subscription: AdminTeamChangedSubscription,
      toEvent: ({ teamChanged: { kind, cursor, teamId, team } }) => ({
        kind,
        cursor,
        id: teamId,
        node: team && numbered(team),
      }),
      async page(after) {
        const { teams } = await query(AdminTeamsQuery, { after });
        return {
          nodes: teams.edges.map(({ node }) => numbered(node)),
          ...teams.pageInfo,
          eventCursor: teams.eventCursor,
        };
      },
    },
    signal,
  );
}
