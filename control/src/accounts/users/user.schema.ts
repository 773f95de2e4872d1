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
    resolveReference: async ({ id }, { loaders }) => {
      const userId = fromGlobalId('User', id);
      return (userId ? await loaders.user.load(userId) : null) as UserRow;
    },
  });
  return User;
}
