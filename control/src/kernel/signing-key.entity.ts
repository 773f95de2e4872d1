import { defineEntity, p } from '@mikro-orm/core';
import type { JWK } from 'jose';

/** A key that control signs tokens with. Kept in the database so that every replica has the same. */
export const SigningKeySchema = defineEntity({
  name: 'SigningKey',
  tableName: 'signing_keys',
  properties: {
    kid: p.text().primary(),
    purpose: p.enum(['SESSION', 'HOST'] as const),
    privateJwk: p.json<JWK>(),
    publicJwk: p.json<JWK>(),
    createdAt: p.datetime().defaultRaw('now()'),
  },
});

export class SigningKey extends SigningKeySchema.class {}
SigningKeySchema.setClass(SigningKey);
