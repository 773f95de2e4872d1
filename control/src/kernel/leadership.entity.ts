import { defineEntity, p } from '@mikro-orm/core';

/** Who judges the fleet, in one row. The epoch grows with every change of hands and is what writes are fenced by. */
export const LeadershipSchema = defineEntity({
  name: 'Leadership',
  tableName: 'leadership',
  properties: {
    /** Always 1. */
    id: p.integer().primary(),
    epoch: p.bigint('number'),
    replicaId: p.uuid(),
    since: p.datetime().defaultRaw('now()'),
  },
});

export class Leadership extends LeadershipSchema.class {}
LeadershipSchema.setClass(Leadership);
