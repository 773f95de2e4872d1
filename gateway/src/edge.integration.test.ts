import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { newAdmin, newTeam, signIn, startTestControl } from '../../control/test/harness.ts';
import type { Control } from '@rookery/control/app.ts';
import { startTestGateway, TestSocket, upgradeStatus, type TestGateway } from '../test/harness.ts';

let control: Control;
let gateway: TestGateway;
let token: string;
let apiKey: string;

const VIEWER = '{ viewer { isAdmin user { email } } }';
const EMAIL = 'owner@example.com';

beforeAll(async () => {
  control = await startTestControl();
  gateway = await startTestGateway(control);
  const { team } = await newTeam(control, { email: EMAIL });
  token = await signIn(control, EMAIL);
  const viewer = newAdmin({ isAdmin: false, roles: new Map([[team.id, 'OWNER']]) });
  const created = await control.accounts.services.apiKeys.create(viewer, team.id, {
    name: 'robot',
    scopes: ['hosts:read'],
  });
  apiKey = created.secret;
});
afterAll(async () => {
  await gateway?.[Symbol.asyncDispose]();
  await control?.[Symbol.asyncDispose]();
});

const bearer = () => ({ authorization: `Bearer ${token}` });

describe('what control hears of a caller', () => {
  const lastCaller = () => gateway.asked.at(-1)?.caller;

  test('is the address of the socket and the program, over HTTP', async () => {
    await gateway.ask(VIEWER, {}, { ...bearer(), 'user-agent': 'robot/1', 'x-forwarded-for': '198.51.100.1' });
    expect(lastCaller()).toEqual({ token, address: '127.0.0.1', userAgent: 'robot/1' });
  });

  test('is the same over WebSocket, with credentials from wherever they may come', async () => {
    for (const [params, headers] of [
      [{ authorization: `Bearer ${token}` }, {}],
      [{ apiKey }, {}],
      [{ 'x-api-key': apiKey }, {}],
      [{}, { authorization: `Bearer ${token}` }],
      [{}, { 'x-api-key': apiKey }],
    ] as [Record<string, string>, Record<string, string>][]) {
      await using socket = new TestSocket(gateway, params, { 'user-agent': 'robot/2', ...headers });
      expect(await socket.ask(VIEWER)).toHaveProperty('data.viewer.isAdmin', false);
      expect(lastCaller()).toMatchObject({ address: '127.0.0.1', userAgent: 'robot/2' });
    }
  });

  test('is kept with the session that begins at /session', async () => {
    await gateway.post('/session', { email: EMAIL, password: 'correct horse' }, { 'user-agent': 'browser/1' });
    const { data } = await gateway.ask('{ viewer { sessions { address userAgent } } }', {}, bearer());
    expect(data).toHaveProperty('viewer.sessions.0', { address: '127.0.0.1', userAgent: 'browser/1' });
  });

  test('is what a trusted proxy says it is', async () => {
    await using behind = await startTestGateway(control, { ROOKERY_TRUSTED_PROXIES: 'loopback' });
    await behind.ask(VIEWER, {}, { 'x-forwarded-for': '10.0.0.1, 198.51.100.1' });
    expect(behind.asked.at(-1)?.caller.address).toBe('198.51.100.1');
  });

  test('is an API key in a header of its own', async () => {
    const { data } = await gateway.ask(
      '{ viewer { user { id } isAdmin } hosts { totalCount } }',
      {},
      { 'x-api-key': apiKey },
    );
    expect(data).toEqual({ viewer: { user: null, isAdmin: false }, hosts: { totalCount: 0 } });
  });

  test('never comes out of the extensions of an operation', async () => {
    const extensions = { caller: { token } };
    const response = await gateway.post('/graphql', { query: VIEWER, extensions });
    expect(await response.json()).toEqual({ data: { viewer: null } });
    expect(lastCaller()).not.toHaveProperty('token');
  });
});

describe('a request with a header of ours', () => {
  const headers = { 'x-rookery-gateway-secret': 'x'.repeat(32) };

  test.each(['/graphql', '/session', '/session/invitation', '/session/oidc'])('is refused at %s', async (path) => {
    const before = gateway.asked.length;
    const response = await gateway.post(path, { query: VIEWER }, headers);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      errors: [
        {
          message: 'Headers that begin with x-rookery- are not for clients.',
          extensions: { code: 'BAD_USER_INPUT' },
        },
      ],
    });
    expect(gateway.asked.length).toBe(before);
  });

  test('is refused as a WebSocket', async () => {
    expect(await upgradeStatus(`${gateway.url}/graphql`, headers)).toBe(400);
  });
});

describe('a page of another site', () => {
  const foreign = { origin: 'https://elsewhere.example' };
  const signedIn = async () => {
    const response = await gateway.post('/session', { email: EMAIL, password: 'correct horse' });
    return { cookie: response.headers.get('set-cookie')?.split(';')[0] ?? '' };
  };

  test.each([
    ['with its origin', foreign, 403],
    ['from nowhere', { origin: 'null' }, 403],
    ['as text, without an origin', { 'content-type': 'text/plain' }, 400],
    ['as a form', { 'content-type': 'application/x-www-form-urlencoded' }, 400],
    ['as a form with files', { 'content-type': 'multipart/form-data; boundary=x' }, 400],
    ['as nothing in particular', { 'content-type': '' }, 400],
  ])('cannot post with the cookie %s', async (_how, headers: Record<string, string>, status) => {
    const { cookie } = await signedIn();
    const before = gateway.asked.length;
    for (const path of ['/graphql', '/session', '/session/invitation']) {
      const response = await gateway.post(path, { query: 'mutation { signOut }' }, { cookie, ...headers });
      expect([path, response.status]).toEqual([path, status]);
    }
    expect(gateway.asked.length).toBe(before);
  });

  test('cannot ask with GET, nor sign anybody out', async () => {
    const { cookie } = await signedIn();
    const before = gateway.asked.length;
    const get = await fetch(`${gateway.url}/graphql?query=${encodeURIComponent(VIEWER)}`, { headers: { cookie } });
    expect(get.status).toBe(400);
    const out = await fetch(`${gateway.url}/session`, { method: 'DELETE', headers: { cookie, ...foreign } });
    expect(out.status).toBe(403);
    expect(gateway.asked.length).toBe(before);
  });

  test('cannot open a WebSocket', async () => {
    expect(await upgradeStatus(`${gateway.url}/graphql`, { ...(await signedIn()), ...foreign })).toBe(403);
    const own = { origin: gateway.url };
    expect(await upgradeStatus(`${gateway.url}/graphql`, { ...(await signedIn()), ...own })).toBe(101);
  });

  test('can, when its origin is allowed', async () => {
    await using open = await startTestGateway(control, { ROOKERY_ALLOWED_ORIGINS: 'https://elsewhere.example' });
    expect((await open.ask(VIEWER, {}, foreign)).status).toBe(200);
    expect(await upgradeStatus(`${open.url}/graphql`, foreign)).toBe(101);
  });
});

describe('operations that are too much', () => {
  const many = (n: number, field: (i: number) => string) => Array.from({ length: n }, (_, i) => field(i)).join(' ');
  const tooMuch: [string, string, Record<string, unknown>][] = [
    [
      'too deep',
      `{ host(id: "x") { ${'sandboxes { edges { node { host { '.repeat(4)} id ${'} } } }'.repeat(4)} } }`,
      {},
    ],
    ['with too many aliases', `{ viewer { ${many(31, (i) => `a${i}: isAdmin`)} } }`, {}],
    ['with too many root fields', `{ ${many(31, () => 'viewer { isAdmin }')} }`, {}],
    [
      'too expensive with their variables',
      'query ($n: Int) { hosts(first: $n) { edges { node { sandboxes(first: $n) { edges { node { id } } } } } } }',
      { n: 500 },
    ],
  ];

  test.each(tooMuch)('%s are refused over HTTP and WebSocket in the same words', async (_what, query, variables) => {
    await using socket = new TestSocket(gateway, { authorization: `Bearer ${token}` });
    // The socket has asked who it is by then.
    await socket.ask(VIEWER);
    const before = gateway.asked.length;
    const http = await gateway.ask(query, variables, bearer());
    expect(http).toMatchObject({ status: 400, errors: [{ extensions: { code: 'BAD_USER_INPUT' } }] });
    const ws = await socket.ask(query, variables);
    expect(ws.errors?.map(({ message }) => message)).toEqual(http.errors?.map(({ message }) => message));
    expect(gateway.asked.length).toBe(before);
  });

  test('are not let through by asking with GET', async () => {
    const [, query = ''] = tooMuch[0] ?? [];
    const response = await fetch(`${gateway.url}/graphql?query=${encodeURIComponent(query)}`, {
      headers: { 'apollo-require-preflight': '1' },
    });
    expect(await response.json()).toMatchObject({ errors: [{ message: expect.stringContaining('levels deep') }] });
  });

  test('are not let through by their hash', async () => {
    const { createHash } = await import('node:crypto');
    const sha256Hash = createHash('sha256').update(VIEWER).digest('hex');
    const extensions = { persistedQuery: { version: 1, sha256Hash } };
    const response = await gateway.post('/graphql', { query: VIEWER, extensions });
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: 'BAD_USER_INPUT' } }] });
  });

  test('are refused at the limits that are set', async () => {
    await using strict = await startTestGateway(control, { ROOKERY_MAX_QUERY_DEPTH: '2', ROOKERY_MAX_QUERY_COST: '5' });
    expect((await strict.ask('{ viewer { user { email } } }')).errors?.[0]?.message).toMatch(/2 levels/);
    expect((await strict.ask('{ hosts { totalCount } }')).errors?.[0]?.message).toMatch(/too much at once/);
    expect((await strict.ask('{ viewer { isAdmin } }')).errors).toBeUndefined();
  });

  test('are not taken by the dozen', async () => {
    const response = await gateway.post('/graphql', [{ query: VIEWER }, { query: VIEWER }]);
    expect(response.status).toBe(400);
  });

  test('of a body without bounds are refused before it is read', async () => {
    const response = await gateway.post('/graphql', { query: VIEWER, padding: 'x'.repeat(3 * 1024 * 1024) });
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: 'BAD_USER_INPUT' } }] });
  });

  test('of a WebSocket message without bounds end the socket that sent it', async () => {
    await using narrow = await startTestGateway(control, { ROOKERY_MAX_BODY_BYTES: '2048' });
    await using socket = new TestSocket(narrow, { authorization: `Bearer ${token}` });
    await socket.ask(VIEWER);
    await socket.ask(`${VIEWER} # ${'x'.repeat(4_000)}`).catch(() => {});
    expect(await socket.closed).toBe(1009);
  });

  test('on one socket are refused one by one, and a refusal takes no place', async () => {
    await using narrow = await startTestGateway(control, { ROOKERY_OPERATIONS_PER_SOCKET: '2' });
    await using socket = new TestSocket(narrow, { authorization: `Bearer ${token}` });
    for (let n = 0; n < 5; n++) expect((await socket.ask('{ nonsense }')).errors).toHaveLength(1);
    for (let n = 0; n < 2; n++) socket.open('subscription { hostChanged { cursor } }');
    await vi.waitFor(async () =>
      expect((await socket.ask(VIEWER)).errors).toMatchObject([
        { message: 'At most 2 operations may be open on one socket.', extensions: { code: 'RATE_LIMITED' } },
      ]),
    );
  });
});

describe('too many requests', () => {
  test('with one credential are refused with 429 and the time to wait, and others are not', async () => {
    await using strict = await startTestGateway(control, { ROOKERY_REQUESTS_PER_VIEWER: '3' });
    for (let n = 0; n < 3; n++) expect((await strict.ask(VIEWER, {}, bearer())).status).toBe(200);
    const refused = await strict.post('/graphql', { query: VIEWER }, bearer());
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused.json()).toMatchObject({
      errors: [{ extensions: { code: 'RATE_LIMITED', retryable: true, retryAfterSeconds: expect.any(Number) } }],
    });
    expect((await strict.ask(VIEWER, {}, { 'x-api-key': apiKey })).status).toBe(200);
    expect((await strict.ask(VIEWER)).status).toBe(200);
  });

  test('from one address are refused, whatever credentials they make up', async () => {
    await using strict = await startTestGateway(control, {
      ROOKERY_REQUESTS_PER_ADDRESS: '3',
      ROOKERY_TRUSTED_PROXIES: 'loopback',
    });
    const from = (address: string, n = 0) => ({ authorization: `Bearer made.up${n}`, 'x-forwarded-for': address });
    for (let n = 0; n < 3; n++) expect((await strict.ask(VIEWER, {}, from('198.51.100.1', n))).status).toBe(200);
    expect((await strict.ask(VIEWER, {}, from('198.51.100.1', 9))).status).toBe(429);
    const session = await strict.post('/session', {}, from('198.51.100.1'));
    expect(session.status).toBe(429);
    expect(await session.json()).toMatchObject({ error: expect.any(String), retryAfterSeconds: expect.any(Number) });
    expect((await strict.ask(VIEWER, {}, from('198.51.100.2'))).status).toBe(200);
  });

  test('over WebSocket are answered on their own operation', async () => {
    await using strict = await startTestGateway(control, { ROOKERY_REQUESTS_PER_VIEWER: '3' });
    await using socket = new TestSocket(strict, { authorization: `Bearer ${token}` });
    // One was the connection.
    for (let n = 0; n < 2; n++) expect(await socket.ask(VIEWER)).toHaveProperty('data');
    expect((await socket.ask(VIEWER)).errors).toMatchObject([{ extensions: { code: 'RATE_LIMITED' } }]);
  });

  test('are none when there is no limit', async () => {
    await using open = await startTestGateway(control, {
      ROOKERY_REQUESTS_PER_VIEWER: '0',
      ROOKERY_REQUESTS_PER_ADDRESS: '0',
    });
    expect((await open.ask(VIEWER, {}, bearer())).status).toBe(200);
  });
});

describe('too many sockets', () => {
  test('of one viewer are told to come back later', async () => {
    await using narrow = await startTestGateway(control, { ROOKERY_SOCKETS_PER_VIEWER: '1' });
    const params = { authorization: `Bearer ${token}` };
    {
      await using first = new TestSocket(narrow, params);
      await first.ask(VIEWER);
      await using second = new TestSocket(narrow, params);
      expect(await second.closed).toBe(1013);
      await using other = new TestSocket(narrow, { apiKey });
      expect(await other.ask(VIEWER)).toHaveProperty('data');
    }
    await vi.waitFor(async () => {
      await using again = new TestSocket(narrow, params);
      expect(await again.ask(VIEWER)).toHaveProperty('data');
    }, 10_000);
  });

  test('from one address are refused with 429', async () => {
    await using narrow = await startTestGateway(control, { ROOKERY_SOCKETS_PER_ADDRESS: '1' });
    {
      await using first = new TestSocket(narrow, { apiKey });
      await first.ask(VIEWER);
      expect(await upgradeStatus(`${narrow.url}/graphql`)).toBe(429);
    }
    await vi.waitFor(async () => expect(await upgradeStatus(`${narrow.url}/graphql`)).toBe(101), 10_000);
  });
});

describe('the schema', () => {
  const QUESTION = '{ __schema { queryType { name } } }';

  test('may be asked for over HTTP and WebSocket where that is switched on', async () => {
    await using open = await startTestGateway(control, { ROOKERY_INTROSPECTION: 'true' });
    expect((await open.ask(QUESTION)).data).toEqual({ __schema: { queryType: { name: 'Query' } } });
    await using socket = new TestSocket(open, { apiKey });
    expect((await socket.ask(QUESTION)).data).toEqual({ __schema: { queryType: { name: 'Query' } } });
  });

  test('may not be asked for on either path unless it is', async () => {
    const error = { message: 'The schema cannot be asked for here.', extensions: { code: 'BAD_USER_INPUT' } };
    expect((await gateway.ask(QUESTION)).errors).toMatchObject([error]);
    await using socket = new TestSocket(gateway, { apiKey });
    expect((await socket.ask(QUESTION)).errors).toMatchObject([error]);
  });
});
