import { defineEntity, p } from '@mikro-orm/core';

export const SIGN_IN_METHODS = ['PASSWORD', 'OIDC', 'INVITATION'] as const;
export type SignInMethod = (typeof SIGN_IN_METHODS)[number];

/** One sign-in. Tokens name it, so that signing out takes effect at once. */
export const SessionSchema = defineEntity({
  name: 'Session',
  tableName: 'sessions',
  properties: {
    id: p.uuid().primary(),
    userId: p.uuid().index(),
    /** Of the secret that browsers keep in their cookie and programs trade for access tokens. */
    secretHash: p.text().nullable().unique(),
    method: p.enum(SIGN_IN_METHODS).default('PASSWORD'),
    /** Where it began. */
    address: p.text().nullable(),
    userAgent: p.text().nullable(),
    createdAt: p.datetime().defaultRaw('now()'),
    /** To the minute. */
    lastUsedAt: p.datetime().nullable(),
    expiresAt: p.datetime(),
    revokedAt: p.datetime().nullable(),
  },
});

export class Session extends SessionSchema.class {}
SessionSchema.setClass(Session);
