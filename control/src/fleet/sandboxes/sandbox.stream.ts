import { may, signedIn, teamsWhere } from '../../kernel/authority.ts';
import type { FleetContext } from '../builder.ts';
import { ChangeStream, withDates } from '../../kernel/events/change-stream.ts';
import { everyPage } from '../../kernel/paging.ts';
import type { SandboxRow } from '../tables.ts';

export interface SandboxStreamFilter {
  readonly after: string | undefined;
  readonly sandboxId: string | undefined;
  readonly hostId: string | undefined;
  readonly teamId: string | undefined;
}

const DATES = ['createdAt', 'startedAt', 'lastActiveAt', 'deletedAt'] as const;

/** What happens to the sandboxes that the viewer may see. */
export function sandboxChanges(
  { viewer, services }: FleetContext,
  { after, sandboxId, hostId, teamId }: SandboxStreamFilter,
): ChangeStream<SandboxRow> {
  const someone = signedIn(viewer);
  // An API key without the scope is told so; silence would look like peace.
  teamsWhere(someone, 'sandbox:read');
  return new ChangeStream({
    hub: services.hub,
    after,
    revive: (state) => withDates<SandboxRow>(state, DATES),
    wants: (event) =>
      event.subject === 'SANDBOX' &&
      (sandboxId === undefined || event.subjectId === sandboxId) &&
      (hostId === undefined || event.hostId === hostId) &&
      (teamId === undefined || event.teamId === teamId) &&
      may(someone, 'sandbox:read', { teamId: event.teamId }),
    snapshot: async () => {
      const rows = await everyPage((page) => services.sandboxes.list(someone, { hostId, teamId }, page));
      return sandboxId === undefined ? rows : rows.filter(({ id }) => id === sandboxId);
    },
  });
}
