import { defineEntity, p } from '@mikro-orm/core';

/** A sandbox that a host runs and nobody wants, until it is removed or turns out to be wanted. */
export const OrphanSchema = defineEntity({
  name: 'Orphan',
  tableName: 'orphans',
  properties: {
    hostId: p.uuid().primary(),
    sandboxId: p.uuid().primary(),
    /** As the host said last; what it is asked to remove. */
    generation: p.integer(),
    firstSeenAt: p.datetime(),
    lastSeenAt: p.datetime(),
    /** In how many inventories in a row it was there. */
    readings: p.integer(),
  },
});

export class Orphan extends OrphanSchema.class {}
OrphanSchema.setClass(Orphan);
