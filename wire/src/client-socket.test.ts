import { createClient } from 'graphql-ws';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { ClientSocket } from './client-socket.ts';

test('a connection that is ended before it stands ends, and takes no process with it', async () => {
  // Takes connections and says nothing, as a control process does that is too busy.
  const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sockets: ClientSocket[] = [];
  class TestSocket extends ClientSocket {
    constructor(url: string, protocols: string) {
      super(url, protocols, {});
      sockets.push(this);
    }
  }
  const ended = Promise.withResolvers<unknown>();
  const client = createClient({
    url: `ws://127.0.0.1:${port}`,
    webSocketImpl: TestSocket,
    lazy: false,
    retryAttempts: 0,
    onNonLazyError: ended.resolve,
  });
  await once(server, 'connection');
  const [socket] = sockets;
  const closed = new Promise((resolve) => socket?.once('close', resolve));
  client.terminate();
  await closed;
  expect(await ended.promise).toBeDefined();
  server.close();
});
