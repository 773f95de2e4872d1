import { defineEntity, p } from '@mikro-orm/core';
import type { InferKyselyDB } from '@mikro-orm/sql';
import type { Selectable } from 'kysely';
import type { QUERY_OPTIONS } from '../../database/database.ts';
import { AUDIT_ACTOR_KINDS, AUDIT_OUTCOMES } from './audit.ts';

/**
 * Who did what to which thing, from where, and how it ended.
 *
 * A mutation's row is written before the mutation runs and completed after it, so that nothing can
 * be done without a trace: a row without an outcome is one whose process ended in the middle.
 */
export const AuditEventSchema = defineEntity({
  name: 'AuditEvent',
  tableName: 'audit_events',
  properties: {
    /** Time-ordered. */
    id: p.uuid().primary(),
    at: p.datetime().defaultRaw('clock_timestamp()'),
    actorKind: p.enum(AUDIT_ACTOR_KINDS),
    actorId: p.uuid().nullable(),
    /** An e-mail address, a key's prefix and name, a host's name: readable after the actor is gone. */
    actorLabel: p.text().nullable(),
    /** A mutation's name, or a security event: `token.refused`. */
    action: p.text(),
    resourceType: p.text().nullable(),
    resourceId: p.uuid().nullable(),
    /** Whose trail it belongs to; null for what only platform admins see. */
    teamId: p.uuid().nullable(),
    outcome: p.enum(AUDIT_OUTCOMES).nullable(),
    /** Of the refusal or failure: `NOT_PERMITTED`. */
    code: p.text().nullable(),
    /** Harmless parts of the input, for example the new role. */
    detail: p.json<Record<string, unknown>>(),
    address: p.text().nullable(),
    userAgent: p.text().nullable(),
    completedAt: p.datetime().nullable(),
    /** 1 until it is complete, then 2. */
    revision: p.integer().default(1),
  },
  indexes: [
    { name: 'audit_events_team', properties: ['teamId', 'id'] },
    { name: 'audit_events_actor', properties: ['actorId', 'id'] },
    { name: 'audit_events_resource', properties: ['resourceId', 'id'] },
  ],
});

export class AuditEvent extends AuditEventSchema.class {}
AuditEventSchema.setClass(AuditEvent);

export type AuditTables = InferKyselyDB<typeof AuditEventSchema, typeof QUERY_OPTIONS>;
export type AuditEventRow = Selectable<AuditTables['AuditEvent']>;
