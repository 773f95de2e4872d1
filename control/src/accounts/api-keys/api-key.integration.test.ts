import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newAdmin, newTeam, startTestControl } from '../../../test/harness.ts';
import type { Control } from '../../app.ts';
import type { TeamRow } from '../tables.ts';

let control: Control;
let team: TeamRow;
const owner = newAdmin();

beforeAll(async () => {
  control = await startTestControl();
  team = (await newTeam(control)).team;
});
afterAll(() => control[Symbol.asyncDispose]());

const keys = () => control.accounts.services.apiKeys;
const viewerOf = (secret: string) => control.accounts.port.viewer({ token: secret, address: '203.0.113.7' });
const create = (input: object = {}) =>
  keys().create(owner, team.id, { name: randomUUID(), scopes: ['hosts:read'], ...input });

describe('an API key', () => {
  test('stands for its team with its scopes', async () => {
    const { secret, apiKey } = await create({ scopes: ['sandboxes:write', 'hosts:read', 'hosts:read'] });
    expect(await viewerOf(secret)).toMatchObject({ kind: 'API_KEY', id: apiKey.id, teamId: team.id, isAdmin: false });
    expect(apiKey.scopes).toEqual(['hosts:read', 'sandboxes:write']);
  });

  test('is kept as a hash; what is visible of it is its beginning', async () => {
    const { secret, apiKey } = await create();
    expect(secret.startsWith(apiKey.prefix)).toBe(true);
    const stored: unknown[] = await control.database.orm.em
      .fork()
      .execute(`select * from api_keys where id = '${apiKey.id}'`);
    expect(JSON.stringify(stored)).not.toContain(secret.slice(apiKey.prefix.length));
  });

  test('that is revoked is refused at once, and may be revoked again', async () => {
    const { secret, apiKey } = await create();
    expect(await viewerOf(secret)).not.toBeNull();
    await keys().revoke(owner, apiKey.id);
    expect(await viewerOf(secret)).toBeNull();
    await keys().revoke(owner, apiKey.id);
  });

  test('that has expired is refused', async () => {
    const { secret, apiKey } = await create({ expiresAt: new Date(Date.now() + 60_000) });
    expect(await viewerOf(secret)).not.toBeNull();
    await control.database.orm.em
      .fork()
      .execute(`update api_keys set expires_at = now() - interval '1 second' where id = '${apiKey.id}'`);
    expect(await viewerOf(secret)).toBeNull();
  });

  test('says when and from where it was last used', async () => {
    const { secret, apiKey } = await create();
    expect(apiKey.lastUsedAt).toBeNull();
    await viewerOf(secret);
    const [used] = await keys().byIds([apiKey.id]);
    expect(used?.lastUsedAt?.getTime()).toBeGreaterThan(Date.now() - 60_000);
    expect(used?.lastUsedAddress).toBe('203.0.113.7');
  });

  test('whose answer was lost is asked for again, and gets a fresh secret', async () => {
    const input = { name: 'lost', idempotencyKey: randomUUID() };
    const [first, second] = [await create(input), await create(input)];
    expect(second.apiKey.id).toBe(first.apiKey.id);
    expect(await viewerOf(first.secret)).toBeNull();
    expect(await viewerOf(second.secret)).not.toBeNull();
    // It is in use now; another secret would take it away from its user.
    await expect(create(input)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(create({ ...input, scopes: ['hosts:write'] })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_KEY_REUSED',
    });
  });

  test('cannot share its name with another of the team’s that is still good', async () => {
    const { apiKey } = await create({ name: 'ci' });
    await expect(create({ name: 'ci' })).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    await keys().revoke(owner, apiKey.id);
    await create({ name: 'ci' });
  });

  test.each([
    [{ name: '' }, 'name'],
    [{ scopes: [] }, 'scopes'],
    [{ scopes: ['everything'] }, 'scopes'],
    [{ expiresAt: new Date(0) }, 'expiresAt'],
  ])('with %o is refused', async (input, field) => {
    const error: unknown = await create(input).catch((refusal: unknown) => refusal);
    expect(error).toMatchObject({ code: 'INVALID_INPUT' });
    expect((error as { path: string[] }).path.slice(0, 2)).toEqual(['input', field]);
  });

  test('that was made up is nobody', async () => {
    for (const secret of ['rk_', 'rk_garbage', `rk_${'a'.repeat(43)}`]) expect(await viewerOf(secret)).toBeNull();
  });
});
