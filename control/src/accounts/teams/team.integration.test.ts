import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { newAdmin, newTeam, newUser, startTestControl } from '../../../test/harness.ts';
import type { Control } from '../../app.ts';
import type { TeamRole, UserViewer } from '../../kernel/viewer.ts';
import type { TeamRow, UserRow } from '../tables.ts';

let control: Control;
let team: TeamRow;
let owner: UserViewer;

beforeAll(async () => {
  control = await startTestControl();
});
afterAll(() => control[Symbol.asyncDispose]());
beforeEach(async () => {
  const made = await newTeam(control);
  team = made.team;
  owner = await viewerOf(made.owner);
});

const services = () => control.accounts.services;

/** A user as a request of theirs would be seen now. */
async function viewerOf(user: UserRow): Promise<UserViewer> {
  const { token } = await services().sessions.open(user, 'PASSWORD', {});
  return (await control.accounts.port.viewer({ token })) as UserViewer;
}

async function join(role: TeamRole): Promise<UserViewer> {
  const user = await newUser(control, { password: undefined });
  const { token } = await services().invitations.invite(newAdmin(), team.id, { email: user.email, role });
  await services().invitations.accept(await viewerOf(user), { token }, {});
  return viewerOf(user);
}

const rolesNow = async () => (await services().members.ofTeams([team.id])).map(({ userId, role }) => [userId, role]);

describe('a team', () => {
  test('made by anybody is theirs, and is not BYOC', async () => {
    const someone = await viewerOf(await newUser(control));
    const made = await services().teams.create(someone, { name: 'Fresh' });
    expect(made).toMatchObject({ name: 'Fresh', isByoc: false });
    expect((await services().members.ofTeams([made.id])).map(({ userId, role }) => [userId, role])).toEqual([
      [someone.id, 'OWNER'],
    ]);
  });

  test('asked for twice with one idempotency key is made once, also at the same moment', async () => {
    const input = { name: 'Once', idempotencyKey: randomUUID() };
    const made = await Promise.all([1, 2, 3].map(() => services().teams.create(owner, input)));
    expect(new Set(made.map(({ id }) => id)).size).toBe(1);
    await services().teams.rename(owner, team.id, { name: 'Changed' });
    await expect(services().teams.create(owner, { ...input, name: 'Twice' })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_KEY_REUSED',
    });
  });

  test('may have the name of another, which would otherwise be known by it', async () => {
    const other = await viewerOf(await newUser(control));
    await services().teams.create(other, { name: team.name });
  });

  test.each(['', ' ', 'x'.repeat(64), 'a\u0000b'])('cannot be called %o', async (name) => {
    await expect(services().teams.rename(owner, team.id, { name })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      path: ['input', 'name'],
    });
  });
});

describe('the last owner', () => {
  test('can neither leave nor be removed nor stop being one', async () => {
    const { members } = services();
    await expect(members.leave(owner, team.id)).rejects.toMatchObject({ code: 'LAST_OWNER' });
    await expect(members.remove(owner, team.id, owner.id)).rejects.toMatchObject({ code: 'LAST_OWNER' });
    await expect(members.updateRole(owner, team.id, owner.id, 'ADMIN')).rejects.toMatchObject({ code: 'LAST_OWNER' });
    expect(await rolesNow()).toEqual([[owner.id, 'OWNER']]);
  });

  test('is one of two who leave at the same moment', async () => {
    const other = await join('OWNER');
    const left = await Promise.allSettled([
      services().members.leave(owner, team.id),
      services().members.leave(other, team.id),
    ]);
    expect(left.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await rolesNow()).toHaveLength(1);
  });

  test('is one of two who demote each other at the same moment', async () => {
    const other = await join('OWNER');
    await Promise.allSettled([
      services().members.updateRole(owner, team.id, other.id, 'MEMBER'),
      services().members.updateRole(other, team.id, owner.id, 'MEMBER'),
    ]);
    expect((await rolesNow()).filter(([, role]) => role === 'OWNER')).toHaveLength(1);
  });

  test('may go once there is another', async () => {
    await join('OWNER');
    await services().members.leave(owner, team.id);
    expect(await rolesNow()).toHaveLength(1);
  });
});

describe('a member', () => {
  test('who leaves loses the team at once, with the same token', async () => {
    const user = await newUser(control);
    const { token: invitation } = await services().invitations.invite(owner, team.id, {
      email: user.email,
      role: 'MEMBER',
    });
    await services().invitations.accept(await viewerOf(user), { token: invitation }, {});
    const { token } = await services().sessions.open(user, 'PASSWORD', {});
    const roles = async () => ((await control.accounts.port.viewer({ token })) as UserViewer).roles;
    expect([...(await roles()).keys()]).toEqual([team.id]);
    await services().members.remove(owner, team.id, user.id);
    expect([...(await roles()).keys()]).toEqual([]);
  });

  test('of somebody else’s team cannot be told from nobody', async () => {
    const { owner: stranger } = await newTeam(control);
    const { members } = services();
    await expect(members.remove(owner, team.id, stranger.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(members.remove(owner, team.id, randomUUID())).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('is told of with everything that happens to the team, in order', async () => {
    const admin = await join('ADMIN');
    await services().members.updateRole(owner, team.id, admin.id, 'MEMBER');
    await services().members.remove(owner, team.id, admin.id);
    const { rows } = await query(
      `select type, revision from events where subject = 'TEAM' and subject_id = '${team.id}' order by revision`,
    );
    expect(rows).toEqual([
      { type: 'team.created', revision: 1 },
      { type: 'team.member_invited', revision: 2 },
      { type: 'team.member_added', revision: 3 },
      { type: 'team.member_role_changed', revision: 4 },
      { type: 'team.member_removed', revision: 5 },
    ]);
  });
});

async function query(text: string): Promise<{ rows: unknown[] }> {
  const rows: unknown[] = await control.database.orm.em.fork().execute(text);
  return { rows };
}

describe('platform admins', () => {
  test('are never none, also when two demote each other at the same moment', async () => {
    const { users } = services();
    const all = await query('select id from users where is_admin');
    const [first] = all.rows as { id: string }[];
    const second = await newUser(control, { isAdmin: true });
    await Promise.allSettled([
      users.setAdmin(newAdmin(), first?.id as string, false),
      users.setAdmin(newAdmin(), second.id, false),
    ]);
    const left = (await query('select id from users where is_admin')).rows as { id: string }[];
    expect(left).toHaveLength(1);
    await expect(users.setAdmin(newAdmin(), left[0]?.id as string, false)).rejects.toMatchObject({
      code: 'LAST_ADMIN',
    });
  });

  test('who were demoted are refused at their next operation, with the token that says they are one', async () => {
    const user = await newUser(control, { isAdmin: true });
    const { token, viewer } = await services().sessions.open(user, 'PASSWORD', {});
    expect(viewer.isAdmin).toBe(true);
    await services().users.setAdmin(newAdmin(), user.id, false);
    const now = await control.accounts.port.viewer({ token });
    expect(now?.isAdmin).toBe(false);
    await expect(services().users.list(now, undefined, { limit: 1, inverted: false })).rejects.toMatchObject({
      code: 'FORBIDDEN',
    });
  });
});
