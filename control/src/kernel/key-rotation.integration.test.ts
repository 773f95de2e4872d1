import { afterAll, beforeAll, expect, test } from 'vitest';
import { newUser, signIn, startTestControl } from '../../test/harness.ts';
import type { Control } from '../app.ts';
import { keepKeysFresh, rotateKey } from './key-rotation.ts';
import { SigningKeys, type SigningKeyTables } from './signing-keys.ts';

let control: Control;
beforeAll(async () => {
  control = await startTestControl();
  await newUser(control, { email: 'someone@example.com' });
});
afterAll(() => control[Symbol.asyncDispose]());

const isGood = async (token: string): Promise<boolean> => (await control.accounts.port.viewer({ token })) !== null;
const kidOf = (token: string): unknown =>
  (JSON.parse(Buffer.from(token.split('.')[0] as string, 'base64url').toString()) as { kid: unknown }).kid;
const table = () => control.database.as<SigningKeyTables>().query;

test('a new key signs, and what the old one signed stays good', async () => {
  const before = await signIn(control, 'someone@example.com');
  const kid = await rotateKey(control.database, 'SESSION');
  control.keys.forget();
  const after = await signIn(control, 'someone@example.com');
  expect(kidOf(after)).toBe(kid);
  expect(kidOf(before)).not.toBe(kid);
  expect(await isGood(before)).toBe(true);
  expect(await isGood(after)).toBe(true);
});

test('a token by a key that another replica has just made is good here at once', async () => {
  await rotateKey(control.database, 'SESSION');
  const elsewhere = new SigningKeys(control.database);
  const session = await control.accounts.services.sessions.signIn(
    { email: 'someone@example.com', password: 'correct horse' },
    {},
  );
  const token = await elsewhere.sign('SESSION', 'rookery-session+jwt', 'rookery-api', 60, {
    sub: session.viewer.id,
    sid: session.viewer.sessionId,
  });
  expect(await isGood(token)).toBe(true);
});

test('of a stolen key nothing is good any more', async () => {
  const before = await signIn(control, 'someone@example.com');
  await rotateKey(control.database, 'SESSION', true);
  control.keys.forget();
  expect(await isGood(before)).toBe(false);
  expect(await isGood(await signIn(control, 'someone@example.com'))).toBe(true);
});

test('an old key is succeeded, and dropped once nothing that it signed can be good', async () => {
  await rotateKey(control.database, 'HOST', true);
  expect(await keepKeysFresh(control.database)).toBe(0);
  const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000);
  await table()
    .updateTable('SigningKey')
    .set({ createdAt: daysAgo(100) })
    .where('purpose', '=', 'HOST')
    .execute();
  expect(await keepKeysFresh(control.database)).toBe(1);
  expect(await keepKeysFresh(control.database)).toBe(0);
  const keys = () =>
    table().selectFrom('SigningKey').selectAll().where('purpose', '=', 'HOST').orderBy('createdAt').execute();
  const [old, current] = await keys();
  await table()
    .updateTable('SigningKey')
    .set({ createdAt: daysAgo(121) })
    .where('kid', '=', current?.kid as string)
    .execute();
  await table()
    .updateTable('SigningKey')
    .set({ createdAt: daysAgo(220) })
    .where('kid', '=', old?.kid as string)
    .execute();
  expect(await keepKeysFresh(control.database)).toBe(2);
  expect((await keys()).map(({ kid }) => kid)).not.toContain(old?.kid);
});
