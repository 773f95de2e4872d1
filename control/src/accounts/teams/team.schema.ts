import { listConnection, listingOf } from '../../kernel/connection.ts';
import { fromGlobalId, NO_SUCH_ROW } from '../../kernel/global-id.ts';
import { IdempotencyKeyReused, InvalidInput, NotFound, NotPermitted } from '../../kernel/user-errors.ts';
import { TEAM_ROLES, type TeamRole } from '../../kernel/viewer.ts';
import { person } from '../../kernel/authority.ts';
import { withRole, type AccountsBuilder } from '../builder.ts';
import type { TeamRow } from '../tables.ts';

interface TeamFilter {
  readonly search: string | undefined;
}

/** `Team` and its own operations, and `teamName` on the fleet's `Host`. */
export function addTeams(builder: AccountsBuilder) {
  const TeamRoleEnum = builder.enumType('TeamRole', {
    description:
      'Owners do everything in a team. Admins manage its hosts, keys, members and admins. Members use its sandboxes.',
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
        description: 'Null for a platform admin who is not a member, and for an API key.',
        resolve: (team, _args, { viewer }) => (viewer?.kind === 'USER' ? (viewer.roles.get(team.id) ?? null) : null),
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

  const payload = (name: string) =>
    builder
      .objectRef<{ team: TeamRow }>(name)
      .implement({ fields: (t) => ({ team: t.expose('team', { type: Team }) }) });
  const CreateTeamInput = builder.inputType('CreateTeamInput', {
    fields: (t) => ({ name: t.string({ required: true }), idempotencyKey: t.string() }),
  });
  const RenameTeamInput = builder.inputType('RenameTeamInput', {
    fields: (t) => ({ teamId: t.id({ required: true }), name: t.string({ required: true }) }),
  });
  const SetTeamByocInput = builder.inputType('SetTeamByocInput', {
    fields: (t) => ({ teamId: t.id({ required: true }), isByoc: t.boolean({ required: true }) }),
  });

  builder.queryFields((t) => ({
    team: t.field({
      type: Team,
      nullable: true,
      args: { id: t.arg.id({ required: true }) },
      resolve: (_root, { id }, { loaders }) => loaders.team.load(fromGlobalId('Team', id) ?? NO_SUCH_ROW),
    }),
    teams: t.connection(
      {
        type: Team,
        description: 'The viewer’s teams; all teams for a platform admin.',
        args: { search: t.arg.string({ description: 'Part of a name.' }) },
        resolve: (_root, { search, ...args }, { viewer, services }) => {
          const filter = { search: search ?? undefined };
          return listConnection(services.hub, args, filter, (page) => services.teams.list(viewer, filter.search, page));
        },
      },
      {
        name: 'TeamConnection',
        fields: (t) => ({
          totalCount: t.int({
            resolve: (connection, _args, { viewer, services }) =>
              services.teams.count(viewer, listingOf<TeamFilter>(connection).filter.search),
          }),
          eventCursor: t.string({
            description: 'Give it to `teamChanged(after:)` to hear of everything that comes after this list.',
            resolve: (connection) => listingOf<TeamFilter>(connection).eventCursor,
          }),
        }),
      },
      { name: 'TeamEdge' },
    ),
  }));

  builder.mutationFields((t) => ({
    createTeam: t.field({
      type: payload('TeamCreated'),
      description: 'Makes a team that the viewer owns.',
      errors: { types: [InvalidInput, IdempotencyKeyReused], union: { name: 'CreateTeamResult' } },
      args: { input: t.arg({ type: CreateTeamInput, required: true }) },
      resolve: async (_root, { input }, context) => {
        const team = await context.services.teams.create(context.viewer, input);
        context.viewer = withRole(person(context.viewer), team.id, 'OWNER');
        return { team };
      },
    }),
    renameTeam: t.field({
      type: payload('TeamRenamed'),
      errors: { types: [InvalidInput, NotFound, NotPermitted], union: { name: 'RenameTeamResult' } },
      args: { input: t.arg({ type: RenameTeamInput, required: true }) },
      resolve: async (_root, { input: { teamId, ...input } }, { viewer, services }) => ({
        team: await services.teams.rename(viewer, fromGlobalId('Team', teamId) ?? NO_SUCH_ROW, input),
      }),
    }),
    setTeamByoc: t.field({
      type: payload('TeamByocSet'),
      description:
        'Lets a team bring its own hosts, or no longer; for platform admins. Without it the team gets no new hosts and nothing is placed on those it has.',
      errors: { types: [NotFound, NotPermitted], union: { name: 'SetTeamByocResult' } },
      args: { input: t.arg({ type: SetTeamByocInput, required: true }) },
      resolve: async (_root, { input: { teamId, isByoc } }, { viewer, services }) => ({
        team: await services.teams.setByoc(viewer, fromGlobalId('Team', teamId) ?? NO_SUCH_ROW, isByoc),
      }),
    }),
  }));

  return { Team, TeamMembership, TeamRole: TeamRoleEnum };
}

export type TeamTypes = ReturnType<typeof addTeams>;
