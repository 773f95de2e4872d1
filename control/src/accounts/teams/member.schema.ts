import { idArgument } from '../../kernel/connection.ts';
import { CHANGE_KIND_ENUM, type StreamItem } from '../../kernel/events/change-stream.ts';
import { fromGlobalId, NO_SUCH_ROW, toGlobalId } from '../../kernel/global-id.ts';
import { NotFound, NotPermitted, UserError } from '../../kernel/user-errors.ts';
import type { AccountsBuilder } from '../builder.ts';
import type { MembershipRow, TeamRow } from '../tables.ts';
import type { addUsers } from '../users/user.schema.ts';
import { AlreadyMember, LastOwner } from './member.service.ts';
import type { TeamTypes } from './team.schema.ts';
import { teamChanges } from './team.stream.ts';

/** Members of teams, and `teamChanged`. */
export function addMembers(builder: AccountsBuilder, User: ReturnType<typeof addUsers>, teams: TeamTypes) {
  const { Team, TeamRole } = teams;
  for (const errorClass of [LastOwner, AlreadyMember])
    builder.objectType(errorClass, { name: errorClass.name, interfaces: [UserError] });

  const TeamMember = builder.objectRef<MembershipRow>('TeamMember').implement({
    fields: (t) => ({
      user: t.field({
        type: User,
        nullable: true,
        description: 'Null when they have left meanwhile.',
        resolve: ({ userId }, _args, { loaders }) => loaders.user.load(userId),
      }),
      role: t.expose('role', { type: TeamRole }),
      joinedAt: t.expose('createdAt', { type: 'DateTime' }),
    }),
  });
  builder.objectField(Team, 'members', (t) =>
    t.field({
      type: [TeamMember],
      description: 'Longest-serving first.',
      resolve: (team, _args, { loaders }) => loaders.members.load(team.id),
    }),
  );

  const payload = (name: string) =>
    builder.objectRef<MembershipRow>(name).implement({
      fields: (t) => ({
        team: t.field({
          type: Team,
          nullable: true,
          description: 'Null when the viewer may not know of it any more.',
          resolve: ({ teamId }, _args, { loaders }) => loaders.team.load(teamId),
        }),
        userId: t.id({ resolve: ({ userId }) => toGlobalId('User', userId) }),
      }),
    });
  const UpdateTeamMemberRoleInput = builder.inputType('UpdateTeamMemberRoleInput', {
    fields: (t) => ({
      teamId: t.id({ required: true }),
      userId: t.id({ required: true }),
      role: t.field({ type: TeamRole, required: true }),
    }),
  });
  const RemoveTeamMemberInput = builder.inputType('RemoveTeamMemberInput', {
    fields: (t) => ({ teamId: t.id({ required: true }), userId: t.id({ required: true }) }),
  });
  const LeaveTeamInput = builder.inputType('LeaveTeamInput', { fields: (t) => ({ teamId: t.id({ required: true }) }) });

  builder.mutationFields((t) => ({
    updateTeamMemberRole: t.field({
      type: payload('TeamMemberRoleUpdated'),
      errors: { types: [NotFound, NotPermitted, LastOwner], union: { name: 'UpdateTeamMemberRoleResult' } },
      args: { input: t.arg({ type: UpdateTeamMemberRoleInput, required: true }) },
      resolve: (_root, { input: { teamId, userId, role } }, { viewer, services }) =>
        services.members.updateRole(
          viewer,
          fromGlobalId('Team', teamId) ?? NO_SUCH_ROW,
          fromGlobalId('User', userId) ?? NO_SUCH_ROW,
          role,
        ),
    }),
    removeTeamMember: t.field({
      type: payload('TeamMemberRemoved'),
      errors: { types: [NotFound, NotPermitted, LastOwner], union: { name: 'RemoveTeamMemberResult' } },
      args: { input: t.arg({ type: RemoveTeamMemberInput, required: true }) },
      resolve: (_root, { input: { teamId, userId } }, { viewer, services }) =>
        services.members.remove(
          viewer,
          fromGlobalId('Team', teamId) ?? NO_SUCH_ROW,
          fromGlobalId('User', userId) ?? NO_SUCH_ROW,
        ),
    }),
    leaveTeam: t.field({
      type: payload('TeamLeft'),
      errors: { types: [NotFound, LastOwner], union: { name: 'LeaveTeamResult' } },
      args: { input: t.arg({ type: LeaveTeamInput, required: true }) },
      resolve: (_root, { input: { teamId } }, { viewer, services }) =>
        services.members.leave(viewer, fromGlobalId('Team', teamId) ?? NO_SUCH_ROW),
    }),
  }));

  const ChangeKind = builder.enumType('ChangeKind', CHANGE_KIND_ENUM);
  const TeamChange = builder.objectRef<StreamItem<TeamRow>>('TeamChange').implement({
    description: 'One change of a team, its members, invitations or keys, or a word about the stream itself.',
    fields: (t) => ({
      kind: t.expose('kind', { type: ChangeKind }),
      cursor: t.exposeString('cursor', { description: 'Subscribe with `after` set to this to go on from here.' }),
      teamId: t.id({ nullable: true, resolve: ({ id }) => (id === null ? null : toGlobalId('Team', id)) }),
      team: t.field({ type: Team, nullable: true, resolve: ({ row }) => row }),
    }),
  });
  builder.subscriptionFields((t) => ({
    teamChanged: t.field({
      type: TeamChange,
      description: 'Without `after`: from now on. With it: everything since, or a RESET when that is past retention.',
      args: { after: t.arg.string(), teamId: t.arg.id() },
      subscribe: (_root, { after, teamId }, context) =>
        teamChanges(context, { after: after ?? undefined, teamId: idArgument('Team', teamId) }),
      resolve: (item) => item,
    }),
  }));
  return { ChangeKind };
}
