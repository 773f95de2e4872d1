/**
 * A key for one wish of a person: the same wish sent twice happens once.
 *
 * Not `crypto.randomUUID()`, which browsers keep from pages that came by plain http from another machine.
 */
export function newIdempotencyKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
