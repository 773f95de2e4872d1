import { may, signedIn, teamsWhere } from '../../kernel/authority.ts';
import type { FleetContext } from '../builder.ts';
import { ChangeStream, withDates } from '../../kernel/events/change-stream.ts';
import { everyPage } from '../../kernel/paging.ts';
import type { HostRow } from '../tables.ts';
import type { HostKind } from './host.state.ts';

export interface HostStreamFilter {
  readonly after: string | undefined;
  readonly hostId: string | undefined;
  readonly teamId: string | undefined;
  readonly kind: HostKind | undefined;
}

const DATES = [
  'cordonedAt',
  'leftAt',
  'quarantinedAt',
  'drainingSince',
  'byocDisabledAt',
  'createsFailingSince',
  'deletingAt',
  'deletedAt',
  'registeredAt',
  'createdAt',
] as const;

/** What happens to the hosts that the viewer may see. */
export function hostChanges(
  { viewer, services }: FleetContext,
  { after, hostId, teamId, kind }: HostStreamFilter,
): ChangeStream<HostRow> {
  const someone = signedIn(viewer);
  // An API key without the scope is told so; silence would look like peace.
  teamsWhere(someone, 'host:read');
  return new ChangeStream({
    hub: services.hub,
    after,
    revive: (state) => withDates<HostRow>(state, DATES),
    wants: (event) =>
      event.subject === 'HOST' &&
      (hostId === undefined || event.subjectId === hostId) &&
      (teamId === undefined || event.teamId === teamId) &&
      (kind === undefined || event.state['kind'] === kind) &&
      may(someone, 'host:read', { teamId: event.teamId }),
    snapshot: async () => {
      const rows = await everyPage((page) => services.hosts.list(someone, { kind, teamId }, page));
      return hostId === undefined ? rows : rows.filter(({ id }) => id === hostId);
    },
  });
}
