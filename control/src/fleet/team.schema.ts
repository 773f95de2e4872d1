import type { FleetBuilder } from './builder.ts';
import { idArgument, listConnection } from '../kernel/connection.ts';
import type { HostTypes } from './hosts/host.schema.ts';
import type { SandboxTypes } from './sandboxes/sandbox.schema.ts';
import type { SharedTypes } from './shared.schema.ts';

/** What the fleet knows of a team: its hosts and its sandboxes. Accounts knows the rest. */
export function addTeamFields(
  builder: FleetBuilder,
  { Team }: SharedTypes,
  { HostConnection }: HostTypes,
  { SandboxConnection }: SandboxTypes,
): void {
  builder.objectFields(Team, (t) => ({
    hosts: t.field({
      type: HostConnection,
      description: 'The team’s own hosts.',
      args: t.arg.connectionArgs(),
      resolve: (team, page, { viewer, services }) => {
        const filter = { teamId: idArgument('Team', team.id) };
        return listConnection(services.hub, page, filter, (wanted) => services.hosts.list(viewer, filter, wanted));
      },
    }),
    sandboxes: t.field({
      type: SandboxConnection,
      args: t.arg.connectionArgs(),
      resolve: (team, page, { viewer, services }) => {
        const filter = { teamId: idArgument('Team', team.id) };
        return listConnection(services.hub, page, filter, (wanted) => services.sandboxes.list(viewer, filter, wanted));
      },
    }),
  }));
}
