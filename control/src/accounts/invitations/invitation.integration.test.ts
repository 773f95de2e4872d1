import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { newAdmin, newTeam, newUser, PASSWORD, startTestControl } from '../../../test/harness.ts';
import type { Control } from '../../app.ts';
import type { TeamRow } from '../tables.ts';

let control: Control;
let team: TeamRow;
const owner = newAdmin();

beforeAll(async () => {
  control = await startTestControl();
});
afterAll(() => control[Symbol.asyncDispose]());
beforeEach(async () => {
  team = (await newTeam(control)).team;
});

const invitations = () => control.accounts.services.invitations;
const newEmail = () => `${randomUUID()}@example.com`;
const invite = async (email = newEmail()) => ({
  email,
  ...(await invitations().invite(owner, team.id, { email, role: 'MEMBER' })),
});
const members = async () => control.accounts.services.members.ofTeams([team.id]);

describe('an invitation', () => {
  test('makes an account for who has none, signed in and a member', async () => {
    const { email, token } = await invite();
    const accepted = await invitations().accept(null, { token, name: 'New', password: 'their own words' }, {});
    expect(accepted.team.id).toBe(team.id);
    expect(accepted.signedIn?.viewer).toMatchObject({ label: email, isAdmin: false });
    await control.accounts.services.sessions.signIn({ email, password: 'their own words' }, {});
    expect(await members()).toHaveLength(2);
  });

  test('lets in who has an account, by its password and no other', async () => {
    const user = await newUser(control);
    const { token } = await invite(user.email);
    await expect(invitations().accept(null, { token, password: 'a new password' }, {})).rejects.toMatchObject({
      code: 'INVALID_CREDENTIALS',
    });
    expect(await members()).toHaveLength(1);
    await invitations().accept(null, { token, password: PASSWORD }, {});
    expect((await members()).map(({ userId }) => userId)).toContain(user.id);
  });

  test('looks the same whether or not there is an account', async () => {
    const user = await newUser(control);
    const shape = ({ invitation, token }: Awaited<ReturnType<typeof invite>>) => [
      Object.keys(invitation).sort(),
      token.length,
    ];
    expect(shape(await invite(user.email))).toEqual(shape(await invite()));
  });

  test('is spent once, also by two at the same moment', async () => {
    const { token } = await invite();
    const tries = await Promise.allSettled(
      ['one', 'two'].map((name) => invitations().accept(null, { token, name, password: 'their own words' }, {})),
    );
    expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await members()).toHaveLength(2);
    await expect(invitations().preview(token)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('that is repeated replaces the first, and its token', async () => {
    const { email, token: first } = await invite();
    const { token: second } = await invite(email);
    await expect(invitations().preview(first)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect((await invitations().preview(second)).team.id).toBe(team.id);
  });

  test('that was taken back or is too old is none', async () => {
    const { token, invitation } = await invite();
    await invitations().cancel(owner, invitation.id);
    await expect(invitations().accept(null, { token, password: 'their own words' }, {})).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    const old = await invite();
    const past = new Date(Date.now() - 1_000).toISOString();
    await control.database.orm.em
      .fork()
      .execute(`update invitations set expires_at = '${past}' where id = '${old.invitation.id}'`);
    await expect(
      invitations().accept(null, { token: old.token, password: 'their own words' }, {}),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('is refused to who is signed in as somebody else', async () => {
    const { token } = await invite();
    const someone = await newUser(control);
    const viewer = newAdmin({ id: someone.id, label: someone.email });
    await expect(invitations().accept(viewer, { token }, {})).rejects.toMatchObject({
      code: 'INVITATION_FOR_SOMEONE_ELSE',
    });
  });

  test('is found without its token by who has verified the address, and by nobody who only claims it', async () => {
    const verified = await newUser(control, { emailVerified: true });
    const { invitation } = await invite(verified.email);
    const viewer = newAdmin({ isAdmin: false, id: verified.id, label: verified.email });
    expect((await invitations().pendingFor(viewer)).map(({ id }) => id)).toEqual([invitation.id]);
    await invitations().acceptOwn(viewer, invitation.id);
    expect((await members()).map(({ userId }) => userId)).toContain(verified.id);

    const claimed = await newUser(control, { emailVerified: false });
    const other = await invite(claimed.email);
    const pretender = newAdmin({ isAdmin: false, id: claimed.id, label: claimed.email });
    expect(await invitations().pendingFor(pretender)).toEqual([]);
    await expect(invitations().acceptOwn(pretender, other.invitation.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('for a member is not needed', async () => {
    const { email, token } = await invite();
    await invitations().accept(null, { token, password: 'their own words' }, {});
    await expect(invite(email)).rejects.toMatchObject({ code: 'ALREADY_MEMBER' });
  });

  test.each(['', 'nobody', 'a b@example.com', `${'x'.repeat(250)}@example.com`])('cannot go to %o', async (email) => {
    await expect(invite(email)).rejects.toMatchObject({ code: 'INVALID_INPUT', path: ['input', 'email'] });
  });

  test('needs a password of eight characters for a new account', async () => {
    const { token } = await invite();
    for (const password of [undefined, '', 'seven77']) {
      await expect(invitations().accept(null, { token, password }, {})).rejects.toMatchObject({
        code: 'INVALID_INPUT',
        path: ['input', 'password'],
      });
    }
  });
});
