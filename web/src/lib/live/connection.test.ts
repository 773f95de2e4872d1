import { describe, expect, it, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { closeCode, connectOnce, RETRY_AT_MOST_MS, retryDelay } from './connection.ts';

describe('the retry delay', () => {
  it('grows, is jittered downwards by at most half, and never passes its limit', () => {
    expect(retryDelay(0, () => 0)).toBe(150);
    expect(retryDelay(0, () => 1)).toBe(300);
    expect(retryDelay(2, () => 1)).toBe(1_200);
    expect(retryDelay(50, () => 1)).toBe(RETRY_AT_MOST_MS);
    expect(retryDelay(50, () => 0)).toBe(RETRY_AT_MOST_MS / 2);
  });
});

describe('the close code', () => {
  it('is read from close events only', () => {
    expect(closeCode({ code: 4401 })).toBe(4401);
    expect(closeCode({ code: 'x' })).toBeUndefined();
    expect(closeCode(new Error('nope'))).toBeUndefined();
    expect(closeCode(null)).toBeUndefined();
  });
});

describe('a connection for what must happen once', () => {
  it('fails what was under way when it is lost, and sends it never again', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    const heard: string[] = [];
    server.on('connection', (socket) =>
      socket.on('message', (raw) => {
        const { type, payload } = JSON.parse(String(raw)) as { type: string; payload?: { query: string } };
        if (type === 'connection_init') socket.send(JSON.stringify({ type: 'connection_ack' }));
        if (type === 'subscribe') {
          heard.push(payload?.query ?? '');
          // What a gateway that restarts says, on which the other connection comes back.
          socket.close(1012);
        }
      }),
    );
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    const { client, dispose } = connectOnce({ url: `ws://127.0.0.1:${port}`, onUnauthorized: () => undefined });
    const run = (query: string) =>
      new Promise<unknown>((resolve) => {
        client.subscribe({ query }, { next: () => undefined, error: resolve, complete: () => resolve('completed') });
      });
    try {
      expect(closeCode(await run('one'))).toBe(1012);
      // A connection that came back by itself would bring "one" along before this.
      expect(closeCode(await run('two'))).toBe(1012);
      expect(heard).toEqual(['one', 'two']);
    } finally {
      dispose();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('says that the session is over', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    server.on('connection', (socket) => socket.close(4401, 'Unauthorized'));
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    const onUnauthorized = vi.fn();
    const { client, dispose } = connectOnce({ url: `ws://127.0.0.1:${port}`, onUnauthorized });
    try {
      const reason = await new Promise<unknown>((resolve) => {
        client.subscribe({ query: 'one' }, { next: () => undefined, error: resolve, complete: () => resolve(null) });
      });
      expect(closeCode(reason)).toBe(4401);
      expect(onUnauthorized).toHaveBeenCalled();
    } finally {
      dispose();
      await new Promise((resolve) => server.close(resolve));
    }
  });
});
