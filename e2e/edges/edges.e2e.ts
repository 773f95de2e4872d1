import { readdir, readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { ADMIN_EMAIL, newPlace, startRookery, type Place, type Rookery } from '../support/rookery.ts';
import { NOTHING, Story } from '../support/story.ts';

const PASSWORD = 'correct horse battery';

/** A browser's handshake, byte by byte, by a client that then does as it pleases. */
const upgradeRequest = (path: string, headers = ''): string =>
  `GET ${path} HTTP/1.1\r\nHost: rookery\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
  `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n` +
  `Sec-WebSocket-Protocol: graphql-transport-ws\r\n${headers}\r\n`;

/** Sends a request over a bare socket that stays open on our side, and returns the first line of the answer. */
async function rawRequest(port: number, text: string): Promise<{ socket: Socket; status: string }> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  const status = await new Promise<string>((resolve) => {
    socket.once('data', (data) => resolve(String(data).split('\r\n')[0] ?? ''));
    socket.once('connect', () => socket.write(text));
  });
  return { socket, status };
}

describe('a Rookery that strangers lean on', () => {
  const story = new Story();
  let place: Place;
  let rookery: Rookery;

  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    fetch(`${rookery.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });

  it('says that it is well', async () => {
    place = await newPlace(story);
    rookery = await startRookery(story, place, { ROOKERY_ADMIN_PASSWORD: PASSWORD });
    for (const port of [place.port, place.agentPort]) {
      for (const path of ['/healthz', '/readyz'])
        expect((await fetch(`http://127.0.0.1:${port}${path}`)).status).toBe(200);
    }
  });

  it('tells its schema to whoever looks around, being on their own machine', async () => {
    const answer = await post('/graphql', { query: '{ __schema { queryType { name } } }' });
    expect(await answer.json()).toEqual({ data: { __schema: { queryType: { name: 'Query' } } } });
  });

  it.each([
    ['a subscription', { query: 'subscription { hostChanged { cursor } }' }],
    ['a query that is none', { query: 'que{ry' }],
    ['a field that is none', { query: '{ nonsense }' }],
    ['variables that are none', { query: 'query ($id: ID!) { host(id: $id) { id } }', variables: { id: {} } }],
    ['no query', {}],
  ])('answers %s over HTTP with a typed error', async (_what, body) => {
    const answer = (await (await post('/graphql', body)).json()) as { errors: { extensions: { code: string } }[] };
    expect(answer.errors[0]?.extensions.code).toBe('BAD_USER_INPUT');
  });

  it('takes no bodies without bounds', async () => {
    const response = await post('/graphql', { query: '{ viewer { isAdmin } }', padding: 'x'.repeat(3 * 1024 * 1024) });
    expect(response.status).toBe(413);
  });

  it('does nothing for a page of another site', async () => {
    const foreign = { origin: 'https://elsewhere.example' };
    expect((await post('/graphql', { query: '{ viewer { isAdmin } }' }, foreign)).status).toBe(403);
    expect((await post('/session', { email: ADMIN_EMAIL, password: PASSWORD }, foreign)).status).toBe(403);
    const { socket, status } = await rawRequest(
      place.port,
      upgradeRequest('/graphql', `Origin: ${foreign.origin}\r\n`),
    );
    expect(status).toBe('HTTP/1.1 403 Forbidden');
    socket.destroy();
  });

  it('keeps a browser’s session in a cookie that no script can read, and ends it at once', async () => {
    expect((await post('/session', { email: ADMIN_EMAIL, password: 'wrong' })).status).toBe(401);
    expect((await post('/session', { email: 7 })).status).toBe(400);
    const signedIn = await post('/session', { email: ADMIN_EMAIL, password: PASSWORD });
    const header = signedIn.headers.get('set-cookie') ?? '';
    expect(header).toMatch(/; HttpOnly; SameSite=Strict; Path=\/; Max-Age=\d+$/);
    const cookie = header.split(';')[0] ?? '';
    const viewer = async () =>
      (await (await post('/graphql', { query: '{ viewer { isAdmin } }' }, { cookie })).json()) as unknown;
    expect(await viewer()).toEqual({ data: { viewer: { isAdmin: true } } });
    await fetch(`${rookery.url}/session`, { method: 'DELETE', headers: { cookie } });
    expect(await viewer()).toEqual({ data: { viewer: null } });
  });

  it('holds nothing for downloads that were broken off', async () => {
    const { pid } = JSON.parse(await readFile(join(place.dataDir, 'rookery.pid'), 'utf8')) as { pid: number };
    const descriptors = async (): Promise<number> => (await readdir(`/proc/${pid}/fd`)).length;
    const before = await descriptors();
    for (let n = 0; n < 20; n++) {
      const { socket, status } = await rawRequest(
        place.agentPort,
        'GET /agent/rookery-agent.mjs HTTP/1.1\r\nHost: rookery\r\n\r\n',
      );
      expect(status).toBe('HTTP/1.1 200 OK');
      socket.destroy();
    }
    await vi.waitFor(async () => expect(await descriptors()).toBeLessThan(before + 5), {
      timeout: 10_000,
      interval: 100,
    });
  });

  it('stops on Ctrl-C, whoever does not let go', async () => {
    const refused = [
      await rawRequest(place.port, upgradeRequest('/nowhere')),
      await rawRequest(place.agentPort, upgradeRequest('/nowhere')),
      await rawRequest(place.agentPort, upgradeRequest('/agent/tunnel')),
    ];
    expect(refused.map(({ status }) => status)).toEqual([
      'HTTP/1.1 404 Not Found',
      'HTTP/1.1 404 Not Found',
      'HTTP/1.1 401 Unauthorized',
    ]);
    // Connected, and deaf to the close that follows.
    const deaf = await rawRequest(place.port, upgradeRequest('/graphql'));
    expect(deaf.status).toBe('HTTP/1.1 101 Switching Protocols');
    expect(await rookery.stop()).toMatchObject({ code: 0 });
    for (const { socket } of [...refused, deaf]) socket.destroy();
    expect(await story.leftovers()).toEqual(NOTHING);
  });
});
