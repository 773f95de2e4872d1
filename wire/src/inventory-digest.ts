import { createHash } from 'node:crypto';

/**
 * The digest by which agent and control notice that they disagree about a host's sandboxes: SHA-256
 * (hex) over the lines `id generation status\n`, sorted by id.
 */
export function inventoryDigest(
  sandboxes: Iterable<{ readonly id: string; readonly generation: number; readonly status: string }>,
): string {
  const hash = createHash('sha256');
  for (const { id, generation, status } of [...sandboxes].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))) {
    hash.update(`${id} ${generation} ${status}\n`);
  }
  return hash.digest('hex');
}
