import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newDirectory } from '../agent.fixture.ts';
import { ControlCallError } from './control-api.ts';
import { RequestSequence } from './request-sequence.ts';

let directory: Awaited<ReturnType<typeof newDirectory>>;
beforeEach(async () => {
  directory = await newDirectory();
});
afterEach(async () => {
  await directory[Symbol.asyncDispose]();
});

const outOfTurn = (lastSequence: unknown) =>
  new ControlCallError('out-of-turn', 'not your turn', { extensions: { lastSequence } });

describe('the sequence of requests', () => {
  const open = () => RequestSequence.open(`${directory.path}/sequence`);
  const granted = (sequence: RequestSequence) => sequence.inTurn(async (number) => number);

  it('begins with one and goes on with what was granted, also after a restart', async () => {
    const first = await open();
    expect(await granted(first)).toBe(1);
    expect(await granted(first)).toBe(2);
    await first.save();
    expect(await granted(await open())).toBe(3);
  });

  it('repeats a number until something was heard of it, also after a crash', async () => {
    const sequence = await open();
    await granted(sequence);
    const sent: number[] = [];
    const lost = async (number: number): Promise<never> => {
      sent.push(number);
      throw new ControlCallError('unreachable', 'lost');
    };
    for (let tries = 0; tries < 3; tries++) await expect(sequence.inTurn(lost)).rejects.toThrow('lost');
    await expect((await open()).inTurn(lost)).rejects.toThrow('lost');
    expect(sent).toEqual([2, 2, 2, 2]);
  });

  it.each([
    ['above', 41],
    ['below', 3],
  ])('goes on from what control says, %s what it knew', async (_where, last) => {
    const sequence = await open();
    for (let number = 0; number < 10; number++) await granted(sequence);
    const sent: number[] = [];
    const answer = await sequence.inTurn(async (number) => {
      sent.push(number);
      if (number !== last + 1) throw outOfTurn(last);
      return 'answer';
    });
    expect({ answer, sent }).toEqual({ answer: 'answer', sent: [11, last + 1] });
  });

  it.each([Number.NaN, -1, 0.5, Number.MAX_SAFE_INTEGER, 2 ** 60, '7', null])(
    'believes no number like %s',
    async (last) => {
      const sequence = await open();
      const refused = sequence.inTurn(async () => {
        throw outOfTurn(last);
      });
      await expect(refused).rejects.toThrow('not your turn');
      expect(await granted(sequence)).toBe(1);
    },
  );

  it('does not ask for ever at once', async () => {
    const sequence = await open();
    let last = 0;
    const asked = sequence.inTurn(async () => {
      throw outOfTurn((last += 10));
    });
    await expect(asked).rejects.toThrow('not your turn');
    expect(last).toBeLessThanOrEqual(30);
  });

  it('asks nothing where nothing can be written', async () => {
    const sequence = await RequestSequence.open(`${directory.path}/missing/sequence`);
    let asked = 0;
    await expect(sequence.inTurn(async () => (asked += 1))).rejects.toThrow('ENOENT');
    expect(asked).toBe(0);
  });
});
