import { silentLogger } from '@rookery/wire/log.ts';
import { CloseCode } from '@rookery/wire/close-codes.ts';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import type { Answer, Newcomer } from './admission.ts';
import { HostClientPool, type HostClientPoolDeps } from './host-client-pool.ts';
import type { OvertakenTunnel } from './tunnel.books.ts';

const NEWCOMER: Newcomer = { instance: 'agent', bootId: 'boot', machineId: null, address: null, familyId: 'family' };

/** A pool with one tunnel on a real socket, whose agent says nothing. */
describe('a pool of host clients', () => {
  const server = createServer();
  const sockets = new WebSocketServer({ noServer: true });
  let pool: HostClientPool;
  let agent: WebSocket;
  let lost: string[];
  let lostGenerations: number[];
  let generation: number;
  let overtaken: OvertakenTunnel[];
  /** What is decided about the next that dials. */
  let admit: HostClientPoolDeps['admit'];
  /** How many losses cannot be written down from now on. */
  let failures: number;

  beforeEach(async () => {
    lost = [];
    lostGenerations = [];
    generation = 0;
    overtaken = [];
    failures = 0;
    admit = async () => ({ kind: 'ADMITTED', generation: ++generation });
    pool = new HostClientPool({
      log: silentLogger(),
      replicaId: 'this one',
      admit: (...asked) => admit(...asked),
      onReady: async () => 'READY',
      onLost: async (hostId, ofGeneration) => {
        if (failures-- > 0) throw new Error('the database is away');
        lost.push(hostId);
        lostGenerations.push(ofGeneration);
      },
      check: async () => ({ corrected: 0, overtaken }),
      peers: { find: async () => undefined, ask: async () => ({ kind: 'SILENT' }), evict: () => {} },
      askDeadlineMs: 200,
    });
    if (!server.listening) {
      server.on('upgrade', (request, socket, head) => {
        sockets.handleUpgrade(request, socket, head, (ws) => pool.adopt(request.url?.slice(1) ?? '', ws, NEWCOMER));
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    }
    agent = await dial('host');
  });
  afterEach(async () => {
    await pool[Symbol.asyncDispose]();
    agent.terminate();
  });
  afterAll(() => void server.close());

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

  it('fails at once what is under way on a tunnel that it closes, although the agent never answers the close', async () => {
    const asking = pool.get('host')?.inventory(60_000);
    const events = pool.get('host')?.exec({ sandboxId: 'box', command: ['true'], timeoutMs: 1_000 });
    const reading = events?.next();
    // An agent whose machine has lost power: the other end is open and silent.
    (agent as unknown as { _socket: { pause(): void } })._socket.pause();
    pool.evict('host', CloseCode.HostDeleted, 'host deleted');
    expect(pool.get('host')).toBeUndefined();
    expect(lost).toEqual(['host']);
    await expect(asking).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(reading).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('gives up a command that its host does not begin, instead of waiting for it', async () => {
    const events = pool.get('host')?.exec({ sandboxId: 'box', command: ['true'], timeoutMs: 60_000 }, 100);
    await expect(events?.begun).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(events?.next()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('asks the agent that is connected, keeps its tunnel meanwhile, and hears that it is silent', async () => {
    let answer: Answer | undefined;
    admit = async (_hostId, _newcomer, ask) => {
      answer = await ask('this one');
      return { kind: 'WAIT' };
    };
    const before = pool.get('host');
    const second = await dial('host');
    const [code] = (await once(second, 'close')) as [number];
    expect(code).toBe(CloseCode.TryAgainLater);
    expect(answer).toEqual({ kind: 'SILENT' });
    expect(pool.get('host')).toBe(before);
    expect(lost).toEqual([]);
  });

  it('closes both when there are two', async () => {
    admit = async () => ({ kind: 'SECOND_AGENT' });
    const first = once(agent, 'close');
    const second = new WebSocket(agent.url);
    const codes = (await Promise.all([first, once(second, 'close')])).map(([code]) => code as number);
    expect(codes).toEqual([CloseCode.SecondAgent, CloseCode.SecondAgent]);
    expect(pool.get('host')).toBeUndefined();
  });

  it('writes down later that a tunnel has closed when it could not at once, also at its end', async () => {
    const other = await dial('other');
    failures = 1;
    pool.evict('host', CloseCode.ServiceRestart, 'closed');
    await vi.waitFor(() => expect(failures).toBe(0));
    expect(lost).toEqual([]);
    expect(await pool.check()).toBe(1);
    expect([lost, lostGenerations]).toEqual([['host'], [1]]);
    // Once is enough.
    expect(await pool.check()).toBe(0);
    expect(lost).toEqual(['host']);

    agent = await dial('host');
    failures = 1;
    await pool[Symbol.asyncDispose]();
    expect(lost.slice(1).sort()).toEqual(['host', 'other']);
    other.terminate();
  });

  it.each([
    ['TUNNEL', CloseCode.TunnelSuperseded],
    ['REGISTRATION', CloseCode.Unauthorized],
    ['QUARANTINE', CloseCode.SecondAgent],
  ] as const)('uses no tunnel that was overtaken while this process slept (%s)', async (by, code) => {
    const closed = once(agent, 'close');
    overtaken = [{ hostId: 'host', generation, proven: true, by }];
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 60_000);
    expect(await pool.find('host')).toBeUndefined();
    clock.mockRestore();
    expect((await closed)[0]).toBe(code);
  });
});
