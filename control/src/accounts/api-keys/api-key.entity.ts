import { defineEntity, p } from '@mikro-orm/core';
import type { ApiKeyScope } from '../../kernel/viewer.ts';

/** A secret by which a program acts for a team. Only its hash is kept. */
export const ApiKeySchema = defineEntity({
  name: 'ApiKey',
  tableName: 'api_keys',
  properties: {
    id: p.uuid().primary(),
    teamId: p.uuid().index(),
    name: p.text(),
    /** The beginning of the secret, by which people tell keys apart. */
    prefix: p.text(),
    hash: p.text().unique(),
    scopes: p.json<ApiKeyScope[]>(),
    expiresAt: p.datetime().nullable(),
    /** To the minute. */
    lastUsedAt: p.datetime().nullable(),
    lastUsedAddress: p.text().nullable(),
    createdBy: p.uuid(),
    createdAt: p.datetime().defaultRaw('now()'),
    revokedAt: p.datetime().nullable(),
    idempotencyKey: p.text().nullable(),
    /** Hash of the request that the key was first used with. */
    requestHash: p.text().nullable(),
  },
  uniques: [{ name: 'api_keys_idempotency_key', properties: ['createdBy', 'idempotencyKey'] }],
  indexes: [
    {
      name: 'api_keys_name_key',
      expression:
        'create unique index "api_keys_name_key" on "api_keys" ("team_id", "name") where "revoked_at" is null',
    },
  ],
});

export class ApiKey extends ApiKeySchema.class {}
ApiKeySchema.setClass(ApiKey);
