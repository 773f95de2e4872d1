import { defineEntity, p } from '@mikro-orm/core';
import type { InferKyselyDB } from '@mikro-orm/sql';
import type { Selectable } from 'kysely';
import type { QUERY_OPTIONS } from '../../database/database.ts';

export const EVENT_SUBJECTS = ['HOST', 'SANDBOX', 'TEAM', 'AUDIT', 'FLEET'] as const;
export const CHANGE_KINDS = ['CREATED', 'UPDATED', 'DELETED'] as const;

/**
 * The append-only log of everything that happened, written in the transaction of the change.
 *
 * `position` is given after the commit (docs/adr/0003-events-are-sequenced-after-commit.md): readers
 * follow it, and only it.
 */
export const EventSchema = defineEntity({
  name: 'Event',
  tableName: 'events',
  properties: {
    id: p.bigint('number').primary().autoincrement(),
    position: p.bigint('number').nullable().unique(),
    subject: p.enum(EVENT_SUBJECTS),
    subjectId: p.uuid(),
    change: p.enum(CHANGE_KINDS),
    /** The subject's revision after the change. */
    revision: p.integer(),
    /** Whom it concerns; null for what only platform admins see. */
    teamId: p.uuid().nullable(),
    /** The host itself, or the sandbox's host. */
    hostId: p.uuid().nullable(),
    /** The subject's row after the change. */
    state: p.json<Record<string, unknown>>(),
    /** In the field's words: `host.registered`, `sandbox.destroy_requested`. */
    type: p.text(),
    /** `user:<id>`, `host:<id>` or `control`. */
    actor: p.text(),
    at: p.datetime().defaultRaw('clock_timestamp()'),
  },
  indexes: [
    {
      name: 'events_unsequenced',
      expression: 'create index "events_unsequenced" on "events" ("id") where "position" is null',
    },
    { name: 'events_subject', properties: ['subjectId', 'position'] },
  ],
});

export class Event extends EventSchema.class {}
EventSchema.setClass(Event);

/** The position that was given out last. In a row of its own, so that it outlives the events it numbered. */
export const EventHeadSchema = defineEntity({
  name: 'EventHead',
  tableName: 'event_head',
  properties: {
    /** Always 1. */
    id: p.integer().primary(),
    position: p.bigint('number'),
  },
});

export class EventHead extends EventHeadSchema.class {}
EventHeadSchema.setClass(EventHead);

export type EventTables = InferKyselyDB<typeof EventSchema | typeof EventHeadSchema, typeof QUERY_OPTIONS>;
export type EventRow = Selectable<EventTables['Event']>;
