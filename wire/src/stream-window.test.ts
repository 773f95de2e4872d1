import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PushIterator } from './push-iterator.ts';
import { ReceiveWindow, SendWindow, windowed } from './stream-window.ts';

/** A source of numbers that counts how many were taken from it. */
function newSource(count = Number.POSITIVE_INFINITY) {
  let taken = 0;
  let returned = false;
  const iterator: AsyncIterator<number> = {
    next: async () => (taken < count ? { done: false, value: taken++ } : { done: true, value: undefined }),
    return: async () => {
      returned = true;
      return { done: true, value: undefined };
    },
  };
  return { iterator, taken: () => taken, returned: () => returned };
}

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
};

describe('a stream with a window', () => {
  it('is read no further than the window, and further when the reader has come along', async () => {
    const source = newSource();
    const window = new SendWindow(4);
    const stream = windowed(source.iterator, window, () => 1);
    for (let n = 0; n < 4; n++) await stream.next();
    const blocked = stream.next();
    await settle();
    expect(source.taken()).toBe(4);
    window.acknowledge(2);
    expect(await blocked).toEqual({ done: false, value: 4 });
    await stream.next();
    void stream.next();
    await settle();
    expect(source.taken()).toBe(6);
  });

  it('ends at once for a reader that leaves while the window is full', async () => {
    const source = newSource();
    let ends = 0;
    const stream = windowed(
      source.iterator,
      new SendWindow(1),
      () => 1,
      () => ends++,
    );
    await stream.next();
    const blocked = stream.next();
    await stream.return?.();
    expect(await blocked).toEqual({ done: true, value: undefined });
    expect([source.returned(), ends, source.taken()]).toEqual([true, 1, 1]);
  });

  it('passes the failure of its source on, and is over then', async () => {
    const source = new PushIterator<number>();
    const window = new SendWindow(1);
    const stream = windowed(source, window, () => 1);
    source.close(new Error('broken'));
    await expect(stream.next()).rejects.toThrow('broken');
    await expect(window.ready()).resolves.toBeUndefined();
  });

  it('takes no acknowledgement for what was not sent, nor one that is old or no number', async () => {
    const window = new SendWindow(10);
    window.sent(10);
    window.acknowledge(1e9);
    window.sent(10);
    window.acknowledge(5);
    window.acknowledge(Number.NaN);
    let isReady = false;
    void window.ready().then(() => (isReady = true));
    await settle();
    expect(isReady).toBe(false);
    window.acknowledge(11);
    await settle();
    expect(isReady).toBe(true);
  });

  it('never stalls and never runs ahead by more than the window and one message, whatever the sizes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.integer({ min: 0, max: 80 }), { maxLength: 60 }),
        async (size, sizes) => {
          const window = new SendWindow(size);
          const reader = new ReceiveWindow(size, (total) => window.acknowledge(total));
          const stream = windowed([...sizes].values() as never as AsyncIterator<number>, window, (bytes) => bytes);
          let ahead = 0;
          let read = 0;
          // The reader is one turn behind the sender throughout.
          const wire = new PushIterator<number>();
          const sending = (async () => {
            for await (const bytes of stream) {
              ahead += bytes;
              expect(ahead).toBeLessThan(size + Math.max(...sizes) + 1);
              wire.push(bytes);
            }
            wire.close();
          })();
          for await (const bytes of wire) {
            await settle();
            ahead -= bytes;
            read += bytes;
            reader.consumed(bytes);
          }
          await sending;
          expect(read).toBe(sizes.reduce((sum, bytes) => sum + bytes, 0));
        },
      ),
    );
  });
});
