import { z } from 'zod';
import { ERROR_CAUSES, OBSERVED_STATUSES } from './sandbox.state.ts';

const moment = z
  .union([z.date(), z.iso.datetime({ offset: true }).transform((text) => new Date(text))])
  .nullish()
  .transform((date) => date ?? null);

/** What an agent says about one of its sandboxes, made safe to keep: see `host.specs.ts` for why. */
export const observedSandboxSchema = z.object({
  id: z.uuid(),
  generation: z.int().min(0),
  /** The agent's epoch as of which this is true. */
  epoch: z.int().min(0),
  status: z.enum(OBSERVED_STATUSES),
  statusReason: z
    .string()
    .nullish()
    .transform((text) => text?.replaceAll('\u0000', '').slice(0, 500).toWellFormed() ?? null),
  startedAt: moment,
  lastActiveAt: moment,
  autoPaused: z
    .boolean()
    .nullish()
    .transform((autoPaused) => autoPaused ?? false),
  errorCause: z
    .enum(ERROR_CAUSES)
    .nullish()
    .transform((cause) => cause ?? null),
});

export type ObservedSandbox = z.output<typeof observedSandboxSchema>;

/** An agent process as it names itself. */
export const instanceSchema = z.string().regex(/^[\x21-\x7e]{1,64}$/);

/** Which agent process is there. */
export const identitySchema = z.object({ instance: instanceSchema, bootId: z.string().max(200) });

/** Sandboxes of one host that are looked at; a host of ours has some hundred. */
const MAX_SANDBOXES = 20_000;

/** Everything that a host has. */
export const inventorySchema = z.object({
  /** Strictly growing per agent state directory, so that an older list is recognised. */
  epoch: z.int().min(0),
  sandboxes: z.array(observedSandboxSchema).max(MAX_SANDBOXES),
});

export type Inventory = z.output<typeof inventorySchema>;
