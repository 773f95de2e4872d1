import type { UserRow } from '@rookery/control/accounts/tables.ts';
import type { NewUser } from '@rookery/control/accounts/users/user.service.ts';
import type { Control } from '@rookery/control/app.ts';
import type { FleetTables, HostRow, SandboxRow } from '@rookery/control/fleet/tables.ts';
import { API_KEY_SCOPES, type ApiKeyScope, type TeamRole } from '@rookery/control/kernel/viewer.ts';
import { toGlobalId } from '@rookery/control/kernel/global-id.ts';
import type { Caller } from '@rookery/wire/caller.ts';
import { randomUUID } from 'node:crypto';
import { insertHost, newAdmin, newUser, PASSWORD } from '../harness.ts';

/** Everyone whose rights the policy writes down, in relation to one team that is being acted upon. */
export const ACTORS = [
  'anonymous',
  'hostToken',
  'stranger',
  'strangerKey',
  'member',
  'admin',
  'owner',
  'readKey',
  'writeKey',
  'hostsKey',
  'sandboxesKey',
  'platformAdmin',
] as const;
export type ActorName = (typeof ACTORS)[number];

/** One team with everything that can be acted upon, made anew for each attempt. */
export interface World {
  readonly control: Control;
  readonly callers: Readonly<Record<ActorName, Caller>>;
  /** Opaque ids. */
  readonly ids: Readonly<
    Record<
      | 'team'
      | 'theirTeam'
      | 'host'
      | 'platformHost'
      | 'sandbox'
      | 'theirSandbox'
      | 'invitation'
      | 'apiKey'
      | 'owner'
      | 'member'
      | 'admin'
      | 'session',
      string
    >
  >;
  readonly invitationToken: string;
  /** Signs in with the harness's password. */
  readonly memberEmail: string;
  readonly refreshToken: string;
  /** Another sign-in of the member's. */
  readonly memberSession: Caller;
}

/** Makes a world. `hostToken` is the access token of a real host, which is nobody on the public API. */
export async function newWorld(control: Control, hostToken: string): Promise<World> {
  const { services } = control.accounts;
  // Most never use a password; hashing one for each would be what the test waits for.
  const person = (user: Partial<NewUser> = {}) => newUser(control, { password: undefined, ...user });
  const [owner, stranger, root] = [await person(), await person(), await person({ isAdmin: true })];
  const team = await services.teams.createFor('control', { name: 'Mine', ownerId: owner.id, isByoc: true });
  const theirs = await services.teams.createFor('control', { name: 'Theirs', ownerId: stranger.id, isByoc: true });
  const join = async (user: UserRow, role: TeamRole): Promise<UserRow> => {
    const invited = await services.invitations.invite(newAdmin(), team.id, { email: user.email, role });
    await services.invitations.accept(newAdmin({ id: user.id, label: user.email }), { token: invited.token }, {});
    return user;
  };
  const member = await join(await person({ password: PASSWORD }), 'MEMBER');
  const admin = await join(await person(), 'ADMIN');

  const key = async (teamId: string, scopes: readonly ApiKeyScope[]) =>
    services.apiKeys.create(newAdmin(), teamId, { name: randomUUID(), scopes });
  const target = await key(team.id, ['hosts:read']);
  const host = await insertHost(control.database, { kind: 'BYOC', teamId: team.id });
  const platformHost = await insertHost(control.database);
  const sandbox = await insertSandbox(control, host, team.id);
  const theirHost = await insertHost(control.database, { kind: 'BYOC', teamId: theirs.id });
  const theirSandbox = await insertSandbox(control, theirHost, theirs.id);
  const { invitation, token: invitationToken } = await services.invitations.invite(newAdmin(), team.id, {
    email: `${randomUUID()}@example.com`,
    role: 'MEMBER',
  });
  const session = await services.sessions.open(member, 'PASSWORD', {});

  const asUser = async (user: UserRow): Promise<Caller> => ({
    token: (await services.sessions.open(user, 'PASSWORD', {})).token,
  });
  const asKey = async (teamId: string, scopes: readonly ApiKeyScope[]): Promise<Caller> => ({
    token: (await key(teamId, scopes)).secret,
  });
  const [strangerToken, memberToken, adminToken, ownerToken, rootToken] = await Promise.all(
    [stranger, member, admin, owner, root].map(asUser),
  );
  const [theirKey, readKey, writeKey, hostsKey, sandboxesKey] = await Promise.all([
    asKey(theirs.id, API_KEY_SCOPES),
    asKey(team.id, ['hosts:read', 'sandboxes:read']),
    asKey(team.id, ['hosts:write', 'sandboxes:write']),
    asKey(team.id, ['hosts:read', 'hosts:write']),
    asKey(team.id, ['sandboxes:read', 'sandboxes:write']),
  ]);
  return {
    control,
    callers: {
      anonymous: {},
      hostToken: { token: hostToken },
      stranger: strangerToken,
      strangerKey: theirKey,
      member: memberToken,
      admin: adminToken,
      owner: ownerToken,
      readKey,
      writeKey,
      hostsKey,
      sandboxesKey,
      platformAdmin: rootToken,
    } as Record<ActorName, Caller>,
    ids: {
      team: toGlobalId('Team', team.id),
      theirTeam: toGlobalId('Team', theirs.id),
      theirSandbox: toGlobalId('Sandbox', theirSandbox.id),
      host: toGlobalId('Host', host.id),
      platformHost: toGlobalId('Host', platformHost.id),
      sandbox: toGlobalId('Sandbox', sandbox.id),
      invitation: toGlobalId('Invitation', invitation.id),
      apiKey: toGlobalId('ApiKey', target.apiKey.id),
      owner: toGlobalId('User', owner.id),
      member: toGlobalId('User', member.id),
      admin: toGlobalId('User', admin.id),
      session: toGlobalId('Session', session.viewer.sessionId),
    },
    invitationToken,
    memberEmail: member.email,
    refreshToken: session.refreshToken,
    memberSession: { token: session.token },
  };
}

/** A stopped sandbox's row, enough to be seen and acted upon. */
async function insertSandbox(control: Control, host: HostRow, teamId: string): Promise<SandboxRow> {
  return control.database
    .as<FleetTables>()
    .query.insertInto('Sandbox')
    .values({
      id: randomUUID(),
      name: 'box',
      teamId,
      hostId: host.id,
      template: 'host',
      milliVcpus: 1_000,
      memoryMb: 512,
      diskMb: 512,
      labels: [],
      desiredState: 'RUNNING',
      status: 'ERROR',
      placement: { strategy: 'round-robin', candidates: 1, rejections: [] },
      requestHash: '',
      createdBy: randomUUID(),
      createdAt: new Date(),
    } as never)
    .returningAll()
    .executeTakeFirstOrThrow();
}
