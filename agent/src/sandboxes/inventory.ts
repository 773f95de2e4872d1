import { createHash } from 'node:crypto';
import type { ObservedStatus, SandboxRecord } from './sandbox.state.ts';

/** What control is told of one sandbox; the shape of the protocol. */
export interface ObservedSandbox {
  readonly id: string;
  readonly generation: number;
  readonly status: ObservedStatus;
  readonly statusReason: string | null;
  readonly startedAt: string | null;
  readonly lastActiveAt: string | null;
}

export interface Inventory {
  readonly epoch: number;
  readonly bootId: string;
  readonly digest: string;
  readonly sandboxes: readonly ObservedSandbox[];
}

export const observed = (record: SandboxRecord): ObservedSandbox => ({
  id: record.spec.id,
  generation: record.generation,
  status: record.status,
  statusReason: record.statusReason,
  startedAt: record.startedAt,
  lastActiveAt: record.lastActiveAt,
});

/** The digest by which both sides see whether they agree: SHA-256 (hex) over `id generation status\n`, sorted by id. */
export function inventoryDigest(sandboxes: readonly Pick<ObservedSandbox, 'id' | 'generation' | 'status'>[]): string {
  // By code units, as `<` compares in every language; a locale's order would differ between the two sides.
  const sorted = [...sandboxes].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  const hash = createHash('sha256');
  for (const { id, generation, status } of sorted) hash.update(`${id} ${generation} ${status}\n`);
  return hash.digest('hex');
}
