import { expect } from 'vitest';
import { VirtualTime } from './virtual-time.ts';
import { World } from './world.ts';

const SEEDS = Number(process.env['SEEDS'] ?? 500);
const ONE_SEED = process.env['SEED'];

/** Few hosts show the same faults sooner; every tenth fleet is a large one. */
const hostsOf = (seed: number): number => (seed % 10 === 0 ? 50 : 3 + (seed % 9));

async function run(seed: number): Promise<World> {
  using time = new VirtualTime();
  const world = new World(time, seed, hostsOf(seed));
  await world.run(6 * 60_000, 4 * 60_000);
  return world;
}

/**
 * The seeds of one half; each half is a file of its own, so that two workers share them.
 *
 * `SEEDS=n` runs the first n, `SEED=n` that one only: the other half then has none.
 */
export function seedsOf(half: 'FIRST' | 'SECOND'): number[] {
  if (ONE_SEED) return half === 'FIRST' ? [Number(ONE_SEED)] : [];
  const seeds = Array.from({ length: SEEDS }, (_, index) => index + 1);
  const middle = Math.ceil(SEEDS / 2);
  return half === 'FIRST' ? seeds.slice(0, middle) : seeds.slice(middle);
}

/** Runs the worlds of these seeds, and fails with the seeds whose books did not tell the truth. */
export async function runSeeds(seeds: readonly number[]): Promise<void> {
  const totals: Record<string, number> = {};
  const failed: string[] = [];
  let steps = 0;
  for (const seed of seeds) {
    const world = await run(seed);
    steps += world.time.steps;
    for (const [what, count] of Object.entries(world.counts)) totals[what] = (totals[what] ?? 0) + count;
    if (world.violations.length > 0) failed.push(`SEED=${seed} ${world.violations.slice(0, 3).join('\n   ')}`);
    if (failed.length >= 5) break;
  }
  if (process.env['SIMULATION_STATS']) console.log(steps, totals);
  expect(failed, 'each again by SEED=<number> npx vitest run --project unit control/test/simulation').toEqual([]);
}
