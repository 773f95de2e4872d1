import { defineEntity, p } from '@mikro-orm/core';

export const UserSchema = defineEntity({
  name: 'User',
  tableName: 'users',
  properties: {
    id: p.uuid().primary(),
    /** Lower case; the sign-in name. */
    email: p.text().unique(),
    /** When a provider vouched that the address is theirs; null while only they say so. */
    emailVerifiedAt: p.datetime().nullable(),
    name: p.text(),
    /** argon2id in PHC form; null for a user who can only sign in elsewhere. */
    passwordHash: p.text().nullable(),
    isAdmin: p.boolean().default(false),
    createdAt: p.datetime().defaultRaw('now()'),
  },
});

export class User extends UserSchema.class {}
UserSchema.setClass(User);

/** Somebody's account at an OpenID Connect provider. */
export const UserIdentitySchema = defineEntity({
  name: 'UserIdentity',
  tableName: 'user_identities',
  properties: {
    id: p.uuid().primary(),
    userId: p.uuid().index(),
    issuer: p.text(),
    /** The provider's name for them; never changes, unlike the address. */
    subject: p.text(),
    createdAt: p.datetime().defaultRaw('now()'),
  },
  uniques: [{ name: 'user_identities_subject', properties: ['issuer', 'subject'] }],
});

export class UserIdentity extends UserIdentitySchema.class {}
UserIdentitySchema.setClass(UserIdentity);
