import { signedIn } from '../../kernel/authority.ts';
import { InvalidInput, UserError } from '../../kernel/user-errors.ts';
import type { Viewer as ViewerRecord } from '../../kernel/viewer.ts';
import type { AccountsBuilder } from '../builder.ts';
import type { UserRow } from '../tables.ts';
import type { addTeams } from '../teams/team.schema.ts';
import type { addUsers } from '../users/user.schema.ts';
import { InvalidCredentials, type SignedIn as SignedInRecord } from './session.service.ts';

/** `viewer`, `signIn` and `signOut`. */
export function addSessions(
  builder: AccountsBuilder,
  User: ReturnType<typeof addUsers>,
  { TeamMembership }: ReturnType<typeof addTeams>,
): void {
  const Viewer = builder.objectRef<ViewerRecord>('Viewer').implement({
    description: 'Whoever is signed in, and what they belong to.',
    fields: (t) => ({
      user: t.field({
        type: User,
        // Not through the loader: during a sign-in the request itself has no viewer yet.
        resolve: async (viewer, _args, { services }) => (await services.users.byIds([viewer.userId]))[0] as UserRow,
      }),
      isAdmin: t.exposeBoolean('isAdmin', { description: 'Whether they administer the whole platform.' }),
      memberships: t.field({
        type: [TeamMembership],
        resolve: async (viewer, _args, { services }) => {
          const teams = await services.teams.visible(viewer, [...viewer.roles.keys()]);
          return teams
            .sort((a, b) => a.name.localeCompare(b.name))
            .flatMap((team) => {
              const role = viewer.roles.get(team.id);
              return role ? [{ team, role }] : [];
            });
        },
      }),
    }),
  });

  builder.objectType(InvalidCredentials, {
    name: 'InvalidCredentials',
    description: 'Wrong e-mail or wrong password; which one is not said.',
    interfaces: [UserError],
  });

  const SignedIn = builder.objectRef<SignedInRecord>('SignedIn').implement({
    fields: (t) => ({
      token: t.exposeString('token', { description: 'Send it as `Authorization: Bearer …`.' }),
      expiresAt: t.expose('expiresAt', { type: 'DateTime' }),
      viewer: t.expose('viewer', { type: Viewer }),
    }),
  });

  const SignInInput = builder.inputType('SignInInput', {
    fields: (t) => ({ email: t.string({ required: true }), password: t.string({ required: true }) }),
  });

  builder.queryFields((t) => ({
    viewer: t.field({
      type: Viewer,
      nullable: true,
      description: 'Null when nobody is signed in.',
      resolve: (_root, _args, { viewer }) => viewer,
    }),
  }));

  builder.mutationFields((t) => ({
    signIn: t.field({
      type: SignedIn,
      errors: { types: [InvalidCredentials, InvalidInput], union: { name: 'SignInResult' } },
      args: { input: t.arg({ type: SignInInput, required: true }) },
      resolve: (_root, { input }, { services }) => services.sessions.signIn(input),
    }),
    signOut: t.boolean({
      description: 'Ends this session; its token is refused from now on.',
      resolve: async (_root, _args, { viewer, services }) => {
        await services.sessions.signOut(signedIn(viewer));
        return true;
      },
    }),
  }));
}
