import { afterEach, beforeEach, expect, test } from 'vitest';
import { InterruptionWatch, toleranceFor, type Clocks } from './interruption-watch.ts';

const TOLERANCE = 5_000;
let monotonic = 0;
let wall = 1_700_000_000_000;
const clocks: Clocks = { monotonic: () => monotonic, wall: () => wall };
let watch: InterruptionWatch;

beforeEach(() => {
  watch = new InterruptionWatch(TOLERANCE, clocks);
});
afterEach(() => watch[Symbol.dispose]());

/** Time goes by, for both clocks unless said otherwise. */
function pass(ms: number, wallMs = ms): void {
  monotonic += ms;
  wall += wallMs;
}

test('time that goes by as it should is no interruption', () => {
  for (let tick = 0; tick < 100; tick++) {
    pass(250);
    expect(watch.take()).toBeUndefined();
  }
});

test('a process that did not run for a while finds that out, once', () => {
  pass(30_000);
  expect(watch.take()).toBe('CONTROL_STALLED');
  pass(250);
  expect(watch.take()).toBeUndefined();
});

test.each([
  ['forward', 60_000],
  ['back', -60_000],
])('a wall clock that jumps %s is noticed', (_direction, jump) => {
  pass(250, 250 + jump);
  expect(watch.take()).toBe('CLOCK_JUMPED');
});

test('a machine that slept, whose monotonic clock stood still, is noticed', () => {
  pass(10, 600_000);
  expect(watch.take()).toBe('CLOCK_JUMPED');
});

test('a database’s clock that jumps is noticed, and one that merely differs is not', () => {
  const there = 1_600_000_000_000;
  watch.databaseClock(there);
  pass(1_000);
  watch.databaseClock(there + 1_200);
  expect(watch.take()).toBeUndefined();
  pass(1_000);
  watch.databaseClock(there + 90_000);
  expect(watch.take()).toBe('CLOCK_JUMPED');
});

test('short leases make it more watchful, but not more than a busy machine bears', () => {
  expect([90_000, 9_000, 1_000].map(toleranceFor)).toEqual([5_000, 3_000, 1_000]);
});

test('a real stall of the event loop is noticed', () => {
  using real = new InterruptionWatch(100);
  const until = performance.now() + 500;
  while (performance.now() < until);
  expect(real.take()).toBe('CONTROL_STALLED');
});
