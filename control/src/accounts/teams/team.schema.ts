import { fromGlobalId } from '../../kernel/global-id.ts';
import { TEAM_ROLES, type TeamRole } from '../../kernel/viewer.ts';
import type { AccountsBuilder } from '../builder.ts';
import type { TeamRow } from '../tables.ts';

/** `Team`, and `teamName` on the fleet's `Host`. */
export function addTeams(builder: AccountsBuilder) {
  const TeamRoleEnum = builder.enumType('TeamRole', {
    description: 'Owners and admins manage the team’s hosts; members use them.',
    values: TEAM_ROLES,
  });

  const Team = builder.objectRef<TeamRow>('Team');
  builder.node(Team, {
    description: 'A group of people who share sandboxes and, when it is BYOC, hosts.',
    id: { resolve: (team) => team.id },
    fields: (t) => ({
      name: t.exposeString('name'),
      isByoc: t.exposeBoolean('isByoc', { description: 'Whether the team may bring its own hosts.' }),
      createdAt: t.expose('createdAt', { type: 'DateTime' }),
      viewerRole: t.field({
        type: TeamRoleEnum,
        nullable: true,
        description: 'Null for a platform admin who is not a member.',
        resolve: (team, _args, { viewer }) => viewer?.roles.get(team.id) ?? null,
      }),
    }),
  });
  builder.asEntity(Team, {
    key: builder.selection<{ id: string }>('id'),
    resolveReference: async ({ id }, { loaders }) => {
      const teamId = fromGlobalId('Team', id);
      return (teamId ? await loaders.team.load(teamId) : null) as TeamRow;
    },
  });

  const TeamMembership = builder.objectRef<{ team: TeamRow; role: TeamRole }>('TeamMembership').implement({
    fields: (t) => ({
      team: t.expose('team', { type: Team }),
      role: t.expose('role', { type: TeamRoleEnum }),
    }),
  });

  builder.externalRef('Host', builder.selection<{ id: string }>('id')).implement({
    externalFields: (t) => ({
      id: t.id(),
      team: t.field({ type: Team, nullable: true }),
    }),
    fields: (t) => ({
      teamName: t.string({
        nullable: true,
        description: 'Null for platform hosts.',
        requires: builder.selection<{ team: { id: string } | null }>('team { id }'),
        resolve: async ({ team }, _args, { loaders }) => {
          const teamId = team ? fromGlobalId('Team', team.id) : undefined;
          return teamId ? ((await loaders.team.load(teamId))?.name ?? null) : null;
        },
      }),
    }),
  });

  return { Team, TeamMembership };
}
