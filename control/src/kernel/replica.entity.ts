import { defineEntity, p } from '@mikro-orm/core';

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
  },
});

export class Replica extends ReplicaSchema.class {}
ReplicaSchema.setClass(Replica);
