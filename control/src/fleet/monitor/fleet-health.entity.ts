import { defineEntity, p } from '@mikro-orm/core';
import { FLEET_REASONS, FLEET_STATES } from './monitor.state.ts';

/** The one row's id; events about the fleet name it. */
export const FLEET_ID = '00000000-0000-7000-8000-00000000f1ee';

/** What the monitor made of its last pass, in one row: every replica can answer for it. */
export const FleetHealthSchema = defineEntity({
  name: 'FleetHealth',
  tableName: 'fleet_health',
  properties: {
    /** Always {@link FLEET_ID}. */
    id: p.uuid().primary(),
    /** Of the leadership that wrote this. */
    epoch: p.bigint('number'),
    state: p.enum(FLEET_STATES),
    reason: p.enum(FLEET_REASONS).nullable(),
    /** When state or reason last changed. */
    since: p.datetime(),
    checkedAt: p.datetime(),
    heard: p.integer(),
    silent: p.integer(),
    lost: p.integer(),
    unreachable: p.integer(),
    /** Grows with every change of state or reason; counts alone are no change. */
    revision: p.integer().default(1),
  },
});

export class FleetHealth extends FleetHealthSchema.class {}
FleetHealthSchema.setClass(FleetHealth);
