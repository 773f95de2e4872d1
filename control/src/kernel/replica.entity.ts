import { defineEntity, p } from '@mikro-orm/core';

/** A running control process. A row that is not renewed is one that died. */
export const ReplicaSchema = defineEntity({
  name: 'Replica',
  tableName: 'replicas',
  properties: {
    id: p.uuid().primary(),
    startedAt: p.datetime().defaultRaw('now()'),
    seenAt: p.datetime().defaultRaw('now()'),
  },
});

export class Replica extends ReplicaSchema.class {}
ReplicaSchema.setClass(Replica);
