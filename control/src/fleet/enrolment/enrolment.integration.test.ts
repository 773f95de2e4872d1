import { parse } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestControl } from '../../../test/harness.ts';
import { heartbeat, newMachineKey, refresh, register, type Credentials } from '../../../test/scripted-agent.ts';
import type { Control } from '../../app.ts';

let control: Control;
beforeAll(async () => {
  control = await startTestControl();
});
afterAll(() => control[Symbol.asyncDispose]());

const newToken = async () => (await control.fleet.services.hosts.createLocal('enrolment')).registrationToken;

type Answer = Awaited<ReturnType<typeof register>>;

function credentialsOf({ status, result }: Answer): Credentials {
  expect(result.errors).toBeUndefined();
  expect(status).toBe(200);
  return Object.values(result.data ?? {})[0] as unknown as Credentials;
}

function expectRefusal({ status, result }: Answer, reason: string): void {
  expect(status).toBe(401);
  expect(result.errors?.[0]?.extensions).toEqual({ code: 'UNAUTHENTICATED', reason, retryable: false });
}

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
    for (const { accessToken } of [first, second])
      expect((await heartbeat(control.agentUrl, accessToken)).status).toBe(200);
  });

  test('lets exactly one of two machines that race with it in', async () => {
    const [token, keys] = [await newToken(), await Promise.all([newMachineKey(), newMachineKey()])];
    const answers = await Promise.all(keys.map((key) => register(control.agentUrl, token, key)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401]);
    expectRefusal(answers.find(({ status }) => status === 401) as Answer, 'TOKEN_USED');
  });

  test('that is not known is refused', async () => {
    expectRefusal(await register(control.agentUrl, 'rkt_nonsense', await newMachineKey()), 'TOKEN_UNKNOWN');
  });

  test('is worth nothing without a proof of the key', async () => {
    const [mine, theirs] = [await newMachineKey(), await newMachineKey()];
    const stolen = { publicKey: mine.publicKey, prove: theirs.prove };
    expectRefusal(await register(control.agentUrl, await newToken(), stolen), 'PROOF_INVALID');
    const replayed = { publicKey: mine.publicKey, prove: () => mine.prove('register', 'rkt_another') };
    expectRefusal(await register(control.agentUrl, await newToken(), replayed), 'PROOF_INVALID');
  });
});

describe('a refresh token', () => {
  async function enrolled() {
    const key = await newMachineKey();
    return { key, ...credentialsOf(await register(control.agentUrl, await newToken(), key)) };
  }

  test('stays valid however often its answer is lost, until a newer one is used', async () => {
    const { key, refreshToken } = await enrolled();
    let latest = refreshToken;
    for (let lost = 0; lost < 20; lost++)
      latest = credentialsOf(await refresh(control.agentUrl, refreshToken, key)).refreshToken;
    credentialsOf(await refresh(control.agentUrl, latest, key));
    expectRefusal(await refresh(control.agentUrl, refreshToken, key), 'TOKEN_USED');
  });

  test('asked for twice at once gives two that both work until one is used', async () => {
    const { key, refreshToken } = await enrolled();
    const [one, two] = await Promise.all([
      refresh(control.agentUrl, refreshToken, key),
      refresh(control.agentUrl, refreshToken, key),
    ]);
    const next = credentialsOf(two);
    credentialsOf(await refresh(control.agentUrl, next.refreshToken, key));
    expectRefusal(await refresh(control.agentUrl, credentialsOf(one).refreshToken, key), 'TOKEN_USED');
  });

  test('is worth nothing without the host’s key', async () => {
    const { refreshToken } = await enrolled();
    expectRefusal(await refresh(control.agentUrl, refreshToken, await newMachineKey()), 'PROOF_INVALID');
  });

  test('that is not known is refused', async () => {
    expectRefusal(await refresh(control.agentUrl, 'rkr_nonsense', await newMachineKey()), 'TOKEN_UNKNOWN');
  });
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
