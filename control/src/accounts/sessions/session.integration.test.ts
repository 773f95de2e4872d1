import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestControl } from '../../../test/harness.ts';
import type { Control } from '../../app.ts';
import type { UserViewer } from '../../kernel/viewer.ts';
import type { AccountsServices } from '../builder.ts';

let control: Control;
let accounts: AccountsServices;

beforeAll(async () => {
  control = await startTestControl({ ROOKERY_ADMIN_EMAIL: 'root@example.com' });
  accounts = control.accounts.services;
});
afterAll(() => control[Symbol.asyncDispose]());

const viewerOf = (token: string) => control.accounts.port.viewer({ token });

const signIn = (email = 'root@example.com', password = 'correct horse') =>
  accounts.sessions.signIn({ email, password }, {});

describe('signing in', () => {
  test('gives a token that stands for the user, their teams and their rights', async () => {
    const { token } = await signIn();
    const viewer = await viewerOf(token);
    expect(viewer).toMatchObject({ isAdmin: true });
    expect([...((viewer as UserViewer).roles.values() ?? [])]).toEqual(['OWNER']);
  });

  test('does not mind the case and spaces of an address', async () => {
    await signIn(' Root@Example.COM ');
  });

  test.each([
    ['root@example.com', 'wrong'],
    ['nobody@example.com', 'correct horse'],
  ])('as %s with the password %s is refused in the same words', async (email, password) => {
    await expect(signIn(email, password)).rejects.toMatchObject({
      code: 'INVALID_CREDENTIALS',
      message: 'The e-mail address or the password is not right.',
    });
  });

  test.each([
    ['', 'x', 'email'],
    ['a@b.c', '', 'password'],
    ['a@b.c', 'x'.repeat(2_000), 'password'],
    ['a\u0000@b.c', 'x', 'email'],
  ])('with a field that cannot be right names it', async (email, password, field) => {
    await expect(signIn(email, password)).rejects.toMatchObject({ code: 'INVALID_INPUT', path: ['input', field] });
  });
});

describe('a session token', () => {
  test('is worth nothing after signing out, at once', async () => {
    const { token, viewer } = await signIn();
    await accounts.sessions.signOut(viewer);
    expect(await viewerOf(token)).toBeNull();
  });

  test('of one session survives the end of another', async () => {
    const [one, two] = [await signIn(), await signIn()];
    await accounts.sessions.signOut(one.viewer);
    expect(await viewerOf(two.token)).not.toBeNull();
  });

  test('that was tampered with stands for nobody', async () => {
    const { token } = await signIn();
    const [header = '', payload = '', signature = ''] = token.split('.');
    const forged = Buffer.from(
      JSON.stringify({ ...JSON.parse(Buffer.from(payload, 'base64url').toString()), isAdmin: false }),
    ).toString('base64url');
    for (const bad of [`${header}.${forged}.${signature}`, `${header}.${payload}.`, 'x', ''])
      expect(await viewerOf(bad)).toBeNull();
  });
});

test('the first admin is made once, not at every start', async () => {
  expect(control.firstAdmin).toEqual({ email: 'root@example.com', generatedPassword: undefined });
  const url = control.database.url;
  await using again = await startTestControl({ ROOKERY_ADMIN_EMAIL: 'second@example.com' }, url);
  expect(again.firstAdmin).toBeUndefined();
});

test('a first admin without a configured password gets one that is long, and told once', async () => {
  await using fresh = await startTestControl({ ROOKERY_ADMIN_PASSWORD: undefined });
  expect(fresh.firstAdmin?.generatedPassword?.length).toBeGreaterThanOrEqual(16);
  const { email, generatedPassword } = fresh.firstAdmin as { email: string; generatedPassword: string };
  await fresh.accounts.services.sessions.signIn({ email, password: generatedPassword }, {});
});
