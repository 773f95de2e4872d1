import { fromGlobalId, NO_SUCH_ROW } from '../../kernel/global-id.ts';
import { listConnection, listingOf } from '../../kernel/connection.ts';
import { InvalidInput, NotFound, UserError } from '../../kernel/user-errors.ts';
import type { AccountsBuilder } from '../builder.ts';
import { TooManyAttempts } from '../sessions/sign-in-throttle.ts';
import type { UserRow } from '../tables.ts';
import { LastAdmin, WrongPassword } from './user.service.ts';

interface UserFilter {
  readonly search: string | undefined;
}

/** `User`, and who is a platform admin. */
export function addUsers(builder: AccountsBuilder) {
  const User = builder.objectRef<UserRow>('User');
  builder.node(User, {
    description: 'A person who can sign in.',
    id: { resolve: (user) => user.id },
    fields: (t) => ({
      email: t.exposeString('email'),
      name: t.exposeString('name'),
      isAdmin: t.exposeBoolean('isAdmin', { description: 'Whether they administer the whole platform.' }),
      createdAt: t.expose('createdAt', { type: 'DateTime' }),
    }),
  });
  builder.asEntity(User, {
    key: builder.selection<{ id: string }>('id'),
    resolveReference: async ({ id }, { loaders }) => {
      const userId = fromGlobalId('User', id);
      return (userId ? await loaders.user.load(userId) : null) as UserRow;
    },
  });

  for (const errorClass of [LastAdmin, WrongPassword])
    builder.objectType(errorClass, { name: errorClass.name, interfaces: [UserError] });
  builder.objectType(TooManyAttempts, {
    name: 'TooManyAttempts',
    interfaces: [UserError],
    fields: (t) => ({ retryAfterSeconds: t.exposeInt('retryAfterSeconds') }),
  });

  const PlatformAdminSet = builder.objectRef<{ user: UserRow }>('PlatformAdminSet').implement({
    fields: (t) => ({ user: t.expose('user', { type: User }) }),
  });
  const PasswordChanged = builder.objectRef<{ user: UserRow }>('PasswordChanged').implement({
    description: 'All other sessions have ended.',
    fields: (t) => ({ user: t.expose('user', { type: User }) }),
  });
  const SetPlatformAdminInput = builder.inputType('SetPlatformAdminInput', {
    fields: (t) => ({ userId: t.id({ required: true }), isAdmin: t.boolean({ required: true }) }),
  });
  const ChangePasswordInput = builder.inputType('ChangePasswordInput', {
    fields: (t) => ({
      currentPassword: t.string({ required: true, description: 'Anything, for someone who has none yet.' }),
      newPassword: t.string({ required: true, description: 'At least 8 characters.' }),
    }),
  });

  builder.queryFields((t) => ({
    users: t.connection(
      {
        type: User,
        description: 'Everyone who can sign in; for platform admins.',
        args: { search: t.arg.string({ description: 'Part of an e-mail address or a name.' }) },
        resolve: (_root, { search, ...args }, { viewer, services }) => {
          const filter = { search: search ?? undefined };
          return listConnection(services.hub, args, filter, (page) => services.users.list(viewer, filter.search, page));
        },
      },
      {
        name: 'UserConnection',
        fields: (t) => ({
          totalCount: t.int({
            resolve: (connection, _args, { viewer, services }) =>
              services.users.count(viewer, listingOf<UserFilter>(connection).filter.search),
          }),
        }),
      },
      { name: 'UserEdge' },
    ),
  }));

  builder.mutationFields((t) => ({
    changePassword: t.field({
      type: PasswordChanged,
      errors: { types: [WrongPassword, TooManyAttempts, InvalidInput], union: { name: 'ChangePasswordResult' } },
      args: { input: t.arg({ type: ChangePasswordInput, required: true }) },
      resolve: async (_root, { input }, { viewer, caller, services }) => ({
        user: await services.users.changePassword(viewer, input, caller),
      }),
    }),
    setPlatformAdmin: t.field({
      type: PlatformAdminSet,
      description: 'Makes someone a platform admin, or no longer one; for platform admins.',
      errors: { types: [NotFound, LastAdmin], union: { name: 'SetPlatformAdminResult' } },
      args: { input: t.arg({ type: SetPlatformAdminInput, required: true }) },
      resolve: async (_root, { input: { userId, isAdmin } }, { viewer, services }) => ({
        user: await services.users.setAdmin(viewer, fromGlobalId('User', userId) ?? NO_SUCH_ROW, isAdmin),
      }),
    }),
  }));
  return User;
}
