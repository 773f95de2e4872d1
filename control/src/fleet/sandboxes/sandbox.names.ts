import { randomInt } from 'node:crypto';

const MOODS = [
  'amber',
  'brisk',
  'calm',
  'dapper',
  'eager',
  'fleet',
  'gentle',
  'hardy',
  'keen',
  'lively',
  'merry',
  'nimble',
  'plucky',
  'quiet',
  'rapid',
  'sunny',
  'tidy',
  'vivid',
  'witty',
  'zesty',
];
const BIRDS = [
  'avocet',
  'bunting',
  'curlew',
  'dunlin',
  'egret',
  'finch',
  'gannet',
  'heron',
  'ibis',
  'jackdaw',
  'kestrel',
  'linnet',
  'martin',
  'nuthatch',
  'osprey',
  'plover',
  'rook',
  'siskin',
  'tern',
  'wren',
];

/** A name for a sandbox that was not given one: `calm-heron-4821`. Names are for people; ids tell sandboxes apart. */
export function generateName(): string {
  return `${MOODS[randomInt(MOODS.length)]}-${BIRDS[randomInt(BIRDS.length)]}-${randomInt(1_000, 10_000)}`;
}
