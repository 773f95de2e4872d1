import { defineEntity, p } from '@mikro-orm/core';
import type { Label } from '../hosts/host.entity.ts';
import type { Placement } from '../placement/placement.ts';
import { DESIRED_STATES, PAUSE_CAUSES, SANDBOX_STATUSES } from './sandbox.state.ts';

export const SandboxSchema = defineEntity({
  name: 'Sandbox',
  tableName: 'sandboxes',
  properties: {
    id: p.uuid().primary(),
    name: p.text(),
    teamId: p.uuid().index(),
    hostId: p.uuid().index(),
    template: p.text(),
    milliVcpus: p.integer(),
    memoryMb: p.integer(),
    diskMb: p.integer(),
    labels: p.json<Label[]>(),

    /** What people want; with every change of it the generation grows by one. */
    desiredState: p.enum(DESIRED_STATES),
    /** Why it is to be paused; null unless it is. */
    pauseCause: p.enum(PAUSE_CAUSES).nullable(),
    /** Inactivity after which its host pauses it, in seconds; null: never. */
    timeoutSeconds: p.integer().nullable(),
    /** The drain of its host that it is, or was, part of. */
    drainId: p.uuid().nullable().index(),
    generation: p.integer().default(1),
    /** The newest generation that the host has confirmed; 0 before the first. */
    observedGeneration: p.integer().default(0),
    /** The agent's epoch as of which this is known; what was true at a lower one is older. */
    observedEpoch: p.bigint('number').default(0),
    /** What the API shows: what the host said last, seen in the light of what is wanted. */
    status: p.enum(SANDBOX_STATUSES),
    statusReason: p.text().nullable(),
    /** The status to return to when a silent host comes back. */
    statusBeforeMissing: p.enum(SANDBOX_STATUSES).nullable(),
    /** Whether its resources are counted in the host's `allocated…`. */
    holdsReservation: p.boolean().default(true),
    placement: p.json<Placement>(),

    idempotencyKey: p.text().nullable(),
    /** Hash of the request that the key was first used with. */
    requestHash: p.text(),
    createdAt: p.datetime().defaultRaw('now()'),
    createdBy: p.uuid().nullable(),
    startedAt: p.datetime().nullable(),
    lastActiveAt: p.datetime().nullable(),
    deletedAt: p.datetime().nullable(),
    revision: p.integer().default(1),
  },
  uniques: [{ name: 'sandboxes_idempotency_key', properties: ['teamId', 'idempotencyKey'] }],
});

export class Sandbox extends SandboxSchema.class {}
SandboxSchema.setClass(Sandbox);
