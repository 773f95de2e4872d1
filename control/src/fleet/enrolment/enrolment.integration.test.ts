import { sha256 } from '@rookery/wire/secrets.ts';
import { parse } from 'graphql';
import { decodeJwt } from 'jose';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newAdmin, newTeam, startTestControl } from '../../../test/harness.ts';
import {
  heartbeat,
  newMachineKey,
  refresh,
  register,
  type Credentials,
  type MachineKey,
} from '../../../test/scripted-agent.ts';
import type { Control } from '../../app.ts';
import type { AuditTables } from '../../kernel/audit/audit.entity.ts';
import type { EventTables } from '../../kernel/events/event.entity.ts';
import { hostSpecsSchema } from '../hosts/host.specs.ts';
import { hostConditions } from '../hosts/host.state.ts';
import type { FleetTables, HostRow } from '../tables.ts';

let control: Control;
beforeAll(async () => {
  control = await startTestControl();
});
afterAll(() => control[Symbol.asyncDispose]());

const newToken = async (machine = 'enrolment') =>
  (await control.fleet.services.hosts.createLocal(machine)).registrationToken;

type Answer = Awaited<ReturnType<typeof register>>;

function credentialsOf({ status, result }: Answer): Credentials {
  expect(result.errors).toBeUndefined();
  expect(status).toBe(200);
  return Object.values(result.data ?? {})[0] as unknown as Credentials;
}

function expectRefusal({ status, result }: Answer, reason: string): void {
  expect(status).toBe(401);
  expect(result.errors?.[0]?.extensions).toMatchObject({ code: 'UNAUTHENTICATED', reason, retryable: false });
}

function expectOutOfTurn({ status, result }: Answer): void {
  expect(status).toBe(409);
  expect(result.errors?.[0]?.extensions).toMatchObject({
    code: 'CONFLICT',
    reason: 'REQUEST_OUT_OF_TURN',
    lastSequence: expect.any(Number),
  });
}

const eventTypes = async (hostId: string): Promise<string[]> => {
  const events = await control.database
    .as<EventTables>()
    .query.selectFrom('Event')
    .select('type')
    .where('subjectId', '=', hostId)
    .orderBy('id')
    .execute();
  return events.map(({ type }) => type);
};

const trailOf = (hostId: string) =>
  control.database
    .as<AuditTables>()
    .query.selectFrom('AuditEvent')
    .select(['action', 'actorKind', 'outcome', 'code', 'resourceType'])
    .where('resourceId', '=', hostId)
    .orderBy('id')
    .execute();

describe('a registration token', () => {
  test('makes a machine a host, with credentials that work', async () => {
    const key = await newMachineKey();
    const { hostId, accessToken } = credentialsOf(await register(control.agentUrl, await newToken(), key));
    const beat = await heartbeat(control.agentUrl, accessToken);
    expect(beat.status).toBe(200);
    expect(await control.fleet.services.hosts.findForControl(hostId)).toMatchObject({
      status: 'ONLINE',
      cpuCores: 8,
      runtimeName: 'runc',
      arch: 'x86_64',
    });
  });

  test('may be presented again by the same key, because the first answer may have been lost', async () => {
    const [token, key] = [await newToken(), await newMachineKey()];
    const first = credentialsOf(await register(control.agentUrl, token, key));
    const second = credentialsOf(await register(control.agentUrl, token, key));
    expect(second.hostId).toBe(first.hostId);
    expect((await heartbeat(control.agentUrl, second.accessToken)).status).toBe(200);
  });

  test('lets exactly one of two machines that race with it in', async () => {
    const [token, keys] = [await newToken(), await Promise.all([newMachineKey(), newMachineKey()])];
    const answers = await Promise.all(keys.map((key) => register(control.agentUrl, token, key)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401]);
    expectRefusal(answers.find(({ status }) => status === 401) as Answer, 'TOKEN_USED');
  });

  test('presented by a second key is refused each time, and told once', async () => {
    const [token, mine, theirs] = [await newToken(), await newMachineKey(), await newMachineKey()];
    const { hostId } = credentialsOf(await register(control.agentUrl, token, mine));
    for (let tries = 0; tries < 3; tries++)
      expectRefusal(await register(control.agentUrl, token, theirs), 'TOKEN_USED');
    credentialsOf(await register(control.agentUrl, token, mine));
    expect(await eventTypes(hostId)).toEqual(['host.created', 'host.registered', 'host.registration_refused']);
  });

  test('is good for one machine of many that were made from one disk image', async () => {
    const [token, key] = [await newToken(), await newMachineKey()];
    const answers = await Promise.all(
      ['a', 'b', 'c'].map((machineId) => register(control.agentUrl, token, key, { machineId })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401, 401]);
  });

  test('is not spent on a machine that is another host', async () => {
    const [token, key] = [await newToken(), await newMachineKey()];
    expectRefusal(await register(control.agentUrl, token, key, {}, randomUUID()), 'TOKEN_OTHER_HOST');
    const { hostId } = credentialsOf(await register(control.agentUrl, token, await newMachineKey()));
    expect(hostId).toBeTruthy();
  });

  test('is worth nothing once it has expired, to the key that spent it as well', async () => {
    const [spent, key] = [await newToken(), await newMachineKey()];
    credentialsOf(await register(control.agentUrl, spent, key));
    const unspent = await newToken();
    await control.database
      .as<FleetTables>()
      .query.updateTable('RegistrationToken')
      .set({ expiresAt: new Date(Date.now() - 1) })
      .where('hash', 'in', [sha256(unspent), sha256(spent)])
      .execute();
    for (const token of [unspent, spent]) expectRefusal(await register(control.agentUrl, token, key), 'TOKEN_EXPIRED');
  });

  test('that is not known is refused', async () => {
    expectRefusal(await register(control.agentUrl, 'rkt_nonsense', await newMachineKey()), 'TOKEN_UNKNOWN');
  });

  test('recorded with its proof and sent again brings nobody anything', async () => {
    const [token, key] = [await newToken(), await newMachineKey()];
    const recorded = { publicKey: key.publicKey, token, proof: await key.prove('register', token) };
    credentialsOf(await register(control.agentUrl, token, key));
    const { enrolment } = control.fleet.agentChannel;
    const machine = { hostname: 'h', arch: 'a', os: 'o', kernel: 'k', cpuCores: 1, memoryMb: 1, diskGb: 1 };
    const specs = hostSpecsSchema.parse({ ...machine, agentVersion: '0', bootId: 'b', conditions: [] });
    await expect(enrolment.register({ ...recorded, specs, address: null })).rejects.toMatchObject({
      reason: 'REQUEST_OUT_OF_TURN',
    });
  });

  test('is refused, and not spent, while the host’s team may not bring its own', async () => {
    const { team } = await newTeam(control);
    const input = { name: `h-${randomUUID()}`, kind: 'BYOC', teamId: team.id };
    const { host, registrationToken } = await control.fleet.services.hosts.create(newAdmin(), input);
    const key = await newMachineKey();
    await control.accounts.services.teams.setByoc(newAdmin(), team.id, false);
    const { status, result } = await register(control.agentUrl, registrationToken, key);
    expect(status).toBe(403);
    expect(result.errors?.[0]?.extensions).toMatchObject({ code: 'FORBIDDEN', reason: 'TEAM_NOT_BYOC' });
    expect(await trailOf(host.id)).toContainEqual(
      expect.objectContaining({ action: 'host.register', outcome: 'REFUSED', code: 'TEAM_NOT_BYOC' }),
    );
    await control.accounts.services.teams.setByoc(newAdmin(), team.id, true);
    expect(credentialsOf(await register(control.agentUrl, registrationToken, key)).hostId).toBe(host.id);
  });

  test('is worth nothing without a proof of the key', async () => {
    const [mine, theirs] = [await newMachineKey(), await newMachineKey()];
    const stolen = { ...theirs, publicKey: mine.publicKey };
    expectRefusal(await register(control.agentUrl, await newToken(), stolen), 'PROOF_INVALID');
    const replayed = { ...mine, prove: () => mine.prove('register', 'rkt_another') };
    expectRefusal(await register(control.agentUrl, await newToken(), replayed), 'PROOF_INVALID');
  });
});

describe('a refresh token', () => {
  async function enrolled(specs: Parameters<typeof register>[3] = {}) {
    const key = await newMachineKey();
    return { key, ...credentialsOf(await register(control.agentUrl, await newToken(), key, specs)) };
  }
  const hostOf = async (hostId: string) => (await control.fleet.services.hosts.findForControl(hostId)) as HostRow;

  test('stays valid however often its answer is lost, until a newer one is used', async () => {
    const { key, refreshToken, hostId } = await enrolled();
    let latest = refreshToken;
    for (let lost = 0; lost < 20; lost++)
      latest = credentialsOf(await refresh(control.agentUrl, refreshToken, key)).refreshToken;
    credentialsOf(await refresh(control.agentUrl, latest, key));
    expectOutOfTurn(await refresh(control.agentUrl, refreshToken, key, { sequence: 1 }));
    expect((await hostOf(hostId)).quarantinedAt).toBeNull();
  });

  test('is over with the first request that its successor’s access token authenticates', async () => {
    const { key, refreshToken, accessToken } = await enrolled();
    const lost = credentialsOf(await refresh(control.agentUrl, refreshToken, key));
    const next = credentialsOf(await refresh(control.agentUrl, refreshToken, key));
    expect((await heartbeat(control.agentUrl, accessToken)).status).toBe(200);
    expect((await heartbeat(control.agentUrl, next.accessToken)).status).toBe(200);
    for (const old of [accessToken, lost.accessToken])
      expect((await heartbeat(control.agentUrl, old)).status).toBe(401);
    for (const old of [refreshToken, lost.refreshToken])
      expectOutOfTurn(await refresh(control.agentUrl, old, key, { sequence: 1 }));
    credentialsOf(await refresh(control.agentUrl, next.refreshToken, key));
  });

  test('of two siblings that are first used at once lets exactly one live', async () => {
    for (let round = 0; round < 10; round++) {
      const { key, refreshToken } = await enrolled();
      credentialsOf(await refresh(control.agentUrl, refreshToken, key));
      const siblings = await Promise.all([0, 1, 2].map(() => refresh(control.agentUrl, refreshToken, key)));
      const uses = await Promise.all(
        siblings.map((answer) => heartbeat(control.agentUrl, credentialsOf(answer).accessToken)),
      );
      expect(uses.map(({ status }) => status).sort()).toEqual([200, 401, 401]);
    }
  });

  test('used again after a newer one was revokes the family, quarantines the host and is told', async () => {
    const { key, refreshToken, hostId } = await enrolled();
    const next = credentialsOf(await refresh(control.agentUrl, refreshToken, key));
    credentialsOf(await refresh(control.agentUrl, next.refreshToken, key));
    expectRefusal(await refresh(control.agentUrl, refreshToken, key), 'CREDENTIALS_CLONED');
    expectRefusal(await refresh(control.agentUrl, next.refreshToken, key), 'CREDENTIALS_CLONED');
    expect(await eventTypes(hostId)).toEqual(['host.created', 'host.registered', 'host.refresh_reuse']);
    expect(await trailOf(hostId)).toContainEqual(
      expect.objectContaining({ action: 'host.refresh', outcome: 'REFUSED', code: 'CREDENTIALS_CLONED' }),
    );
    const host = await hostOf(hostId);
    expect(hostConditions({ ...host, status: 'ONLINE' })).toContainEqual(
      expect.objectContaining({ type: 'CREDENTIALS_CLONED', blocksPlacement: true }),
    );
  });

  test('that arrives late, after its successor was used, is no alarm', async () => {
    const { key, refreshToken, hostId } = await enrolled();
    const next = credentialsOf(await refresh(control.agentUrl, refreshToken, key, { sequence: 2 }));
    credentialsOf(await refresh(control.agentUrl, next.refreshToken, key, { sequence: 3 }));
    const late = await refresh(control.agentUrl, refreshToken, key, { sequence: 2 });
    expectOutOfTurn(late);
    expect(late.result.errors?.[0]?.extensions).toMatchObject({ lastSequence: 3 });
    expect((await hostOf(hostId)).quarantinedAt).toBeNull();
  });

  test.each([0, 1, 3, 4_000, Number.MAX_SAFE_INTEGER])(
    'sent with the number %i out of turn, by whoever has a copy, takes nothing from the host',
    async (sequence) => {
      const { key, refreshToken, hostId } = await enrolled();
      for (let tries = 0; tries < 2; tries++)
        expectOutOfTurn(await refresh(control.agentUrl, refreshToken, key, { sequence }));
      const next = credentialsOf(await refresh(control.agentUrl, refreshToken, key, { sequence: 2 }));
      // The same message again: each number is granted once.
      expectOutOfTurn(await refresh(control.agentUrl, refreshToken, key, { sequence: 2 }));
      expect((await heartbeat(control.agentUrl, next.accessToken)).status).toBe(200);
      for (const again of [sequence === 3 ? 1 : sequence, 4])
        expectOutOfTurn(await refresh(control.agentUrl, refreshToken, key, { sequence: again }));
      expect((await hostOf(hostId)).quarantinedAt).toBeNull();
      credentialsOf(await refresh(control.agentUrl, next.refreshToken, key));
    },
  );

  test('is worth nothing without the host’s key, and alarms nobody then', async () => {
    const { key, refreshToken, hostId } = await enrolled();
    const next = credentialsOf(await refresh(control.agentUrl, refreshToken, key));
    credentialsOf(await refresh(control.agentUrl, next.refreshToken, key));
    const thief = await newMachineKey();
    for (const token of [refreshToken, next.refreshToken])
      expectRefusal(await refresh(control.agentUrl, token, thief, { sequence: 4 }), 'PROOF_INVALID');
    expect((await hostOf(hostId)).quarantinedAt).toBeNull();
  });

  test('that is not known is refused', async () => {
    expectRefusal(await refresh(control.agentUrl, 'rkr_nonsense', await newMachineKey()), 'TOKEN_UNKNOWN');
  });

  test.each([
    ['with a lasting id', 'machine-1'],
    ['without one', null],
  ])('renews after every reboot of a machine %s', async (_which, machineId) => {
    const { key, hostId, ...first } = await enrolled({ machineId });
    let { refreshToken, accessToken } = first;
    for (const bootId of ['boot-2', 'boot-3', 'boot-4']) {
      const { status } = await heartbeat(control.agentUrl, accessToken, { bootId, machineId });
      expect(status).toBe(200);
      const machine = { bootId, machineId };
      ({ refreshToken, accessToken } = credentialsOf(await refresh(control.agentUrl, refreshToken, key, machine)));
    }
    expect((await hostOf(hostId)).quarantinedAt).toBeNull();
  });

  test('from another machine quarantines at once, with the token as good as before for neither', async () => {
    const { key, hostId, refreshToken, accessToken } = await enrolled({ machineId: 'machine-1' });
    const copy = { machineId: 'machine-2', bootId: 'boot-9' };
    expectRefusal(await refresh(control.agentUrl, refreshToken, key, copy), 'CREDENTIALS_CLONED');
    expectRefusal(await refresh(control.agentUrl, refreshToken, key, { machineId: 'machine-1' }), 'CREDENTIALS_CLONED');
    expect(await eventTypes(hostId)).toContain('host.second_machine');
    // Both are heard until the owner has decided.
    expect((await heartbeat(control.agentUrl, accessToken)).status).toBe(200);
  });

  test('is not needed to notice a copy on another machine: its heartbeat tells', async () => {
    const { hostId, accessToken } = await enrolled({ machineId: 'machine-1' });
    await heartbeat(control.agentUrl, accessToken, { machineId: 'machine-1', bootId: 'boot-2' });
    expect((await hostOf(hostId)).quarantinedAt).toBeNull();
    await heartbeat(control.agentUrl, accessToken, { machineId: 'machine-2', bootId: 'boot-9' });
    expect((await hostOf(hostId)).quarantinedAt).not.toBeNull();
    await heartbeat(control.agentUrl, accessToken, { machineId: 'machine-2', bootId: 'boot-9' });
    expect((await eventTypes(hostId)).filter((type) => type === 'host.second_machine')).toHaveLength(1);
  });
});

test('hosts that all register at once do not wait for each other, also when the keys have to be read', async () => {
  const machines = await Promise.all(
    Array.from({ length: 32 }, async () => ({ token: await newToken(randomUUID()), key: await newMachineKey() })),
  );
  control.keys.forget();
  const answers = await Promise.all(machines.map(({ token, key }) => register(control.agentUrl, token, key)));
  expect(new Set(answers.map((answer) => credentialsOf(answer).hostId)).size).toBe(32);
  control.keys.forget();
  const renewed = await Promise.all(
    answers.map((answer, index) =>
      refresh(control.agentUrl, credentialsOf(answer).refreshToken, (machines[index] as { key: MachineKey }).key),
    ),
  );
  expect(renewed.map(({ status }) => status)).toEqual(Array.from({ length: 32 }, () => 200));
});

test('lifetimes are what the configuration says', async () => {
  await using brief = await startTestControl({
    ROOKERY_REGISTRATION_TOKEN_SECONDS: 11,
    ROOKERY_HOST_TOKEN_SECONDS: 22,
    ROOKERY_HOST_REFRESH_TOKEN_SECONDS: 33,
  });
  const { registrationToken, registrationTokenExpiresAt } = await brief.fleet.services.hosts.createLocal('brief');
  expect(registrationTokenExpiresAt.getTime() - Date.now()).toBeGreaterThan(5_000);
  expect(registrationTokenExpiresAt.getTime() - Date.now()).toBeLessThanOrEqual(11_000);
  const issued = credentialsOf(await register(brief.agentUrl, registrationToken, await newMachineKey()));
  expect(issued).toMatchObject({ accessTokenExpiresInSeconds: 22, refreshTokenExpiresInSeconds: 33 });
  const { iat, exp } = decodeJwt(issued.accessToken);
  expect((exp as number) - (iat as number)).toBe(22);
});

describe('the agent channel', () => {
  test.each(['', 'nonsense', 'a.b.c'])('refuses the access token %o', async (token) => {
    expect((await heartbeat(control.agentUrl, token)).status).toBe(401);
  });

  test('refuses a user’s session token', async () => {
    const result = await control.execute(
      'accounts',
      {
        document: parse(
          'mutation { signIn(input: { email: "admin@rookery.local", password: "correct horse" }) { ... on SignedIn { token } } }',
        ),
      },
      {},
    );
    const { token } = (result as { data: { signIn: { token: string } } }).data.signIn;
    expect((await heartbeat(control.agentUrl, token)).status).toBe(401);
  });

  test('answers garbage with a typed error', async () => {
    const response = await fetch(`${control.agentUrl}/agent/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"query": 1',
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: 'BAD_USER_INPUT' } }] });
  });
});

test('registrations and refused credentials are on the audit trail', async () => {
  const [token, mine, theirs] = [await newToken(), await newMachineKey(), await newMachineKey()];
  const { hostId } = credentialsOf(await register(control.agentUrl, token, mine));
  expectRefusal(await register(control.agentUrl, token, theirs), 'TOKEN_USED');
  expectRefusal(await register(control.agentUrl, token, theirs), 'TOKEN_USED');
  // The same refusal once a minute.
  expect(await trailOf(hostId)).toEqual([
    { action: 'host.register', actorKind: 'HOST', outcome: 'SUCCEEDED', code: null, resourceType: 'host' },
    { action: 'host.register', actorKind: 'ANONYMOUS', outcome: 'REFUSED', code: 'TOKEN_USED', resourceType: 'host' },
  ]);
});
