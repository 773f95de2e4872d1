import { z } from 'zod';
import type { HostRow } from '../tables.ts';
import { AGENT_CONDITION_TYPES } from './host.state.ts';

/**
 * What agents say about their machines, made safe to keep. An agent of a team's own host is as
 * trustworthy as that team: its words go into rows, events and other people's screens, and its
 * numbers into sums. Too much is cut or clamped rather than refused, because a refused heartbeat
 * would take a host out of service over a long name.
 */
const words = (max: number) =>
  z.string().transform((text) => text.replaceAll('\u0000', '').slice(0, max).toWellFormed());
const amount = (max: number) =>
  z
    .number()
    .catch(0)
    .transform((value) => Math.min(Math.max(Math.trunc(value), 0), max));

/** Bounds that keep every product and sum of them within a 32-bit integer. */
const MAX_CPU_CORES = 4_096;
const MAX_MEMORY_MB = 1_000_000_000;
const MAX_DISK_GB = 1_000_000;

const conditionSchema = z.object({ type: z.enum(AGENT_CONDITION_TYPES), message: words(500) });

/** Which machine, and which boot of it. */
export const machineSchema = z.object({
  bootId: words(63),
  /** The machine's lasting identity; null when it has none. Not a column: who a host is, is kept with its credentials. */
  machineId: words(64)
    .nullish()
    .transform((text) => text || null),
});

export const hostSpecsSchema = machineSchema.extend({
  hostname: words(255),
  arch: words(63),
  os: words(255),
  kernel: words(255),
  cpuCores: amount(MAX_CPU_CORES),
  memoryMb: amount(MAX_MEMORY_MB),
  diskGb: amount(MAX_DISK_GB),
  agentVersion: words(63),
  runtime: z
    .object({ name: words(63), version: words(63) })
    .nullish()
    .transform((runtime) => runtime ?? null),
  conditions: z.array(conditionSchema).transform((conditions) => conditions.slice(0, 16)),
  templates: z
    .array(words(63))
    .nullish()
    .transform((templates) => templates?.slice(0, 256) ?? ['host']),
  /** Where the machine is, when its operator says so; null leaves what people entered. */
  provider: words(63)
    .nullish()
    .transform((text) => text ?? null),
  availabilityZone: words(63)
    .nullish()
    .transform((text) => text ?? null),
});

export type HostSpecs = z.output<typeof hostSpecsSchema>;

/** What a machine uses right now. */
export const hostUsageSchema = z.object({
  load1: z
    .number()
    .catch(0)
    .transform((value) => Math.min(Math.max(value, 0), 100_000)),
  memoryUsedMb: amount(MAX_MEMORY_MB),
  diskUsedMb: amount(MAX_DISK_GB * 1_024),
});

export type HostUsage = z.output<typeof hostUsageSchema>;

/** The columns that specs are kept in. */
export function specsToColumns({
  runtime,
  conditions,
  provider,
  availabilityZone,
  machineId: _machineId,
  ...specs
}: HostSpecs): Partial<HostRow> {
  return {
    ...specs,
    ...(provider === null ? {} : { provider }),
    ...(availabilityZone === null ? {} : { availabilityZone }),
    runtimeName: runtime?.name ?? null,
    runtimeVersion: runtime?.version ?? null,
    agentConditions: conditions.map(({ type, message }) => ({ type, message })),
  };
}
