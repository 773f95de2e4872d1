import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { newDirectory } from '../agent.fixture.ts';
import { RequestSequence } from './request-sequence.ts';

let directory: Awaited<ReturnType<typeof newDirectory>>;
beforeEach(async () => {
  directory = await newDirectory();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await directory[Symbol.asyncDispose]();
});

describe('the sequence of requests', () => {
  const open = () => RequestSequence.open(`${directory.path}/sequence`);

  it('grows across restarts and clocks that are set back', async () => {
    const first = await (await open()).next();
    vi.spyOn(Date, 'now').mockReturnValue(first - 86_400_000);
    const again = await open();
    const second = await again.next();
    expect(second).toBeGreaterThan(first);
    expect(await again.next()).toBeGreaterThan(second);
  });

  it('counts on from the present in a copy, above all that the original has used', async () => {
    const original = await open();
    const copy = await open();
    const used = await original.next();
    vi.spyOn(Date, 'now').mockReturnValue(used + 1_000);
    expect(await copy.next()).toBeGreaterThan(used);
  });

  it('continues above what control has seen', async () => {
    const sequence = await open();
    const ahead = Date.now() + 1_000_000;
    sequence.exceed(ahead);
    sequence.exceed(Number.NaN);
    expect(await sequence.next()).toBe(ahead + 1);
  });

  it('gives out nothing that it could not write down', async () => {
    const sequence = await RequestSequence.open(`${directory.path}/missing/sequence`);
    await expect(sequence.next()).rejects.toThrow();
  });
});
