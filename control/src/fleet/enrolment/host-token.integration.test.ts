import { CloseCode } from '@rookery/wire/close-codes.ts';
import { AgentEndpoint } from '@rookery/wire/endpoints.ts';
import { parse } from 'graphql';
import { compactVerify, exportJWK, generateKeyPair, importJWK } from 'jose';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { createTestDatabase, newAdmin, newMember, signIn, startTestControl } from '../../../test/harness.ts';
import {
  heartbeat,
  newMachineKey,
  refresh,
  register,
  ScriptedAgent,
  type Credentials,
} from '../../../test/scripted-agent.ts';
import type { Control } from '../../app.ts';
import { toGlobalId } from '../../kernel/global-id.ts';
import { NotFound, NotPermitted } from '../../kernel/user-errors.ts';
import type { EventTables } from '../../kernel/events/event.entity.ts';
import type { SigningKeySchema } from '../../kernel/signing-key.entity.ts';
import type { InferKyselyDB } from '@mikro-orm/sql';
import type { QUERY_OPTIONS } from '../../database/database.ts';
import type { FleetTables, HostRow } from '../tables.ts';
import { HostBeingDeleted, HostHasCredentials, HostQuarantined } from './host-token.service.ts';

let control: Control;
let databaseUrl: string;
beforeAll(async () => {
  databaseUrl = await createTestDatabase();
  control = await startTestControl({}, databaseUrl);
});
afterAll(() => control[Symbol.asyncDispose]());

const admin = newAdmin();
const regenerate = (hostId: string, options: object = {}, viewer = admin) =>
  control.fleet.services.hostTokens.regenerate(viewer, {
    hostId,
    replaceCredentials: false,
    resolveQuarantine: false,
    ...options,
  });
const viewOf = async (host: HostRow, viewer = admin) =>
  (await control.fleet.services.hostTokens.views(viewer, [host]))[0];
const hostOf = async (id: string) => (await control.fleet.services.hosts.findForControl(id)) as HostRow;
const stateOf = async (id: string) => (await viewOf(await hostOf(id)))?.state;

function credentialsOf({ result }: Awaited<ReturnType<typeof register>>): Credentials {
  expect(result.errors).toBeUndefined();
  return Object.values(result.data ?? {})[0] as unknown as Credentials;
}
const reasonOf = ({ status, result }: Awaited<ReturnType<typeof register>>) => {
  expect(status).toBe(401);
  return result.errors?.[0]?.extensions?.['reason'];
};

async function newHost(teamId: string | null = null): Promise<{ host: HostRow; token: string }> {
  const created = await control.fleet.services.hosts.createLocal(`host-${randomUUID()}`);
  if (teamId) {
    await control.database
      .as<FleetTables>()
      .query.updateTable('Host')
      .set({ teamId, kind: 'BYOC' })
      .where('id', '=', created.host.id)
      .execute();
  }
  return { host: await hostOf(created.host.id), token: created.registrationToken };
}

/** A host whose agent works. */
async function newWorkingHost(specs: Parameters<typeof register>[3] = {}) {
  const { host, token } = await newHost();
  const key = await newMachineKey();
  const credentials = credentialsOf(await register(control.agentUrl, token, key, specs));
  expect((await heartbeat(control.agentUrl, credentials.accessToken, specs)).status).toBe(200);
  return { host, key, token, ...credentials };
}

/** A host whose directory was copied, and both copies have rotated. */
async function newClonedHost() {
  const { host, key, refreshToken } = await newWorkingHost({ bootId: 'boot-a' });
  const moved = credentialsOf(await refresh(control.agentUrl, refreshToken, key, { bootId: 'boot-a' }));
  await heartbeat(control.agentUrl, moved.accessToken, { bootId: 'boot-a' });
  expect(reasonOf(await refresh(control.agentUrl, refreshToken, key, { bootId: 'boot-b' }))).toBe('CREDENTIALS_CLONED');
  return { host, key, original: moved, copied: refreshToken };
}

describe('regenerateHostToken', () => {
  test('gives a waiting host a new token, with which the older one dies', async () => {
    const { host, token } = await newHost();
    expect(await stateOf(host.id)).toBe('NONE');
    const { registrationToken, joinCommand, host: changed } = await regenerate(host.id);
    expect(joinCommand).toContain(registrationToken);
    expect(changed.revision).toBe(host.revision + 1);
    expect(reasonOf(await register(control.agentUrl, token, await newMachineKey()))).toBe('TOKEN_UNKNOWN');
    const { hostId } = credentialsOf(await register(control.agentUrl, registrationToken, await newMachineKey()));
    expect(hostId).toBe(host.id);
    const events = await control.database
      .as<EventTables>()
      .query.selectFrom('Event')
      .select(['type', 'actor'])
      .where('subjectId', '=', host.id)
      .orderBy('id')
      .execute();
    expect(events).toEqual([
      { type: 'host.created', actor: 'control' },
      { type: 'host.token_regenerated', actor: `user:${admin.id}` },
      { type: 'host.registered', actor: `host:${host.id}` },
    ]);
  });

  test('is refused for a host with working credentials, unless it is to replace them', async () => {
    const { host, key, refreshToken, accessToken } = await newWorkingHost();
    expect(await stateOf(host.id)).toBe('WORKING');
    await expect(regenerate(host.id)).rejects.toThrow(HostHasCredentials);
    const { registrationToken } = await regenerate(host.id, { replaceCredentials: true });
    // Nothing stops before the token is spent.
    expect((await heartbeat(control.agentUrl, accessToken)).status).toBe(200);
    const issued = credentialsOf(await register(control.agentUrl, registrationToken, await newMachineKey()));
    expect(issued.hostId).toBe(host.id);
    expect((await heartbeat(control.agentUrl, accessToken)).status).toBe(401);
    expect(reasonOf(await refresh(control.agentUrl, refreshToken, key))).toBe('PROOF_INVALID');
  });

  test('is open to a host whose credentials were issued and never used', async () => {
    const { host, token } = await newHost();
    credentialsOf(await register(control.agentUrl, token, await newMachineKey()));
    expect(await stateOf(host.id)).toBe('UNUSED');
    await regenerate(host.id);
  });

  test.each([
    ['expired', { expiresAt: new Date(0) }, undefined, 'EXPIRED', 'TOKEN_EXPIRED'],
    ['revoked', undefined, { revokedAt: new Date() }, 'REVOKED', 'CREDENTIALS_REVOKED'],
  ])('brings back a host whose credentials are %s, in place', async (_what, tokens, identity, state, reason) => {
    const { host, key, refreshToken } = await newWorkingHost();
    const { query } = control.database.as<FleetTables>();
    if (tokens) await query.updateTable('RefreshToken').set(tokens).where('hostId', '=', host.id).execute();
    if (identity) await query.updateTable('HostIdentity').set(identity).where('hostId', '=', host.id).execute();
    expect(reasonOf(await refresh(control.agentUrl, refreshToken, key))).toBe(reason);
    expect(await stateOf(host.id)).toBe(state);
    const { registrationToken } = await regenerate(host.id);
    const issued = credentialsOf(await register(control.agentUrl, registrationToken, key, {}, host.id));
    expect(issued.hostId).toBe(host.id);
    expect((await heartbeat(control.agentUrl, issued.accessToken)).status).toBe(200);
    expect(await stateOf(host.id)).toBe('WORKING');
    credentialsOf(await refresh(control.agentUrl, issued.refreshToken, key));
  });

  test('lets nobody see or mend what is not theirs', async () => {
    const teamId = randomUUID();
    const { host } = await newHost(teamId);
    await expect(regenerate(host.id, {}, newMember(randomUUID(), 'OWNER'))).rejects.toThrow(NotFound);
    await expect(regenerate(randomUUID())).rejects.toThrow(NotFound);
    await expect(regenerate(host.id, {}, newMember(teamId))).rejects.toThrow(NotPermitted);
    expect(await viewOf(host, newMember(teamId))).toBeNull();
    expect(await viewOf(host, newMember(teamId, 'ADMIN'))).toMatchObject({ state: 'NONE' });
    await regenerate(host.id, {}, newMember(teamId, 'ADMIN'));
  });

  test('is too late for a host that is being deleted', async () => {
    const { host } = await newHost();
    await control.database
      .as<FleetTables>()
      .query.updateTable('Host')
      .set({ deletingAt: new Date() })
      .where('id', '=', host.id)
      .execute();
    await expect(regenerate(host.id)).rejects.toThrow(HostBeingDeleted);
  });

  test('cuts the sockets of whoever had the credentials before', async () => {
    const { registrationToken, host } = await control.fleet.services.hosts.createLocal(`host-${randomUUID()}`);
    await using agent = await ScriptedAgent.join(control.agentUrl, registrationToken);
    const channel = await openChannel(control.agentUrl, agent.accessToken);
    const tunnel = await agent.dial();
    const closed = [channel, tunnel].map((socket) => once(socket, 'close') as Promise<[number]>);
    const next = await regenerate(host.id, { replaceCredentials: true });
    credentialsOf(await register(control.agentUrl, next.registrationToken, await newMachineKey()));
    for (const [code] of await Promise.all(closed)) expect(code).toBe(CloseCode.Unauthorized);
  });

  test('and those that are connected to another replica, a little later', async () => {
    await using other = await startTestControl({}, databaseUrl);
    const { host, accessToken } = await newWorkingHost();
    const channel = await openChannel(other.agentUrl, accessToken);
    const closed = once(channel, 'close') as Promise<[number]>;
    const next = await regenerate(host.id, { replaceCredentials: true });
    credentialsOf(await register(control.agentUrl, next.registrationToken, await newMachineKey()));
    expect((await closed)[0]).toBe(CloseCode.Unauthorized);
  }, 60_000);

  test('answers through the public API, and so does Host.credentials', async () => {
    const { host, accessToken } = await newWorkingHost({ machineId: 'machine-1' });
    const token = await signIn(control, 'admin@rookery.local');
    const query = `query ($id: ID!) { host(id: $id) { id credentials { state quarantineCause holders { address bootId machineId } } } }`;
    const ask = (text: string, variables: object) =>
      control.execute('fleet', { document: parse(text), variables } as never, { token }) as Promise<{ data: unknown }>;
    const id = toGlobalId('Host', host.id);
    expect(await ask(query, { id })).toMatchObject({
      data: {
        host: {
          credentials: {
            state: 'WORKING',
            quarantineCause: null,
            holders: [{ address: expect.stringMatching(/127\.0\.0\.1$/), bootId: 'boot-1', machineId: 'machine-1' }],
          },
        },
      },
    });
    const mutation = `mutation ($input: RegenerateHostTokenInput!) { regenerateHostToken(input: $input) {
      __typename ... on HostTokenRegenerated { registrationToken joinCommand } ... on UserError { code path } } }`;
    expect(await ask(mutation, { input: { hostId: id } })).toEqual({
      data: {
        regenerateHostToken: {
          __typename: 'HostHasCredentials',
          code: 'HOST_HAS_CREDENTIALS',
          path: ['input', 'replaceCredentials'],
        },
      },
    });
    expect(await ask(mutation, { input: { hostId: id, replaceCredentials: true } })).toMatchObject({
      data: { regenerateHostToken: { __typename: 'HostTokenRegenerated' } },
    });
    expect(await ask(mutation, { input: { hostId: 'nonsense' } })).toMatchObject({
      data: { regenerateHostToken: { __typename: 'NotFound' } },
    });
    expect((await heartbeat(control.agentUrl, accessToken)).status).toBe(200);
  });
});

describe('a quarantined host', () => {
  test('shows both machines to its owner', async () => {
    const { host } = await newClonedHost();
    expect(await viewOf(await hostOf(host.id))).toMatchObject({
      state: 'CLONED',
      quarantineCause: 'REFRESH_REUSED',
      quarantinedAt: expect.any(Date),
      holders: [
        { bootId: 'boot-a', address: expect.stringMatching(/127\.0\.0\.1$/), seenAt: expect.any(Date) },
        { bootId: 'boot-b', address: expect.stringMatching(/127\.0\.0\.1$/), seenAt: expect.any(Date) },
      ],
    });
  });

  test('takes a token only from someone who knows that it decides', async () => {
    const { host } = await newClonedHost();
    await expect(regenerate(host.id)).rejects.toThrow(HostQuarantined);
    await expect(regenerate(host.id, { replaceCredentials: true })).rejects.toThrow(HostQuarantined);
    await regenerate(host.id, { resolveQuarantine: true });
    // Until it is spent, nothing is decided.
    expect(await stateOf(host.id)).toBe('CLONED');
  });

  test.each(['the original', 'the copy'])('is %s that spends the token; the other one is shut out', async (which) => {
    const { host, key, original, copied } = await newClonedHost();
    const { registrationToken } = await regenerate(host.id, { resolveQuarantine: true });
    const issued = credentialsOf(await register(control.agentUrl, registrationToken, key, {}, host.id));
    expect(await stateOf(host.id)).not.toBe('CLONED');
    expect((await heartbeat(control.agentUrl, issued.accessToken)).status).toBe(200);
    for (const loser of which === 'the copy' ? [original.refreshToken, copied] : [copied, original.refreshToken])
      expect(reasonOf(await refresh(control.agentUrl, loser, key))).toBe('CREDENTIALS_REPLACED');
    expect((await heartbeat(control.agentUrl, original.accessToken)).status).toBe(401);
    expect((await hostOf(host.id)).quarantinedAt).toBeNull();
    credentialsOf(await refresh(control.agentUrl, issued.refreshToken, key));
  });

  test('is not set free by a token of before, spent or not', async () => {
    const { host, key, token, refreshToken } = await newWorkingHost();
    const unspent = (await regenerate(host.id, { replaceCredentials: true })).registrationToken;
    const moved = credentialsOf(await refresh(control.agentUrl, refreshToken, key));
    await heartbeat(control.agentUrl, moved.accessToken);
    expect(reasonOf(await refresh(control.agentUrl, refreshToken, key))).toBe('CREDENTIALS_CLONED');
    for (const old of [token, unspent])
      expect(reasonOf(await register(control.agentUrl, old, key))).toBe('TOKEN_UNKNOWN');
    expect(await stateOf(host.id)).toBe('CLONED');
  });

  test('keeps what runs and is given nothing new', async () => {
    const { registrationToken, host } = await control.fleet.services.hosts.createLocal(`host-${randomUUID()}`);
    await using agent = await ScriptedAgent.join(control.agentUrl, registrationToken);
    await vi.waitFor(async () => expect((await hostOf(host.id)).tunnelReplica).toBe(control.replicaId), 10_000);
    const create = () =>
      control.fleet.services.sandboxes.create(admin, {
        name: `box-${randomUUID().slice(0, 8)}`,
        teamId: defaultTeam,
        hostId: host.id,
        vcpus: 1,
        memoryMb: 128,
        diskMb: 128,
      });
    const defaultTeam = await anyTeam();
    const { sandbox } = await create();
    await vi.waitFor(() => expect(agent.sandboxes.get(sandbox.id)?.status).toBe('RUNNING'), 10_000);
    const moved = credentialsOf(await refresh(control.agentUrl, agent.refreshToken, agent.key));
    await heartbeat(control.agentUrl, moved.accessToken);
    await refresh(control.agentUrl, agent.refreshToken, agent.key);
    await expect(create()).rejects.toThrow(/tunnel down|quarantined/);
    expect(agent.removed).toEqual([]);
    expect(agent.sandboxes.get(sandbox.id)?.status).toBe('RUNNING');
    expect((await agent.beat()).status).toBe(200);
  });
});

describe('a deleted host', () => {
  test('is told so with a signature by every key of control', async () => {
    const { host, key, refreshToken, controlKeys, accessToken } = await newWorkingHost();
    await control.fleet.services.deletion.delete(admin, host.id, false, null);
    expect((await heartbeat(control.agentUrl, accessToken)).status).toBe(401);
    const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
    await control.database
      .as<InferKyselyDB<typeof SigningKeySchema, typeof QUERY_OPTIONS>>()
      .query.insertInto('SigningKey')
      .values({
        kid: 'newer',
        purpose: 'HOST',
        privateJwk: await exportJWK(privateKey),
        publicJwk: await exportJWK(publicKey),
        createdAt: new Date(),
      })
      .execute();
    // A process that starts now signs with the newer key, which this host has never seen.
    await using later = await startTestControl({}, databaseUrl);
    const answer = await refresh(later.agentUrl, refreshToken, key);
    expect(reasonOf(answer)).toBe('HOST_DELETED');
    const statements = answer.result.errors?.[0]?.extensions?.['statements'] as string[];
    expect(statements).toHaveLength(2);
    expect(controlKeys).toHaveLength(1);
    const known = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: controlKeys[0]?.publicKey as string }, 'EdDSA');
    const proven = await Promise.allSettled(statements.map((statement) => compactVerify(statement, known)));
    const good = proven.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    expect(good).toHaveLength(1);
    expect(JSON.parse(new TextDecoder().decode(good[0]?.payload))).toEqual({
      iss: 'rookery',
      aud: 'rookery-agent-channel',
      sub: host.id,
    });
    // And hosts that renew get to know it.
    const living = await newWorkingHost();
    const renewed = credentialsOf(await refresh(later.agentUrl, living.refreshToken, living.key));
    expect(renewed.controlKeys.map(({ kid }) => kid)).toEqual(['newer', controlKeys[0]?.kid]);
  });

  test('is not told to somebody without its key', async () => {
    const { host, refreshToken } = await newWorkingHost();
    await control.fleet.services.deletion.delete(admin, host.id, false, null);
    const answer = await refresh(control.agentUrl, refreshToken, await newMachineKey());
    expect(reasonOf(answer)).toBe('PROOF_INVALID');
    expect(JSON.stringify(answer.result)).not.toContain('statements');
  });
});

async function openChannel(agentUrl: string, accessToken: string): Promise<WebSocket> {
  const socket = new WebSocket(agentUrl.replace(/^http/, 'ws') + AgentEndpoint.channel, 'graphql-transport-ws');
  await once(socket, 'open');
  socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${accessToken}` } }));
  const [message] = (await once(socket, 'message')) as [Buffer];
  expect(JSON.parse(message.toString())).toMatchObject({ type: 'connection_ack' });
  return socket;
}

async function anyTeam(): Promise<string> {
  const rows = await control.database.orm.em.fork().execute<{ id: string }[]>('select id from teams limit 1');
  return rows[0]?.id as string;
}
