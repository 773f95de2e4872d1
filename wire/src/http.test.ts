import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { StartupError } from './errors.ts';
import { listen, type ListeningServer } from './http.ts';

const HOST = '127.0.0.1';

describe('a server that listens', () => {
  const servers: ListeningServer[] = [];
  const start = async (port = 0): Promise<ListeningServer> => {
    const server = await listen((_, response) => void response.end('hello'), port, HOST, 'a test', 'TEST_PORT');
    servers.push(server);
    return server;
  };
  afterEach(async () => {
    for (const server of servers.splice(0)) await server[Symbol.asyncDispose]();
  });
  const ask = async (port: number): Promise<string> => (await fetch(`http://${HOST}:${port}`)).text();

  it('answers whichever of its sockets a connection comes to', async () => {
    const { port } = await start();
    // Each a connection of its own; the system spreads them over the listening sockets.
    const answers = await Promise.all(Array.from({ length: 200 }, () => ask(port)));
    expect(new Set(answers)).toEqual(new Set(['hello']));
  });

  it('takes many connections in one turn of a busy event loop', async () => {
    const { server, port } = await start();
    await ask(port);
    const CLIENTS = 200;
    let taken = 0;
    server.on('connection', () => (taken += 1));
    const clients: Socket[] = Array.from({ length: CLIENTS }, () => connect(port, HOST));
    let turns = 0;
    // The kernel has them; with one listening socket it would be one in a turn.
    for (; taken < CLIENTS && turns < CLIENTS; turns++) await turn();
    for (const client of clients) client.destroy();
    expect(taken).toBe(CLIENTS);
    expect(turns).toBeLessThan(CLIENTS / 2);
  });

  it('shares its port with nobody, neither one that would nor one that would not', async () => {
    const { port } = await start();
    await ask(port);
    await expect(start(port)).rejects.toThrow(
      new StartupError(`Port ${port} for a test is already in use; set TEST_PORT to another one.`),
    );
    const other = createServer();
    await expect(once(other.listen(port, HOST), 'listening')).rejects.toMatchObject({ code: 'EADDRINUSE' });
    expect(await ask(port)).toBe('hello');
  });

  it('lets go of its port when it is closed, and of every connection that was made', async () => {
    const { port } = await start();
    const clients = Array.from({ length: 40 }, () => connect(port, HOST));
    await Promise.all(clients.map((client) => once(client, 'connect')));
    // One that was not taken yet is reset.
    for (const client of clients) client.on('error', () => {});
    const ends = clients.map((client) => new Promise((resolve) => client.resume().once('close', resolve)));
    await servers.pop()?.[Symbol.asyncDispose]();
    await Promise.all(ends);
    await start(port);
    expect(await ask(port)).toBe('hello');
  });
});
