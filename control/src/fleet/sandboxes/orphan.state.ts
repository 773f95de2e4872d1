/**
 * Sandboxes that a host runs and nobody wants: unknown to our books, placed elsewhere, or ended here.
 *
 * They are somebody's work until it is certain that they are not. Our books may be the ones that are
 * wrong: restored from an old backup, or another control plane's. So an orphan is removed only when it has been
 * one for a while and a second look says the same; everything until then is a line in the log and a number in
 * `fleetHealth`.
 */

/**
 * How long a sandbox must have been an orphan, in ms. Longer keeps resources from those who pay for them, shorter
 * leaves less time to notice that the books are wrong.
 */
export const ORPHAN_MIN_AGE_MS = 5 * 60_000;

/** In how many inventories in a row it must have been one, all of them saying the same of it. */
export const ORPHAN_MIN_READINGS = 2;

/** What is remembered of one orphan of one host. */
export interface OrphanSighting {
  readonly sandboxId: string;
  /** As its host said; another one is another thing, and is watched from the beginning. */
  readonly generation: number;
  readonly firstSeenAt: Date;
  readonly lastSeenAt: Date;
  readonly readings: number;
}

/**
 * Another inventory of the host has been read.
 *
 * @param before what was remembered of the host's orphans.
 * @param seen   the orphans that the inventory has.
 * @returns what to remember now (who is not seen any more is forgotten), and which of them to remove.
 */
export function readOrphans(
  before: readonly OrphanSighting[],
  seen: readonly { readonly id: string; readonly generation: number }[],
  now: Date,
  minAgeMs: number,
): { readonly sightings: OrphanSighting[]; readonly due: OrphanSighting[] } {
  const known = new Map(before.map((sighting) => [sighting.sandboxId, sighting]));
  const sightings = seen.map(({ id, generation }): OrphanSighting => {
    const last = known.get(id);
    return last?.generation === generation
      ? { ...last, lastSeenAt: now, readings: last.readings + 1 }
      : { sandboxId: id, generation, firstSeenAt: now, lastSeenAt: now, readings: 1 };
  });
  const due = sightings.filter(
    ({ readings, firstSeenAt }) => readings >= ORPHAN_MIN_READINGS && now.getTime() - firstSeenAt.getTime() >= minAgeMs,
  );
  return { sightings, due };
}
