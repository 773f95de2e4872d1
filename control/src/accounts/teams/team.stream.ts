import { may, signedIn } from '../../kernel/authority.ts';
import { ChangeStream, withDates } from '../../kernel/events/change-stream.ts';
import { everyPage } from '../../kernel/paging.ts';
import type { AccountsContext } from '../builder.ts';
import type { TeamRow } from '../tables.ts';

/** What happens to the teams that the viewer may know of, their members, invitations and keys included. */
export function teamChanges(
  { viewer, services }: AccountsContext,
  { after, teamId }: { after: string | undefined; teamId: string | undefined },
): ChangeStream<TeamRow> {
  const someone = signedIn(viewer);
  return new ChangeStream({
    hub: services.hub,
    after,
    revive: (state) => withDates<TeamRow>(state, ['createdAt']),
    wants: (event) =>
      event.subject === 'TEAM' &&
      (teamId === undefined || event.subjectId === teamId) &&
      may(someone, 'team:read', { teamId: event.subjectId }),
    snapshot: async () => {
      const rows = await everyPage((page) => services.teams.list(someone, undefined, page));
      return teamId === undefined ? rows : rows.filter(({ id }) => id === teamId);
    },
  });
}
