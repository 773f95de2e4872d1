import { defineEntity, p } from '@mikro-orm/core';
import { DRAIN_POLICIES, DRAIN_STATES } from './host-drain.state.ts';

/** One drain of one host: what was asked for, and how far it has come. */
export const HostDrainSchema = defineEntity({
  name: 'HostDrain',
  tableName: 'host_drains',
  properties: {
    id: p.uuid().primary(),
    hostId: p.uuid().index(),
    policy: p.enum(DRAIN_POLICIES),
    state: p.enum(DRAIN_STATES),
    /** Sandboxes that were there. */
    total: p.integer().default(0),
    /** Of those, the ones that are as the policy wants them. */
    done: p.integer().default(0),
    /** Of those, the ones that were not when the deadline came. */
    failed: p.integer().default(0),
    startedBy: p.text(),
    startedAt: p.datetime(),
    deadlineAt: p.datetime(),
    finishedAt: p.datetime().nullable(),
  },
  indexes: [
    {
      name: 'host_drains_running',
      // One at a time for each host.
      expression: 'create unique index "host_drains_running" on "host_drains" ("host_id") where "state" = \'RUNNING\'',
    },
  ],
});

export class HostDrain extends HostDrainSchema.class {}
HostDrainSchema.setClass(HostDrain);
