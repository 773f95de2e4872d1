import { describe, expect, test, vi } from 'vitest';
import { endWith, mapIterator, PushIterator } from './push-iterator.ts';

describe('a pushed iterator', () => {
  test('hands over what was pushed before and while somebody waits, in order', async () => {
    const source = new PushIterator<number>();
    source.push(1);
    const [first, second] = [source.next(), source.next()];
    source.push(2);
    expect(await Promise.all([first, second])).toEqual([
      { done: false, value: 1 },
      { done: false, value: 2 },
    ]);
  });

  test('ends after what is buffered', async () => {
    const source = new PushIterator<number>();
    source.push(1);
    source.close();
    source.push(2);
    expect(await Array.fromAsync(source)).toEqual([1]);
  });

  test('rejects once with the error it was closed with, after what is buffered', async () => {
    const source = new PushIterator<number>();
    source.push(1);
    source.close(new Error('broken'));
    expect(await source.next()).toEqual({ done: false, value: 1 });
    await expect(source.next()).rejects.toThrow('broken');
    expect(await source.next()).toEqual({ done: true, value: undefined });
  });

  test('releases its source at once and once when it is left while waiting', async () => {
    const release = vi.fn();
    const source = new PushIterator<number>(release);
    const waiting = source.next();
    await source.return();
    await source.return();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(release).toHaveBeenCalledTimes(1);
  });

  test('releases its source when the source ends it', () => {
    const release = vi.fn();
    new PushIterator<number>(release).close();
    expect(release).toHaveBeenCalledTimes(1);
  });
});

test('a mapped iterator passes on that it was left', async () => {
  const release = vi.fn();
  const mapped = mapIterator(new PushIterator<number>(release), (n) => n * 2);
  const waiting = mapped.next();
  await mapped.return?.();
  expect(await waiting).toEqual({ done: true, value: undefined });
  expect(release).toHaveBeenCalledTimes(1);
});

test('a stream whose source fails ends with a last value instead of a rejection', async () => {
  const source = new PushIterator<string>();
  source.push('one');
  source.close(new Error('broken'));
  const values = await Array.fromAsync(endWith(source, (error) => `last: ${(error as Error).message}`));
  expect(values).toEqual(['one', 'last: broken']);
});
