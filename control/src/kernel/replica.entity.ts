import { defineEntity, p } from '@mikro-orm/core';
import type { LoopStatus } from './loops.ts';

/** A running control process. A row that is not renewed is one that died. */
export const ReplicaSchema = defineEntity({
  name: 'Replica',
  tableName: 'replicas',
  properties: {
    id: p.uuid().primary(),
    /** Where the other replicas reach this one; null when they cannot. */
    address: p.text().nullable(),
    startedAt: p.datetime().defaultRaw('now()'),
    seenAt: p.datetime().defaultRaw('now()'),
    /** How the last passes of its loops went; its dates are strings here. */
    loops: p.json<LoopStatus[]>().defaultRaw(`'[]'::jsonb`),
  },
});

export class Replica extends ReplicaSchema.class {}
ReplicaSchema.setClass(Replica);
