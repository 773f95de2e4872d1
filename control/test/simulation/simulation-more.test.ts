import { test } from 'vitest';
import { runSeeds, seedsOf } from './seeds.ts';

const seeds = seedsOf('SECOND');

test(
  `whatever breaks, the books tell the truth (seeds ${seeds[0] ?? 'none'}–${seeds.at(-1) ?? 'none'})`,
  () => runSeeds(seeds),
  600_000,
);
