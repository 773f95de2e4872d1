import { silentLogger } from '@rookery/wire/log.ts';
import { CloseCode } from '@rookery/wire/close-codes.ts';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { HostClientPool } from './host-client-pool.ts';

/** A pool with one tunnel on a real socket, whose agent says nothing. */
describe('a pool of host clients', () => {
  const server = createServer();
  const sockets = new WebSocketServer({ noServer: true });
  let pool: HostClientPool;
  let agent: WebSocket;
  let lost: string[];

  beforeEach(async () => {
    lost = [];
    pool = new HostClientPool({
      log: silentLogger(),
      onReady: async () => true,
      onLost: async (hostId) => void lost.push(hostId),
      peers: { find: async () => undefined, evict: () => {} },
    });
    if (!server.listening) {
      server.on('upgrade', (request, socket, head) => {
        sockets.handleUpgrade(request, socket, head, (ws) => pool.adopt(request.url?.slice(1) ?? '', ws));
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    }
    agent = await dial('host');
  });
  afterEach(async () => {
    await pool[Symbol.asyncDispose]();
    agent.terminate();
  });

  async function dial(hostId: string): Promise<WebSocket> {
    const socket = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/${hostId}`);
    await once(socket, 'open');
    await vi.waitFor(() => expect(pool.get(hostId)).toBeDefined());
    return socket;
  }

  it('answers who asks after the tunnel has closed that it has, and waits for nothing', async () => {
    const host = pool.get('host');
    agent.terminate();
    await vi.waitFor(() => expect(pool.get('host')).toBeUndefined());
    expect(await pool.find('host')).toBeUndefined();
    for (let again = 0; again < 2; again++)
      await expect(host?.inventory(60_000)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    const events = host?.exec({ sandboxId: 'box', command: ['true'], timeoutMs: 1_000 });
    expect(await events?.next()).toEqual({ done: true, value: undefined });
    expect(lost).toEqual(['host']);
  });

  it('is keyed by host, and keeps the newest tunnel of each', async () => {
    const other = await dial('other');
    const closed = once(agent, 'close');
    const second = await dial('host');
    expect((await closed)[0]).toBe(CloseCode.TunnelSuperseded);
    expect(pool.get('other')).toBeDefined();
    // The end of the older one says nothing of the newer one.
    expect(lost).toEqual([]);
    second.terminate();
    await vi.waitFor(() => expect(lost).toEqual(['host']));
    other.terminate();
  });

  it('closes the tunnel of a host that is evicted with the code that says why', async () => {
    const closed = once(agent, 'close');
    pool.evict('host', CloseCode.HostDeleted, 'host deleted');
    expect((await closed)[0]).toBe(CloseCode.HostDeleted);
    await vi.waitFor(() => expect(pool.get('host')).toBeUndefined());
  });
});
