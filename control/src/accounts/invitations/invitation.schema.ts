import { fromGlobalId, NO_SUCH_ROW, toGlobalId } from '../../kernel/global-id.ts';
import { InvalidInput, NotFound, NotPermitted, UserError } from '../../kernel/user-errors.ts';
import { person } from '../../kernel/authority.ts';
import { withRole, type AccountsBuilder } from '../builder.ts';
import { InvalidCredentials } from '../sessions/session.service.ts';
import type { SessionTypes } from '../sessions/session.schema.ts';
import { TooManyAttempts } from '../sessions/sign-in-throttle.ts';
import type { InvitationRow, TeamRow } from '../tables.ts';
import { AlreadyMember } from '../teams/member.service.ts';
import type { TeamTypes } from '../teams/team.schema.ts';
import type { addUsers } from '../users/user.schema.ts';
import { InvitationForSomeoneElse, type AcceptedInvitation, type CreatedInvitation } from './invitation.service.ts';

/** Invitations into teams. */
export function addInvitations(
  builder: AccountsBuilder,
  User: ReturnType<typeof addUsers>,
  { Team, TeamRole }: TeamTypes,
  { SignedIn, Viewer }: SessionTypes,
): void {
  builder.objectType(InvitationForSomeoneElse, { name: 'InvitationForSomeoneElse', interfaces: [UserError] });

  const Invitation = builder.objectRef<InvitationRow>('Invitation').implement({
    description: 'An offer to join a team, for a week.',
    fields: (t) => ({
      id: t.id({ resolve: ({ id }) => toGlobalId('Invitation', id) }),
      email: t.exposeString('email'),
      role: t.expose('role', { type: TeamRole }),
      createdAt: t.expose('createdAt', { type: 'DateTime' }),
      expiresAt: t.expose('expiresAt', { type: 'DateTime' }),
      invitedBy: t.field({
        type: User,
        nullable: true,
        resolve: ({ invitedBy }, _args, { loaders }) => loaders.user.load(invitedBy),
      }),
    }),
  });
  builder.objectField(Team, 'invitations', (t) =>
    t.field({
      type: [Invitation],
      description: 'Open ones; for owners and admins, empty for everyone else.',
      resolve: (team, _args, { viewer, services }) => (viewer ? services.invitations.ofTeam(viewer, team.id) : []),
    }),
  );

  const InvitationPreview = builder
    .objectRef<{ invitation: InvitationRow; team: TeamRow }>('InvitationPreview')
    .implement({
      description: 'What an invitation is for, to whoever holds its token.',
      fields: (t) => ({
        teamName: t.string({ resolve: ({ team }) => team.name }),
        email: t.string({ resolve: ({ invitation }) => invitation.email }),
        role: t.field({ type: TeamRole, resolve: ({ invitation }) => invitation.role }),
        expiresAt: t.field({ type: 'DateTime', resolve: ({ invitation }) => invitation.expiresAt }),
        invitedBy: t.string({
          nullable: true,
          description: 'The name of whoever invites; null when they have left meanwhile.',
          // Its reader may see nobody yet, but is asked by this person.
          resolve: async ({ invitation }, _args, { services }) =>
            (await services.users.byIds([invitation.invitedBy]))[0]?.name ?? null,
        }),
      }),
    });
  const PendingInvitation = builder.objectRef<InvitationRow>('PendingInvitation').implement({
    description: 'An invitation to the viewer’s own, verified address.',
    fields: (t) => ({
      id: t.id({ resolve: ({ id }) => toGlobalId('Invitation', id) }),
      teamName: t.string({
        // Of a team that the viewer may not know of yet, but is invited into.
        resolve: async ({ teamId }, _args, { services }) => (await services.teams.byIds([teamId]))[0]?.name ?? '',
      }),
      role: t.expose('role', { type: TeamRole }),
      expiresAt: t.expose('expiresAt', { type: 'DateTime' }),
    }),
  });
  builder.objectField(Viewer, 'invitations', (t) =>
    t.field({
      type: [PendingInvitation],
      resolve: (viewer, _args, { services }) => services.invitations.pendingFor(viewer),
    }),
  );

  builder.queryFields((t) => ({
    invitation: t.field({
      type: InvitationPreview,
      nullable: true,
      description: 'Null for a token that is unknown, spent, taken back or too old.',
      args: { token: t.arg.string({ required: true }) },
      resolve: async (_root, { token }, { services }) => {
        try {
          return await services.invitations.preview(token);
        } catch (error) {
          if (error instanceof NotFound) return null;
          throw error;
        }
      },
    }),
  }));

  const TeamMemberInvited = builder.objectRef<CreatedInvitation>('TeamMemberInvited').implement({
    fields: (t) => ({
      invitation: t.expose('invitation', { type: Invitation }),
      token: t.exposeString('token', { description: 'Shown only now; hand it to the person.' }),
      acceptPath: t.string({
        description: 'Where in the dashboard it is accepted.',
        resolve: ({ token }) => `/invitations/${token}`,
      }),
    }),
  });
  const InvitationAccepted = builder.objectRef<AcceptedInvitation>('InvitationAccepted').implement({
    fields: (t) => ({
      team: t.expose('team', { type: Team }),
      signedIn: t.expose('signedIn', {
        type: SignedIn,
        nullable: true,
        description: 'A session, when nobody was signed in.',
      }),
    }),
  });
  const InvitationCanceled = builder.objectRef<{ invitation: InvitationRow }>('InvitationCanceled').implement({
    fields: (t) => ({ invitation: t.expose('invitation', { type: Invitation }) }),
  });

  const AddTeamMemberInput = builder.inputType('AddTeamMemberInput', {
    fields: (t) => ({
      teamId: t.id({ required: true }),
      email: t.string({ required: true }),
      role: t.field({ type: TeamRole, required: true }),
    }),
  });
  const AcceptInvitationInput = builder.inputType('AcceptInvitationInput', {
    fields: (t) => ({
      token: t.string({ description: 'From the invitation; or give `invitationId`.' }),
      invitationId: t.id({ description: 'Of an invitation to the viewer’s own, verified address.' }),
      name: t.string({ description: 'Of a new account.' }),
      password: t.string({
        description: 'Of a new account, or of the one that the address has. Not needed when signed in.',
      }),
    }),
  });
  const CancelInvitationInput = builder.inputType('CancelInvitationInput', {
    fields: (t) => ({ invitationId: t.id({ required: true }) }),
  });

  builder.mutationFields((t) => ({
    addTeamMember: t.field({
      type: TeamMemberInvited,
      description:
        'Invites an address into a team. It looks the same whether or not the address has an account; a second invitation replaces the first.',
      errors: { types: [InvalidInput, NotFound, NotPermitted, AlreadyMember], union: { name: 'AddTeamMemberResult' } },
      args: { input: t.arg({ type: AddTeamMemberInput, required: true }) },
      resolve: (_root, { input: { teamId, ...input } }, { viewer, services }) =>
        services.invitations.invite(viewer, fromGlobalId('Team', teamId) ?? NO_SUCH_ROW, input),
    }),
    acceptInvitation: t.field({
      type: InvitationAccepted,
      errors: {
        types: [InvalidInput, NotFound, AlreadyMember, InvitationForSomeoneElse, InvalidCredentials, TooManyAttempts],
        union: { name: 'AcceptInvitationResult' },
      },
      args: { input: t.arg({ type: AcceptInvitationInput, required: true }) },
      resolve: async (_root, { input: { invitationId, ...input } }, context) => {
        const { viewer, caller, services } = context;
        const accepted =
          invitationId == null
            ? await services.invitations.accept(viewer, input, caller)
            : await services.invitations.acceptOwn(viewer, fromGlobalId('Invitation', invitationId) ?? NO_SUCH_ROW);
        const { team, role, signedIn } = accepted;
        context.viewer = signedIn?.viewer ?? withRole(person(viewer), team.id, role);
        return accepted;
      },
    }),
    cancelInvitation: t.field({
      type: InvitationCanceled,
      description: 'Takes an invitation back, or declines one’s own.',
      errors: { types: [NotFound, NotPermitted], union: { name: 'CancelInvitationResult' } },
      args: { input: t.arg({ type: CancelInvitationInput, required: true }) },
      resolve: async (_root, { input: { invitationId } }, { viewer, services }) => ({
        invitation: await services.invitations.cancel(viewer, fromGlobalId('Invitation', invitationId) ?? NO_SUCH_ROW),
      }),
    }),
  }));
}
