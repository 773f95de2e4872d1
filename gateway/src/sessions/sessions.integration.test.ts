import type { AccountsTables } from '@rookery/control/accounts/tables.ts';
import type { Control } from '@rookery/control/app.ts';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newAdmin, newTeam, newUser, PASSWORD, signIn, startTestControl } from '../../../control/test/harness.ts';
import { startTestGateway, TestSocket, type TestGateway } from '../../test/harness.ts';

let control: Control;
let gateway: TestGateway;

const VIEWER = '{ viewer { user { email } } }';

/** How soon a socket of a session that has ended must be told, in ms. */
const AT_ONCE_MS = 2_000;
const SOON_MS = 5_000;

beforeAll(async () => {
  control = await startTestControl();
  gateway = await startTestGateway(control);
});
afterAll(async () => {
  await gateway?.[Symbol.asyncDispose]();
  await control?.[Symbol.asyncDispose]();
});

/** Signs somebody in as their browser does. */
async function browser(email: string): Promise<{ cookie: string }> {
  const response = await gateway.post('/session', { email, password: PASSWORD });
  expect(response.status).toBe(200);
  return cookieOf(response);
}

const cookieOf = (response: Response) => ({ cookie: response.headers.get('set-cookie')?.split(';')[0] ?? '' });
const emailOf = async (headers: Record<string, string>) =>
  ((await gateway.ask(VIEWER, {}, headers)).data as { viewer: { user: { email: string } } | null }).viewer?.user.email;
const remove = (path: string, headers: Record<string, string>) =>
  fetch(`${gateway.url}${path}`, { method: 'DELETE', headers });

describe('POST /session', () => {
  test('sets a cookie that stands for the person, and lasts as long as the session', async () => {
    const { email } = await newUser(control);
    const response = await gateway.post('/session', { email, password: PASSWORD });
    const header = response.headers.get('set-cookie') ?? '';
    expect(header).toMatch(
      /^rookery_session=rks_[\w-]+; HttpOnly; SameSite=Strict; Path=\/; Max-Age=60(4\d{2}|3\d{2})/,
    );
    expect(await response.json()).toMatchObject({ viewer: { user: { email } } });
    expect(await emailOf(cookieOf(response))).toBe(email);
  });

  test.each([
    [{ email: 'nobody@example.com', password: 'x' }, 401],
    [{ email: '', password: 'x' }, 400],
    [{ email: 7 }, 400],
    [null, 400],
    ['not JSON', 400],
    [{ email: 'a', password: 'x'.repeat(20_000) }, 413],
  ])('answers %j with %s', async (body, status) => {
    const response = await gateway.post('/session', body);
    expect(response.status).toBe(status);
    expect(response.headers.get('set-cookie')).toBeNull();
  });

  test('says how long to wait after too many wrong passwords', async () => {
    const { email } = await newUser(control);
    let response: Response;
    do response = await gateway.post('/session', { email, password: 'wrong' });
    while (response.status === 401);
    expect(response.status).toBe(429);
    const { retryAfterSeconds, error } = (await response.json()) as { retryAfterSeconds: number; error: string };
    expect(retryAfterSeconds).toBeGreaterThan(60);
    expect(response.headers.get('retry-after')).toBe(String(retryAfterSeconds));
    expect(error).toMatch(/try again in/);
  });
});

describe('DELETE /session', () => {
  test('ends this session and clears the cookie', async () => {
    const { email } = await newUser(control);
    const [one, two] = [await browser(email), await browser(email)];
    const response = await remove('/session', one);
    expect(response.status).toBe(200);
    expect(response.headers.get('set-cookie')).toMatch(/^rookery_session=; .*Max-Age=0/);
    expect(await emailOf(one)).toBeUndefined();
    expect(await emailOf(two)).toBe(email);
  });

  test('everywhere ends all of them, and nobody else’s', async () => {
    const { email } = await newUser(control);
    const other = await browser((await newUser(control)).email);
    const [one, two] = [await browser(email), await browser(email)];
    expect(await (await remove('/session?everywhere=1', one)).json()).toEqual({ ended: 2 });
    expect(await emailOf(two)).toBeUndefined();
    expect(await emailOf(other)).toBeDefined();
  });

  test('of a session that is over already is fine', async () => {
    const session = await browser((await newUser(control)).email);
    for (const path of ['/session', '/session', '/session?everywhere=1'])
      expect((await remove(path, session)).status).toBe(200);
    expect((await remove('/session', {})).status).toBe(200);
  });

  test('says so when control is away, and leaves the cookie alone: the session lives on', async () => {
    const lonely = await startTestControl();
    await using stranded = await startTestGateway(lonely);
    await lonely[Symbol.asyncDispose]();
    const response = await fetch(`${stranded.url}/session`, {
      method: 'DELETE',
      headers: { cookie: 'rookery_session=rks_something' },
    });
    expect(response.status).toBe(503);
    expect(response.headers.get('set-cookie')).toBeNull();
  });
});

describe('POST /session/invitation', () => {
  const invite = async (email: string) => {
    const { team } = await newTeam(control);
    const owner = newAdmin({ isAdmin: false, roles: new Map([[team.id, 'OWNER']]) });
    const { token } = await control.accounts.services.invitations.invite(owner, team.id, { email, role: 'MEMBER' });
    return token;
  };
  const accept = (body: object, headers: Record<string, string> = {}) =>
    gateway.post('/session/invitation', body, headers);

  test('makes an account, joins the team and begins a session', async () => {
    const email = 'new@example.com';
    const response = await accept({ token: await invite(email), name: 'New', password: PASSWORD });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ team: { name: 'Team' }, viewer: { user: { name: 'New', email } } });
    expect(response.headers.get('set-cookie')).toMatch(/HttpOnly; SameSite=Strict/);
    expect(await emailOf(cookieOf(response))).toBe(email);
  });

  test('joins as whoever is signed in, and leaves their session alone', async () => {
    const { email } = await newUser(control);
    const response = await accept({ token: await invite(email) }, await browser(email));
    expect(response.status).toBe(200);
    expect(response.headers.get('set-cookie')).toBeNull();
    expect(await response.json()).toMatchObject({ viewer: null });
  });

  test('answers each refusal with a status of its own', async () => {
    const { email } = await newUser(control);
    const token = await invite(email);
    const someoneElse = await browser((await newUser(control)).email);
    const answers: [object, Record<string, string>, number][] = [
      [{}, {}, 400],
      [{ token }, {}, 400],
      [{ token: await invite('short@example.com'), name: 'A', password: 'short' }, {}, 400],
      [{ token, password: 'the wrong one' }, {}, 401],
      [{ token: 'rki_unknown', name: 'A', password: PASSWORD }, {}, 404],
      [{ token }, someoneElse, 409],
      [{ token, password: PASSWORD }, {}, 200],
      [{ token, password: PASSWORD }, {}, 404],
    ];
    for (const [body, headers, status] of answers) {
      const response = await accept(body, headers);
      const { error } = (await response.json()) as { error?: string };
      expect([body, response.status]).toEqual([body, status]);
      if (status !== 200) expect(error).toMatch(/\w/);
    }
  });

  test('tells a member that they are one', async () => {
    const { team } = await newTeam(control);
    const viewer = newAdmin({ isAdmin: false, roles: new Map([[team.id, 'OWNER']]) });
    const { id: userId, email } = await newUser(control);
    const { token } = await control.accounts.services.invitations.invite(viewer, team.id, { email, role: 'ADMIN' });
    // By another way, while the invitation lay there.
    await control.database
      .as<AccountsTables>()
      .query.insertInto('Membership')
      .values({ id: randomUUID(), userId, teamId: team.id, role: 'MEMBER' })
      .execute();
    expect((await accept({ token }, await browser(email))).status).toBe(409);
  });

  test('counts wrong passwords', async () => {
    const { email } = await newUser(control);
    const token = await invite(email);
    let response: Response;
    do response = await accept({ token, password: 'the wrong one' });
    while (response.status === 401);
    expect(response.status).toBe(429);
    expect(await response.json()).toMatchObject({ retryAfterSeconds: expect.any(Number) });
  });
});

test.each([
  ['PUT', '/session', 405],
  ['GET', '/session/invitation', 405],
  ['POST', '/session/oidc', 405],
  ['GET', '/session/elsewhere', 404],
])('%s %s is answered with %s', async (method, path, status) => {
  expect((await fetch(`${gateway.url}${path}`, { method })).status).toBe(status);
});

describe('a WebSocket whose session ends', () => {
  const STREAM = 'subscription { hostChanged { cursor } }';

  /** An open socket of a browser, with a stream on it or without. */
  async function tab(session: Record<string, string>, withStream: boolean): Promise<TestSocket> {
    const socket = new TestSocket(gateway, {}, session);
    expect(await socket.ask(VIEWER)).toHaveProperty('data.viewer.user');
    if (withStream) socket.open(STREAM);
    // Answered after the stream was asked for, so that it is there.
    await socket.ask(VIEWER);
    return socket;
  }

  /** The close code, and after how long it came. */
  async function closing(socket: TestSocket, act: () => Promise<unknown>): Promise<{ code: number; after: number }> {
    const from = performance.now();
    await act();
    const code = await socket.closed;
    return { code, after: performance.now() - from };
  }

  test.each([[true], [false]])('by signing out is closed at once (stream open: %s)', async (withStream) => {
    const session = await browser((await newUser(control)).email);
    await using socket = await tab(session, withStream);
    const { code, after } = await closing(socket, () => remove('/session', session));
    expect(code).toBe(4401);
    expect(after).toBeLessThan(AT_ONCE_MS);
  });

  test('by signing out everywhere in another tab is closed at once', async () => {
    const { email } = await newUser(control);
    const [here, there] = [await browser(email), await browser(email)];
    await using socket = await tab(there, true);
    const { code, after } = await closing(socket, () => remove('/session?everywhere=1', here));
    expect(code).toBe(4401);
    expect(after).toBeLessThan(AT_ONCE_MS);
  });

  test.each([[true], [false]])(
    'where this gateway does not hear of it is closed within 5 s (stream open: %s)',
    async (withStream) => {
      const { email } = await newUser(control);
      const session = await browser(email);
      await using socket = await tab(session, withStream);
      const viewer = await control.accounts.port.viewer({ token: await signIn(control, email) });
      const { code, after } = await closing(socket, () => control.accounts.services.sessions.signOutEverywhere(viewer));
      expect(code).toBe(4401);
      expect(after).toBeLessThan(SOON_MS);
    },
  );

  test('by an operation on it is closed when the next one is refused', async () => {
    const session = await browser((await newUser(control)).email);
    await using socket = await tab(session, false);
    const { code, after } = await closing(socket, async () => {
      expect(await socket.ask('mutation { signOut }')).toEqual({ data: { signOut: true } });
      await socket.ask('{ hosts { totalCount } }').catch(() => {});
    });
    expect(code).toBe(4401);
    expect(after).toBeLessThan(AT_ONCE_MS);
  });

  test('leaves the sockets of others open', async () => {
    const { email } = await newUser(control);
    const [mine, other] = [await browser(email), await browser(email)];
    await using socket = await tab(other, true);
    let code: number | undefined;
    void socket.closed.then((closedWith) => (code = closedWith));
    await using gone = await tab(mine, true);
    await remove('/session', mine);
    await gone.closed;
    expect(await socket.ask(VIEWER)).toHaveProperty('data.viewer.user.email', email);
    expect(code).toBeUndefined();
  });

  test('by its access token’s age is told to come back with a new one', async () => {
    const short = await startTestControl({ ROOKERY_ACCESS_TOKEN_SECONDS: 1 });
    await using second = await startTestGateway(short);
    const { email } = await newUser(short);
    await using socket = new TestSocket(second, { authorization: `Bearer ${await signIn(short, email)}` });
    expect(await socket.closed).toBe(4403);
    await short[Symbol.asyncDispose]();
  });

  test('that never was one is not opened', async () => {
    await using stranger = new TestSocket(gateway);
    expect(await stranger.closed).toBe(4401);
    await using pretender = new TestSocket(gateway, { authorization: 'Bearer made.up.token' });
    expect(await pretender.closed).toBe(4401);
  });
});
