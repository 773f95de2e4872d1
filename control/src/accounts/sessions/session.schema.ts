import { fromGlobalId, NO_SUCH_ROW, toGlobalId } from '../../kernel/global-id.ts';
import { InvalidInput, NotFound, UserError } from '../../kernel/user-errors.ts';
import type { Viewer as ViewerRecord } from '../../kernel/viewer.ts';
import type { AccountsBuilder } from '../builder.ts';
import type { SessionRow, UserRow } from '../tables.ts';
import type { TeamTypes } from '../teams/team.schema.ts';
import type { addUsers } from '../users/user.schema.ts';
import type { SignInMethod as SignInMethodName } from './session.entity.ts';
import { InvalidCredentials, type Refreshed, type SignedIn as SignedInRecord } from './session.service.ts';
import { TooManyAttempts } from './sign-in-throttle.ts';

/** `viewer`, and signing in and out. */
export function addSessions(
  builder: AccountsBuilder,
  User: ReturnType<typeof addUsers>,
  { TeamMembership }: TeamTypes,
) {
  const SignInMethod = builder.enumType('SignInMethod', {
    values: ['PASSWORD', 'OIDC', 'INVITATION'] as const satisfies readonly SignInMethodName[],
  });
  const Session = builder.objectRef<SessionRow>('Session').implement({
    description: 'One sign-in of the viewer’s.',
    fields: (t) => ({
      id: t.id({ resolve: ({ id }) => toGlobalId('Session', id) }),
      method: t.expose('method', { type: SignInMethod }),
      address: t.exposeString('address', { nullable: true, description: 'Where it began.' }),
      userAgent: t.exposeString('userAgent', { nullable: true }),
      createdAt: t.expose('createdAt', { type: 'DateTime' }),
      lastUsedAt: t.expose('lastUsedAt', { type: 'DateTime', nullable: true, description: 'To the minute.' }),
      expiresAt: t.expose('expiresAt', { type: 'DateTime' }),
      isCurrent: t.boolean({
        description: 'Whether it is the one that asks.',
        resolve: ({ id }, _args, { viewer }) => viewer?.kind === 'USER' && viewer.sessionId === id,
      }),
    }),
  });

  const Viewer = builder.objectRef<ViewerRecord>('Viewer').implement({
    description: 'Whoever asks, and what they belong to: a person, or a program with an API key.',
    fields: (t) => ({
      user: t.field({
        type: User,
        nullable: true,
        description: 'Null for an API key.',
        // Not through the loader: during a sign-in the request itself has no viewer yet.
        resolve: async (viewer, _args, { services }) =>
          viewer.kind === 'USER' ? ((await services.users.byIds([viewer.id]))[0] as UserRow) : null,
      }),
      isAdmin: t.exposeBoolean('isAdmin', { description: 'Whether they administer the whole platform.' }),
      memberships: t.field({
        type: [TeamMembership],
        description: 'Empty for an API key, which is no member.',
        resolve: async (viewer, _args, { services }) => {
          if (viewer.kind !== 'USER') return [];
          const teams = await services.teams.byIds([...viewer.roles.keys()]);
          return teams
            .sort((a, b) => a.name.localeCompare(b.name) || a.id.localeCompare(b.id))
            .flatMap((team) => {
              const role = viewer.roles.get(team.id);
              return role ? [{ team, role }] : [];
            });
        },
      }),
      sessions: t.field({
        type: [Session],
        description: 'The viewer’s sign-ins that are still good, newest first.',
        resolve: (viewer, _args, { services }) => (viewer.kind === 'USER' ? services.sessions.list(viewer) : []),
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
      token: t.exposeString('token', { description: 'A short-lived token; send it as `Authorization: Bearer …`.' }),
      expiresAt: t.expose('expiresAt', { type: 'DateTime', description: 'Of the token.' }),
      refreshToken: t.exposeString('refreshToken', { description: 'Trade it for new tokens with `refreshSession`.' }),
      refreshTokenExpiresAt: t.expose('refreshTokenExpiresAt', { type: 'DateTime', description: 'Of the session.' }),
      viewer: t.expose('viewer', { type: Viewer }),
    }),
  });
  const SessionRefreshed = builder.objectRef<Refreshed>('SessionRefreshed').implement({
    fields: (t) => ({
      token: t.exposeString('token'),
      expiresAt: t.expose('expiresAt', { type: 'DateTime' }),
      refreshTokenExpiresAt: t.expose('refreshTokenExpiresAt', { type: 'DateTime' }),
      viewer: t.expose('viewer', { type: Viewer }),
    }),
  });
  const SessionEnded = builder.objectRef<{ sessionId: string }>('SessionEnded').implement({
    fields: (t) => ({ sessionId: t.exposeID('sessionId') }),
  });

  const SignInInput = builder.inputType('SignInInput', {
    fields: (t) => ({ email: t.string({ required: true }), password: t.string({ required: true }) }),
  });
  const RefreshSessionInput = builder.inputType('RefreshSessionInput', {
    fields: (t) => ({ refreshToken: t.string({ required: true }) }),
  });
  const EndSessionInput = builder.inputType('EndSessionInput', {
    fields: (t) => ({ sessionId: t.id({ required: true }) }),
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
      errors: { types: [InvalidCredentials, TooManyAttempts, InvalidInput], union: { name: 'SignInResult' } },
      args: { input: t.arg({ type: SignInInput, required: true }) },
      resolve: (_root, { input }, { caller, services }) => services.sessions.signIn(input, caller),
    }),
    refreshSession: t.field({
      type: SessionRefreshed,
      description: 'A new token for a session that goes on.',
      errors: { types: [InvalidCredentials, InvalidInput], union: { name: 'RefreshSessionResult' } },
      args: { input: t.arg({ type: RefreshSessionInput, required: true }) },
      resolve: (_root, { input }, { services }) => services.sessions.refresh(input),
    }),
    signOut: t.boolean({
      description: 'Ends this session; its tokens are refused from now on.',
      resolve: async (_root, _args, { viewer, services }) => {
        await services.sessions.signOut(viewer);
        return true;
      },
    }),
    signOutEverywhere: t.int({
      description: 'Ends all of the viewer’s sessions, this one included; answers with how many.',
      resolve: (_root, _args, { viewer, services }) => services.sessions.signOutEverywhere(viewer),
    }),
    endSession: t.field({
      type: SessionEnded,
      errors: { types: [NotFound], union: { name: 'EndSessionResult' } },
      args: { input: t.arg({ type: EndSessionInput, required: true }) },
      resolve: async (_root, { input: { sessionId } }, { viewer, services }) => {
        await services.sessions.end(viewer, fromGlobalId('Session', sessionId) ?? NO_SUCH_ROW);
        return { sessionId: String(sessionId) };
      },
    }),
  }));
  return { Viewer, SignedIn };
}

export type SessionTypes = ReturnType<typeof addSessions>;
