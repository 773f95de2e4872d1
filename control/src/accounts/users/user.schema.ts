import { fromGlobalId } from '../../kernel/global-id.ts';
import type { AccountsBuilder } from '../builder.ts';
import type { UserRow } from '../tables.ts';

/** `User`. */
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
    // Users are visible to themselves and to platform admins, until teams show their members.
    resolveReference: async ({ id }, { viewer, loaders }) => {
      const userId = fromGlobalId('User', id);
      if (!userId || !viewer || (viewer.userId !== userId && !viewer.isAdmin)) return null as never;
      return (await loaders.user.load(userId)) as UserRow;
    },
  });
  return User;
}
