import DataLoader from 'dataloader';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { together } from './batching.ts';

describe('what is loaded together', () => {
  let statements: number[][];
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'performance'] });
    statements = [];
  });
  afterEach(() => vi.useRealTimers());

  const loader = (size: number, paceMs?: number) =>
    new DataLoader(
      async (keys: readonly number[]) => {
        statements.push([...keys]);
        return keys;
      },
      together(size, paceMs),
    );

  it('waits a moment for company', async () => {
    const { load } = bound(loader(10));
    const answers = [load(1), load(2)];
    await vi.advanceTimersByTimeAsync(1);
    expect(statements).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(statements).toEqual([[1, 2]]);
    expect(await Promise.all(answers)).toEqual([1, 2]);
  });

  it('is not asked for again within the pace, and what comes meanwhile goes in one', async () => {
    const { load } = bound(loader(10, 25));
    void load(1);
    await vi.advanceTimersByTimeAsync(2);
    for (const key of [2, 3, 4]) {
      void load(key);
      await vi.advanceTimersByTimeAsync(5);
    }
    expect(statements).toEqual([[1]]);
    await vi.advanceTimersByTimeAsync(10);
    expect(statements).toEqual([[1], [2, 3, 4]]);
    await vi.advanceTimersByTimeAsync(1_000);
    void load(5);
    await vi.advanceTimersByTimeAsync(2);
    expect(statements.at(-1)).toEqual([5]);
  });

  it('does not wait once there is more than goes into one, also within the pace, and keeps its order', async () => {
    const { load } = bound(loader(2, 1_000));
    void load(1);
    await vi.advanceTimersByTimeAsync(2);
    for (const key of [2, 3, 4, 5, 6]) void load(key);
    await vi.advanceTimersByTimeAsync(0);
    expect(statements).toEqual([[1], [2, 3], [4, 5]]);
    await vi.advanceTimersByTimeAsync(999);
    expect(statements).toHaveLength(3);
    await vi.advanceTimersByTimeAsync(1);
    expect(statements.at(-1)).toEqual([6]);
  });

  it('is loaded again each time that it is asked for', async () => {
    const { load } = bound(loader(10));
    for (const key of [1, 1]) void load(key);
    await vi.advanceTimersByTimeAsync(2);
    expect(statements).toEqual([[1, 1]]);
  });
});

const bound = <K, V>(loader: DataLoader<K, V>) => ({ load: (key: K) => loader.load(key) });
