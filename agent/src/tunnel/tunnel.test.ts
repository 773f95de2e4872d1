import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { WebSocket } from 'ws';
import { keepAlive, PING_AFTER_MS, PONG_DEADLINE_MS } from './tunnel.ts';

/** A socket of which only what is done to it is of interest; real ones are in `e2e/faults`. */
class Socket extends EventEmitter {
  pings = 0;
  isCut = false;
  ping(): void {
    this.pings += 1;
  }
  terminate(): void {
    this.isCut = true;
  }
}

describe('a tunnel through which control', () => {
  let socket: Socket;
  let stop: () => void;
  beforeEach(() => {
    vi.useFakeTimers();
    socket = new Socket();
    stop = keepAlive(socket as unknown as WebSocket);
  });
  afterEach(() => vi.useRealTimers());

  it('says something now and then is not pinged', () => {
    for (let pings = 0; pings < 20; pings++) {
      vi.advanceTimersByTime(15_000);
      socket.emit('message');
    }
    expect(socket).toMatchObject({ pings: 0, isCut: false });
  });

  it('says nothing is pinged, and cut when there is no answer in time', () => {
    vi.advanceTimersByTime(PING_AFTER_MS);
    expect(socket.pings).toBe(1);
    vi.advanceTimersByTime(PONG_DEADLINE_MS - 1);
    expect(socket.isCut).toBe(false);
    vi.advanceTimersByTime(1);
    expect(socket.isCut).toBe(true);
  });

  it.each(['pong', 'message'])('says nothing but answers (%s) is pinged again and again, and stays', (event) => {
    for (let round = 1; round <= 5; round++) {
      vi.advanceTimersByTime(PING_AFTER_MS);
      expect(socket.pings).toBe(round);
      vi.advanceTimersByTime(PONG_DEADLINE_MS - 1);
      socket.emit(event);
    }
    vi.advanceTimersByTime(PONG_DEADLINE_MS);
    expect(socket.isCut).toBe(false);
  });

  it('is not pinged any more once it is closed', () => {
    vi.advanceTimersByTime(PING_AFTER_MS);
    stop();
    vi.advanceTimersByTime(600_000);
    expect(socket).toMatchObject({ pings: 1, isCut: false });
  });
});
