import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newUser, PASSWORD, startTestControl } from '../../../test/harness.ts';
import {
  CLIENT_ID,
  CLIENT_SECRET,
  newPerson,
  TestBrowser,
  TestOidcProvider,
  type Person,
} from '../../../test/oidc-provider.ts';
import type { Control } from '../../app.ts';
import { controlConfigSchema } from '../../config.ts';
import type { AccountsServices } from '../builder.ts';
import type { SignedIn } from '../sessions/session.service.ts';
import type { AccountsTables } from '../tables.ts';
import { oidcSettings } from './oidc.config.ts';

const REDIRECT_URI = 'http://127.0.0.1:1/session/oidc/callback';
const CALLER = { address: '198.51.100.1', userAgent: 'browser/1' };

let provider: TestOidcProvider;
let control: Control;
let accounts: AccountsServices;

const settings = (issuer: string, more: object = {}) => ({
  ROOKERY_OIDC_ISSUER: issuer,
  ROOKERY_OIDC_CLIENT_ID: CLIENT_ID,
  ROOKERY_OIDC_CLIENT_SECRET: CLIENT_SECRET,
  ...more,
});

beforeAll(async () => {
  provider = await TestOidcProvider.start([REDIRECT_URI]);
  control = await startTestControl(
    settings(provider.issuer, { ROOKERY_OIDC_NAME: 'Example', ROOKERY_OIDC_ALLOWED_DOMAINS: ['example.com'] }),
  );
  accounts = control.accounts.services;
});
afterAll(async () => {
  await control?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
});

/** Goes to the provider as somebody and comes back; returns what is needed to end the flow. */
async function visit(person: Person | null, at = provider, using = accounts) {
  at.person = person;
  const { authorizationUrl, flow } = await using.oidc.start({ redirectUri: REDIRECT_URI });
  const back = await new TestBrowser().follow(authorizationUrl, ({ port }) => port === '1');
  return { flow, callbackUrl: back.href };
}

const signInAs = async (person: Person): Promise<SignedIn> => accounts.oidc.complete(await visit(person), CALLER);
const query = () => control.database.as<AccountsTables>().query;
const userOf = (email: string) => accounts.users.byEmail(email);

describe('somebody whom nobody here knows', () => {
  test('gets an account with their name, verified and without a password, and a session', async () => {
    const person = newPerson({ name: 'Ada Lovelace' });
    const { token, viewer } = await signInAs(person);
    expect(await control.accounts.port.viewer({ token })).toMatchObject({ label: person.email });
    expect(await userOf(person.email ?? '')).toMatchObject({
      name: 'Ada Lovelace',
      passwordHash: null,
      isAdmin: false,
      emailVerifiedAt: expect.any(Date),
    });
    const [session] = await accounts.sessions.list(viewer);
    expect(session).toMatchObject({ method: 'OIDC', ...CALLER });
  });

  test('is the same account the next time, whatever their address has become', async () => {
    const person = newPerson();
    const first = await signInAs(person);
    const second = await signInAs({ ...person, email: 'elsewhere@other.example', email_verified: false });
    expect(second.viewer.id).toBe(first.viewer.id);
  });

  test('is one account when two of their browsers come back at once', async () => {
    const person = newPerson();
    const visits = [await visit(person), await visit(person)];
    const [one, two] = await Promise.all(visits.map((back) => accounts.oidc.complete(back, CALLER)));
    expect(one?.viewer.id).toBe(two?.viewer.id);
  });

  test.each<[string, Partial<Person>, RegExp]>([
    ['does not vouch for their address', { email_verified: false }, /no verified e-mail address/],
    ['says nothing of their address', { email_verified: undefined as never }, /no verified e-mail address/],
    ['vouches with a word for yes', { email_verified: 'true' as never }, /no verified e-mail address/],
    ['knows no address', { email: undefined as never }, /no verified e-mail address/],
    ['knows an address of a domain that is not allowed', { email: 'a@other.example' }, /cannot be made here/],
    ['knows an address that only ends like an allowed one', { email: 'a@evil-example.com' }, /cannot be made here/],
  ])('is refused when the provider %s', async (_why, claims, message) => {
    const person = newPerson(claims);
    await expect(signInAs(person)).rejects.toMatchObject({
      code: 'OIDC_REFUSED',
      message: expect.stringMatching(message),
    });
    const identity = await query().selectFrom('UserIdentity').selectAll().where('subject', '=', person.sub).execute();
    expect(identity).toEqual([]);
  });

  test('may have a name that no table would hold', async () => {
    const person = newPerson({ name: `A\u0000da\n${'x'.repeat(500)}` });
    await signInAs(person);
    expect((await userOf(person.email ?? ''))?.name).toMatch(/^A da x{90,}$/);
  });
});

describe('somebody with an account here', () => {
  test('whose address is verified keeps their password and sessions', async () => {
    const user = await newUser(control, { emailVerified: true });
    const before = await accounts.sessions.signIn({ email: user.email, password: PASSWORD }, {});
    const { viewer } = await signInAs(newPerson({ email: user.email.toUpperCase() }));
    expect(viewer.id).toBe(user.id);
    expect(await control.accounts.port.viewer({ token: before.token })).not.toBeNull();
    await accounts.sessions.signIn({ email: user.email, password: PASSWORD }, {});
  });

  test('whose address is not verified takes it over from whoever made the account', async () => {
    const squatted = await newUser(control, { emailVerified: false });
    const squatter = await accounts.sessions.signIn({ email: squatted.email, password: PASSWORD }, {});
    const { viewer, token } = await signInAs(newPerson({ email: squatted.email }));
    expect(viewer.id).toBe(squatted.id);
    expect(await control.accounts.port.viewer({ token: squatter.token })).toBeNull();
    expect(await control.accounts.port.viewer({ session: squatter.refreshToken })).toBeNull();
    await expect(accounts.sessions.signIn({ email: squatted.email, password: PASSWORD }, {})).rejects.toMatchObject({
      code: 'INVALID_CREDENTIALS',
    });
    expect(await userOf(squatted.email)).toMatchObject({ passwordHash: null, emailVerifiedAt: expect.any(Date) });
    expect(await control.accounts.port.viewer({ token })).not.toBeNull();
  });

  test('may have an address of a domain that could not make one', async () => {
    const user = await newUser(control, { email: 'old@other.example', emailVerified: true });
    expect((await signInAs(newPerson({ email: user.email }))).viewer.id).toBe(user.id);
  });

  test('is not taken for someone by an address that nobody vouches for', async () => {
    const user = await newUser(control, { emailVerified: true });
    await expect(signInAs(newPerson({ email: user.email, email_verified: false }))).rejects.toMatchObject({
      code: 'OIDC_REFUSED',
    });
  });

  test('is not taken for someone of another provider with the same name for them', async () => {
    const person = newPerson();
    const { viewer } = await signInAs(person);
    await query()
      .updateTable('UserIdentity')
      .set({ issuer: 'https://elsewhere.example' })
      .where('subject', '=', person.sub)
      .execute();
    const other = newPerson({ sub: person.sub });
    expect((await signInAs(other)).viewer.id).not.toBe(viewer.id);
  });
});

describe('a flow', () => {
  test('answers once', async () => {
    const back = await visit(newPerson());
    await accounts.oidc.complete(back, CALLER);
    await expect(accounts.oidc.complete(back, CALLER)).rejects.toMatchObject({ code: 'OIDC_REFUSED' });
  });

  test('answers once even to two at once', async () => {
    const back = await visit(newPerson());
    const outcomes = await Promise.allSettled([0, 1].map(() => accounts.oidc.complete(back, CALLER)));
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  test('does not answer to the callback of another', async () => {
    const [mine, theirs] = [await visit(newPerson()), await visit(newPerson())];
    await expect(
      accounts.oidc.complete({ flow: mine.flow, callbackUrl: theirs.callbackUrl }, CALLER),
    ).rejects.toMatchObject({ code: 'OIDC_REFUSED' });
  });

  test.each<[string, (url: URL) => void]>([
    ['another state', (url) => url.searchParams.set('state', 'x')],
    ['no state', (url) => url.searchParams.delete('state')],
    ['another code', (url) => url.searchParams.set('code', 'x')],
    ['no code', (url) => url.searchParams.delete('code')],
    ['another issuer', (url) => url.searchParams.set('iss', 'https://evil.example')],
  ])('does not answer to %s', async (_what, change) => {
    const { flow, callbackUrl } = await visit(newPerson());
    const url = new URL(callbackUrl);
    change(url);
    await expect(accounts.oidc.complete({ flow, callbackUrl: url.href }, CALLER)).rejects.toMatchObject({
      code: 'OIDC_REFUSED',
      message: 'Signing in did not work; please try again.',
    });
  });

  test('does not answer with another verifier or nonce than it was begun with', async () => {
    for (const change of [{ codeVerifier: 'x'.repeat(43) }, { nonce: 'x' }]) {
      const back = await visit(newPerson());
      await query().updateTable('OidcFlow').set(change).execute();
      await expect(accounts.oidc.complete(back, CALLER)).rejects.toMatchObject({ code: 'OIDC_REFUSED' });
    }
  });

  test('that took too long is over, and swept away by the next', async () => {
    const back = await visit(newPerson());
    await query()
      .updateTable('OidcFlow')
      .set({ expiresAt: new Date(Date.now() - 1) })
      .execute();
    await expect(accounts.oidc.complete(back, CALLER)).rejects.toMatchObject({ code: 'OIDC_REFUSED' });
    await accounts.oidc.start({ redirectUri: REDIRECT_URI });
    const left = await query().selectFrom('OidcFlow').selectAll().execute();
    expect(left).toHaveLength(1);
  });

  test('of someone who changed their mind is refused', async () => {
    await expect(accounts.oidc.complete(await visit(null), CALLER)).rejects.toMatchObject({ code: 'OIDC_REFUSED' });
  });

  test('does not give its verifier away, nor keep its own name', async () => {
    const started = await accounts.oidc.start({ redirectUri: REDIRECT_URI });
    const rows = await query().selectFrom('OidcFlow').selectAll().execute();
    for (const { codeVerifier, nonce } of rows) expect(JSON.stringify(started)).not.toContain(codeVerifier ?? nonce);
    expect(JSON.stringify(rows)).not.toContain(started.flow);
    const { searchParams } = new URL(started.authorizationUrl);
    expect(searchParams.get('code_challenge_method')).toBe('S256');
  });
});

describe('the audit trail', () => {
  const trail = async (email: string) =>
    query().selectFrom('AuditEvent').selectAll().where('actorLabel', '=', email).orderBy('id').execute();

  test('says who was created, who was linked, and who lost a password by it', async () => {
    const person = newPerson();
    await signInAs(person);
    expect(await trail(person.email ?? '')).toMatchObject([
      { action: 'user.created', outcome: 'SUCCEEDED', detail: { issuer: provider.issuer }, address: CALLER.address },
    ]);
    const squatted = await newUser(control);
    await signInAs(newPerson({ email: squatted.email }));
    expect(await trail(squatted.email)).toMatchObject([
      { action: 'user.identity_linked', resourceId: squatted.id, detail: { passwordRemoved: true } },
    ]);
  });

  test('has each sign-in and each refusal, and none of their secrets', async () => {
    const person = newPerson();
    const complete = `mutation ($input: CompleteOidcSignInInput!) { completeOidcSignIn(input: $input) { __typename } }`;
    const { parse } = await import('graphql');
    const back = await visit(person);
    const run = () => control.execute('accounts', { document: parse(complete), variables: { input: back } }, CALLER);
    expect(await run()).toEqual({ data: { completeOidcSignIn: { __typename: 'SignedIn' } } });
    expect(await run()).toEqual({ data: { completeOidcSignIn: { __typename: 'OidcRefused' } } });
    const rows = await query()
      .selectFrom('AuditEvent')
      .selectAll()
      .where('action', '=', 'completeOidcSignIn')
      .orderBy('id')
      .execute();
    expect(rows).toMatchObject([
      { outcome: 'SUCCEEDED', actorKind: 'USER', actorLabel: person.email, resourceType: 'user' },
      { outcome: 'REFUSED', code: 'OIDC_REFUSED', actorKind: 'ANONYMOUS' },
    ]);
    expect(JSON.stringify(rows)).not.toContain(back.flow);
    expect(JSON.stringify(rows)).not.toContain(new URL(back.callbackUrl).searchParams.get('code'));
  });
});

describe('a provider', () => {
  test('may put the address into the ID token, and take the secret in the body only', async () => {
    await using other = await TestOidcProvider.start([REDIRECT_URI], {
      conformIdTokenClaims: false,
      clientAuthMethods: ['client_secret_post'],
      clients: [
        {
          client_id: CLIENT_ID,
          client_secret: CLIENT_SECRET,
          redirect_uris: [REDIRECT_URI],
          token_endpoint_auth_method: 'client_secret_post',
        },
      ],
    });
    await using second = await startTestControl(settings(other.issuer));
    const person = newPerson({ email: 'anyone@anywhere.example' });
    const services = second.accounts.services;
    const { viewer } = await services.oidc.complete(await visit(person, other, services), CALLER);
    expect(viewer.label).toBe('anyone@anywhere.example');
  });

  test('that is away refuses in words for people, and does not keep control from starting', async () => {
    await using away = await startTestControl(settings('http://127.0.0.1:9'));
    const { oidc, sessions } = away.accounts.services;
    await expect(oidc.start({ redirectUri: REDIRECT_URI })).rejects.toMatchObject({
      code: 'OIDC_REFUSED',
      message: 'Signing in did not work; please try again.',
    });
    await sessions.signIn({ email: 'admin@rookery.local', password: PASSWORD }, {});
  });

  test('that there is none of is said, and signing in with a password is not touched', async () => {
    await using none = await startTestControl();
    const { oidc } = none.accounts.services;
    expect(oidc.provider).toBeNull();
    await expect(oidc.start({ redirectUri: REDIRECT_URI })).rejects.toMatchObject({ code: 'OIDC_NOT_CONFIGURED' });
    expect(accounts.oidc.provider).toEqual({ name: 'Example' });
  });

  test.each([
    ['javascript:alert(1)', 'redirectUri'],
    ['/session/oidc/callback', 'redirectUri'],
  ])('is never told to send people to %s', async (redirectUri, field) => {
    await expect(accounts.oidc.start({ redirectUri })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      path: ['input', field],
    });
  });
});

test('settings that are half there, or in the clear, are refused at the start', () => {
  const parse = (env: object) => oidcSettings(controlConfigSchema.parse(env));
  expect(() => parse({ ROOKERY_OIDC_ISSUER: 'https://a.example' })).toThrow(/belong together/);
  expect(() => parse({ ROOKERY_OIDC_ISSUER: 'http://a.example', ROOKERY_OIDC_CLIENT_ID: 'x' })).toThrow(/https/);
  expect(() => parse({ ROOKERY_OIDC_SCOPES: 'email' })).toThrow(/openid/);
  expect(parse({})).toBeUndefined();
});
