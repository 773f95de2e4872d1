import { defineEntity, p } from '@mikro-orm/core';

export const UserSchema = defineEntity({
  name: 'User',
  tableName: 'users',
  properties: {
    id: p.uuid().primary(),
    /** Lower case; the sign-in name. */
    email: p.text().unique(),
    name: p.text(),
    /** argon2id in PHC form; null for a user who can only sign in elsewhere. */
    passwordHash: p.text().nullable(),
    isAdmin: p.boolean().default(false),
    createdAt: p.datetime().defaultRaw('now()'),
  },
});

export class User extends UserSchema.class {}
UserSchema.setClass(User);
