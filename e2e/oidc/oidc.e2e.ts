import { describe, expect, it } from 'vitest';
import {
  CLIENT_ID,
  CLIENT_SECRET,
  newPerson,
  TestBrowser,
  TestOidcProvider,
  type Person,
} from '../../control/test/oidc-provider.ts';
import { Api } from '../support/api.ts';
import { ADMIN_EMAIL, newPlace, startRookery, type Place, type Rookery } from '../support/rookery.ts';
import { NOTHING, Story } from '../support/story.ts';

const PASSWORD = 'correct horse battery';

describe('people who sign in at the identity provider of their company', () => {
  const story = new Story();
  const ada = newPerson({ email: 'ada@example.com', name: 'Ada Lovelace' });
  let place: Place;
  let rookery: Rookery;
  let provider: TestOidcProvider;
  let sessionCookie: string;

  /** Follows the link on the sign-in page; returns where the browser ends up. */
  async function signIn(
    person: Person | null,
    { returnTo = '/sandboxes', browser = new TestBrowser() } = {},
  ): Promise<{ browser: TestBrowser; at: URL }> {
    provider.person = person;
    const link = `${rookery.url}/session/oidc?returnTo=${encodeURIComponent(returnTo)}`;
    const at = await browser.follow(link, ({ port, pathname }) =>
      Boolean(port === String(place.port) && !pathname.startsWith('/session/')),
    );
    return { browser, at };
  }

  const ask = async (browser: TestBrowser, query: string): Promise<unknown> => {
    const response = await fetch(`${rookery.url}/graphql`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        cookie: `${sessionCookie}=${browser.cookie(sessionCookie) ?? ''}`,
      },
      body: JSON.stringify({ query }),
    });
    return response.json();
  };
  const VIEWER = '{ viewer { user { email name } sessions { method isCurrent } } }';

  it('finds the way on the sign-in page', async () => {
    place = await newPlace(story);
    sessionCookie = `rookery_session_${place.port}`;
    provider = story.use(
      await TestOidcProvider.start([`http://127.0.0.1:${place.port}/session/oidc/callback`], {
        conformIdTokenClaims: true,
      }),
    );
    rookery = await startRookery(story, place, {
      ROOKERY_ADMIN_PASSWORD: PASSWORD,
      ROOKERY_OIDC_ISSUER: provider.issuer,
      ROOKERY_OIDC_CLIENT_ID: CLIENT_ID,
      ROOKERY_OIDC_CLIENT_SECRET: CLIENT_SECRET,
      ROOKERY_OIDC_NAME: 'Example Inc.',
      ROOKERY_OIDC_ALLOWED_DOMAINS: 'example.com',
    });
    const methods = await new Api(rookery.url).request('{ signInMethods { password oidc { name } } }');
    expect(methods).toEqual({ signInMethods: { password: true, oidc: { name: 'Example Inc.' } } });
  });

  it('is taken there and back, and is signed in by a cookie that no script can read', async () => {
    const { browser, at } = await signIn(ada, { returnTo: '/sandboxes?status=running' });
    expect(at.pathname + at.search).toBe('/sandboxes?status=running');
    expect(await ask(browser, VIEWER)).toEqual({
      data: {
        viewer: {
          user: { email: 'ada@example.com', name: 'Ada Lovelace' },
          sessions: [{ method: 'OIDC', isCurrent: true }],
        },
      },
    });
    const [flow, ...rest] = browser.received.filter((header) => header.startsWith('rookery_session'));
    expect(flow).toMatch(/_oidc=[\w-]+; HttpOnly; SameSite=Lax; Path=\/session\/oidc; Max-Age=600$/);
    expect(rest.at(-1)).toMatch(/^rookery_session_\d+=rks_[\w-]+; HttpOnly; SameSite=Strict; Path=\/; Max-Age=\d+$/);
    // Used up.
    expect(browser.cookie(`${sessionCookie}_oidc`)).toBeUndefined();
  });

  it.each(['//evil.example', '/\\evil.example', 'https://evil.example', '/\t/evil.example'])(
    'is not led astray by a link with %j in it',
    async (returnTo) => {
      const { at } = await signIn(ada, { returnTo });
      expect(at.href).toBe(`${rookery.url}/`);
    },
  );

  it('is not led astray by what the browser says of the way back either', async () => {
    provider.person = ada;
    const browser = new TestBrowser();
    const callback = await browser.follow(`${rookery.url}/session/oidc`, ({ pathname }) =>
      pathname.endsWith('/callback'),
    );
    const name = `${sessionCookie}_oidc`;
    const kept = JSON.parse(Buffer.from(browser.cookie(name) ?? '', 'base64url').toString()) as object;
    const changed = { ...kept, returnTo: '//evil.example' };
    browser.setCookie(name, Buffer.from(JSON.stringify(changed)).toString('base64url'), '/session/oidc');
    const response = await browser.get(callback.href);
    expect(response.status).toBe(303);
    expect(response.headers.get('location')).toBe('/');
  });

  it('keeps nothing in the browser by which a code that was overheard could be used', async () => {
    provider.person = ada;
    const browser = new TestBrowser();
    const there = await browser.follow(`${rookery.url}/session/oidc`, ({ pathname }) => pathname === '/auth');
    expect(there.searchParams.get('code_challenge')).toMatch(/^[\w-]{43}$/);
    const kept = Buffer.from(browser.cookie(`${sessionCookie}_oidc`) ?? '', 'base64url').toString();
    expect(Object.keys(JSON.parse(kept) as object)).toEqual(['flow', 'returnTo']);
    expect(kept).toMatch(/"flow":"rkf_[\w-]{43}"/);
  });

  it('tells the sign-in page when the provider, or whoever came, says no', async () => {
    const problems: Promise<{ at: URL; browser: TestBrowser }>[] = [];
    for (const person of [
      null,
      newPerson({ email: 'eve@elsewhere.example' }),
      newPerson({ email: 'eve@example.com', email_verified: false }),
    ]) {
      const outcome = signIn(person);
      await outcome;
      problems.push(outcome);
    }
    for (const { at, browser } of await Promise.all(problems)) {
      expect(at.pathname + at.search).toBe('/sign-in?problem=oidc');
      expect(browser.cookie(sessionCookie)).toBeUndefined();
    }
  });

  it('cannot be signed in by the callback of somebody else', async () => {
    provider.person = ada;
    const isCallback = ({ pathname }: URL): boolean => pathname.endsWith('/callback');
    const theirs = await new TestBrowser().follow(`${rookery.url}/session/oidc`, isCallback);
    // A browser that has begun nothing, and one that has begun something else.
    const [idle, busy] = [new TestBrowser(), new TestBrowser()];
    await busy.follow(`${rookery.url}/session/oidc`, isCallback);
    for (const victim of [idle, busy]) {
      const response = await victim.get(theirs.href);
      expect(response.headers.get('location')).toBe('/sign-in?problem=oidc');
      expect(victim.cookie(sessionCookie)).toBeUndefined();
    }
  });

  it('is not sent to the provider by a host name that is not ours', async () => {
    const { request } = await import('node:http');
    const location = await new Promise<string | undefined>((resolve, reject) => {
      request({ port: place.port, path: '/session/oidc', headers: { host: 'evil.example' } }, (response) => {
        response.resume();
        resolve(response.headers.location);
      })
        .on('error', reject)
        .end();
    });
    expect(location).toBe('/sign-in?problem=oidc');
  });

  it('is on the audit trail, whoever they were', async () => {
    await using admin = await Api.signIn(rookery.url, ADMIN_EMAIL, PASSWORD);
    const { auditEvents } = await admin.request<{
      auditEvents: { edges: { node: { action: string; outcome: string; actorLabel: string | null } }[] };
    }>('{ auditEvents(first: 100) { edges { node { action outcome actorLabel } } } }');
    const seen = auditEvents.edges.map(({ node }) => `${node.action} ${node.outcome} ${node.actorLabel ?? '-'}`);
    expect(seen).toContain('user.created SUCCEEDED ada@example.com');
    expect(seen).toContain('completeOidcSignIn SUCCEEDED ada@example.com');
    expect(seen).toContain('completeOidcSignIn REFUSED -');
  });

  it('can still use a password when the provider is away, and is told that it is', async () => {
    await provider[Symbol.asyncDispose]();
    const browser = new TestBrowser();
    const response = await browser.get(`${rookery.url}/session/oidc/callback?code=x&state=y`);
    expect(response.headers.get('location')).toBe('/sign-in?problem=oidc');
    await using _admin = await Api.signIn(rookery.url, ADMIN_EMAIL, PASSWORD);
    expect(await rookery.stop()).toMatchObject({ code: 0 });
    expect(await story.leftovers()).toEqual(NOTHING);
  });
});
