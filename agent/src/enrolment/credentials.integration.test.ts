import { generateKeyPairSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { silentLogger } from '@rookery/wire/log.ts';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ask, newDirectory, newTestControl, type TestControl } from '../agent.fixture.ts';
import { createAgent, type Agent } from '../app.ts';
import { readAgentConfig } from '../config.ts';
import { leave } from '../host/leave.ts';
import { status } from '../host/status.ts';
import { fixedRuntime } from '../runtime/runtime-finder.ts';
import { SimulatedRuntime } from '../runtime/simulated-runtime.ts';

const APPLY = `mutation ($spec: SandboxSpecInput!) { applySandbox(spec: $spec, generation: 1) { status } }`;
const DEADLINE_MS = 15_000;

const box = (desiredState = 'RUNNING', id = 'box') => {
  return { id, name: id, template: 'host', vcpus: 1, memoryMb: 128, diskMb: 64, desiredState };
};

let control: TestControl;
let directory: Awaited<ReturnType<typeof newDirectory>>;
let agents: Agent[];
let said: string[];
let runtime: SimulatedRuntime;

beforeEach(async () => {
  control = await newTestControl();
  control.nextHeartbeatMs = 250;
  directory = await newDirectory();
  agents = [];
  said = [];
  runtime = new SimulatedRuntime();
});
afterEach(async () => {
  for (const agent of agents) await agent[Symbol.asyncDispose]();
  await control[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
});

/** @param token empty: none. */
async function start(token = 'good-token', env = {}, controlUrl = control.url): Promise<Agent> {
  const agent = await createAgent({
    config: readAgentConfig({ ROOKERY_AGENT_CONTROL_LOSS_GRACE_MS: '60000', ...env }, directory.path),
    log: silentLogger(),
    say: (sentence) => said.push(sentence),
    finder: fixedRuntime(runtime),
    join: { controlUrl, token: token || undefined },
  });
  agents.push(agent);
  return agent;
}

async function stop(agent: Agent): Promise<void> {
  agents = agents.filter((other) => other !== agent);
  await agent[Symbol.asyncDispose]();
}

async function startWithSandbox(env = {}): Promise<Agent> {
  const agent = await start('good-token', env);
  await agent.online;
  await ask(await control.tunnel(), APPLY, { spec: box() });
  expect(await runtime.state('box')).toBe('running');
  return agent;
}

const saved = async () =>
  JSON.parse(await readFile(`${directory.path}/credentials.json`, 'utf8')) as {
    hostId: string;
    accessToken: string;
    refreshToken: string;
    controlUrl: string;
  };

/** Lets control reject the access token that is in use, on the sockets too, so that the agent renews. */
async function rejectAccess(): Promise<void> {
  control.revoked.add((await saved()).accessToken);
  control.closeChannels(4401);
}

async function statusOf() {
  const lines: string[] = [];
  await status(readAgentConfig({}, directory.path), { json: true, say: (line) => lines.push(line) });
  return JSON.parse(lines.join('')) as Record<string, unknown>;
}

async function statusInWords(): Promise<string> {
  const lines: string[] = [];
  await status(readAgentConfig({}, directory.path), { json: false, say: (line) => lines.push(line) });
  return lines.join('\n');
}

const until = (condition: () => unknown) => vi.waitFor(condition, { timeout: DEADLINE_MS, interval: 20 });

describe('an agent whose credentials control refuses to renew', () => {
  it('pauses its sandboxes at once, says that it is degraded, and keeps asking with what it has', async () => {
    const agent = await startWithSandbox();
    const before = await saved();
    control.refuseRefresh = {};
    await rejectAccess();
    await until(async () => expect(await runtime.state('box')).toBe('paused'));
    expect(await saved()).toEqual(before);
    await until(async () =>
      expect(await statusOf()).toMatchObject({
        degraded: true,
        credentialState: 'REFUSED',
        credentialProblem: 'The refresh token is not known.',
        sandboxes: [{ id: 'box', status: 'PAUSED' }],
      }),
    );
    expect(await statusInWords()).toMatch(/Degraded: +control refuses its credentials since .*join http\S+ <token>/s);
    const beats = control.heard.heartbeats.length;
    await until(() => expect(control.heard.refreshes.length).toBeGreaterThan(3));
    // What is left of an access token is not used either: control could undo the pause.
    expect(control.heard.heartbeats).toHaveLength(beats);
    for (const asked of control.heard.refreshes) expect(asked).toMatchObject({ refreshToken: before.refreshToken });
    await stop(agent);
  });

  it('goes on by itself when control thinks better of it', async () => {
    await startWithSandbox();
    control.refuseRefresh = {};
    await rejectAccess();
    await until(async () => expect(await runtime.state('box')).toBe('paused'));
    control.refuseRefresh = undefined;
    await until(async () => expect(await runtime.state('box')).toBe('running'));
    await until(async () => expect(await statusOf()).toMatchObject({ degraded: false }));
  });

  it('recovers in place when it is joined again with a new token: same host, same sandboxes', async () => {
    const agent = await startWithSandbox();
    control.refuseRefresh = {};
    await rejectAccess();
    await until(async () => expect(await statusOf()).toMatchObject({ degraded: true }));
    await stop(agent);
    control.tokens.add('new-token');
    await (
      await start('new-token')
    ).online;
    expect(said).toContain('Registered again as host nest (host-1), with its sandboxes.');
    expect(control.heard.registrations.at(-1)).toMatchObject({
      token: 'new-token',
      hostId: 'host-1',
      publicKey: control.heard.registrations[0]?.['publicKey'],
    });
    await until(async () => expect(await runtime.state('box')).toBe('running'));
    expect(await statusOf()).toMatchObject({ degraded: false, hostId: 'host-1', sandboxes: [{ status: 'RUNNING' }] });
  });

  it('spends the token of its command line at once when control refuses what it has saved', async () => {
    const agent = await startWithSandbox();
    await stop(agent);
    control.refuseRefresh = {};
    control.revoked.add((await saved()).accessToken);
    control.tokens.add('new-token');
    const again = await start('new-token');
    expect(said).toContain('Registered again as host nest (host-1), with its sandboxes.');
    expect(control.heard.registrations.at(-1)).toMatchObject({ token: 'new-token', hostId: 'host-1' });
    await again.online;
    expect(await statusOf()).toMatchObject({ degraded: false });
    await until(async () => expect(await runtime.state('box')).toBe('running'));
  });

  it('spends it later when control cannot be asked at the start', async () => {
    await stop(await startWithSandbox());
    control.tokens.add('new-token');
    control.outage = { status: 502, body: '<html>Bad Gateway</html>' };
    await start('new-token');
    expect(said).toContain('Already registered as host nest (host-1); the token is not used.');
    expect(control.heard.registrations).toHaveLength(1);
    control.refuseRefresh = {};
    control.outage = undefined;
    await rejectAccess();
    await until(() => expect(control.heard.registrations).toHaveLength(2));
    control.refuseRefresh = undefined;
    await until(async () => expect(await statusOf()).toMatchObject({ degraded: false }));
    await until(async () => expect(await runtime.state('box')).toBe('running'));
  });

  it('runs on, degraded, when the new token is refused as well', async () => {
    const agent = await startWithSandbox();
    control.refuseRefresh = {};
    await rejectAccess();
    await until(async () => expect(await statusOf()).toMatchObject({ degraded: true }));
    const before = await saved();
    await stop(agent);
    await start('no-good');
    expect(said).toContain(
      'The control plane refused to register this host: The registration token is not known. Going on with the saved credentials.',
    );
    expect(await saved()).toEqual(before);
    await until(async () => expect(await runtime.state('box')).toBe('paused'));
  });

  it('lets its sandboxes run, and uses its access token on, when it was only quarantined', async () => {
    await startWithSandbox();
    control.refuseRefresh = { reason: 'CREDENTIALS_CLONED' };
    await rejectAccess();
    await until(async () => expect(await statusOf()).toMatchObject({ degraded: true, credentialState: 'CLONED' }));
    // Control hears quarantined hosts.
    control.revoked.clear();
    const beats = control.heard.heartbeats.length;
    await until(() => expect(control.heard.heartbeats.length).toBeGreaterThan(beats));
    expect(await runtime.state('box')).toBe('running');
  });
});

describe('joining again', () => {
  it('asks control whether the saved credentials are good, and does not spend the token then', async () => {
    await stop(await startWithSandbox());
    const before = await saved();
    const again = await start('another-token');
    expect(said).toContain('Already registered as host nest (host-1); the token is not used.');
    expect(control.heard.refreshes).toMatchObject([{ refreshToken: before.refreshToken }]);
    expect(control.heard.registrations).toHaveLength(1);
    await again.online;
    expect(await runtime.state('box')).toBe('running');
  });

  it('goes on with the saved credentials of a host that was deleted, and so hears it', async () => {
    await stop(await startWithSandbox());
    control.refuseRefresh = { reason: 'HOST_DELETED', statements: [control.signDeletion('host-1')] };
    const again = await start('new-token');
    await again.deleted;
    expect(control.heard.registrations).toHaveLength(1);
    expect(await runtime.state('box')).toBe('absent');
  });

  describe('at another address', () => {
    let other: TestControl;
    beforeEach(async () => {
      await stop(await startWithSandbox());
      other = await newTestControl();
    });
    afterEach(async () => {
      for (const agent of agents.splice(0)) await agent[Symbol.asyncDispose]();
      await other[Symbol.asyncDispose]();
    });

    it.each([undefined, 'another-token'])('follows the control plane, with the token %s', async (token) => {
      const before = await saved();
      const moved = await start(token ?? '', {}, other.url);
      await moved.online;
      expect(said).toContain(`Host nest (host-1) is at ${other.url} from now on.`);
      expect(other.heard.refreshes).toMatchObject([{ refreshToken: before.refreshToken }]);
      expect(other.heard.registrations).toEqual([]);
      expect(await saved()).toMatchObject({ hostId: 'host-1', controlUrl: other.url });
      await until(async () => expect(await runtime.state('box')).toBe('running'));
    });

    it.each<[string, () => void, string, RegExp]>([
      ['that does not know the host', () => (other.refuseRefresh = {}), '', /refuses its credentials: .* Nothing was/],
      ['that refuses the token as well', () => (other.refuseRefresh = {}), 'no-good', /refused to register this host/],
      [
        'whose token is of another host, while there are sandboxes',
        () => ((other.refuseRefresh = {}), (other.refuseClaims = true)),
        'good-token',
        /host-1\) of http:\S+ with 1 sandbox, and the token is another host’s; leave that fleet first/,
      ],
    ])('%s changes nothing', async (_what, arrange, token, sentence) => {
      arrange();
      const before = await saved();
      await expect(start(token, {}, other.url)).rejects.toThrow(sentence);
      expect(await saved()).toEqual(before);
      expect(await statusOf()).toMatchObject({ degraded: false, sandboxes: [{ id: 'box' }] });
      expect(await runtime.state('box')).toBe('running');
    });

    it('recovers in place with a token when the control plane knows the host and refuses its credentials', async () => {
      other.refuseRefresh = { reason: 'CREDENTIALS_REPLACED' };
      await (
        await start('good-token', {}, other.url)
      ).online;
      expect(other.heard.registrations).toMatchObject([{ hostId: 'host-1' }]);
      expect(await saved()).toMatchObject({ controlUrl: other.url });
    });

    it('becomes another control plane’s host once it has no sandboxes', async () => {
      const back = await start('');
      await ask(await control.tunnel(), 'mutation { removeSandbox(id: "box", generation: 2) { existed } }');
      await stop(back);
      other.refuseRefresh = {};
      other.refuseClaims = true;
      await start('good-token', {}, other.url);
      expect(other.heard.registrations.map(({ hostId }) => hostId)).toEqual(['host-1', undefined]);
      expect(await saved()).toMatchObject({ controlUrl: other.url });
    });
  });
});

describe('joining without credentials, with sandboxes of a host', () => {
  const leaveFleet = (destroySandboxes = false) =>
    leave(readAgentConfig({}, directory.path), {
      destroySandboxes,
      force: false,
      say: (sentence) => said.push(sentence),
      log: silentLogger(),
      finder: fixedRuntime(runtime),
    });
  const losing = async () => {
    await rm(`${directory.path}/credentials.json`);
    return 0;
  };
  beforeEach(async () => {
    await stop(await startWithSandbox());
  });

  it.each([
    ['has left', leaveFleet],
    ['has lost them', losing],
  ])('becomes the host again that it was when it %s', async (_what, goAway) => {
    await goAway();
    expect(await statusOf()).toMatchObject({ registered: false, sandboxes: [{ id: 'box' }] });
    await (
      await start()
    ).online;
    expect(control.heard.registrations.at(-1)).toMatchObject({ hostId: 'host-1' });
    expect(said).toContain('Registered again as host nest (host-1), with its sandboxes.');
    await until(async () => expect(await runtime.state('box')).toBe('running'));
  });

  it.each([
    ['has left', leaveFleet],
    ['has lost them', losing],
  ])('becomes no other host when it %s, until they are destroyed', async (_what, goAway) => {
    await goAway();
    control.refuseClaims = true;
    await expect(start()).rejects.toThrow(
      /has 1 sandbox of host nest \(host-1\) of http:\S+, and the token is another host’s; .*leave --destroy-sandboxes.*--state-dir/,
    );
    expect(existsSync(`${directory.path}/credentials.json`)).toBe(false);
    expect(await runtime.state('box')).toBe('running');
    expect(await leaveFleet(true)).toBe(0);
    expect(said).toContain('Destroyed one sandbox.');
    expect(await runtime.state('box')).toBe('absent');
    await (
      await start()
    ).online;
    expect(control.heard.registrations.at(-1)).not.toHaveProperty('hostId');
  });

  it.each([
    ['', ''],
    [', also of one whose record is damaged', '{'],
  ])('is not tried when nothing says of which host%s', async (_what, record) => {
    await losing();
    // As agents wrote it that did not know this.
    await writeFile(`${directory.path}/credential-status.json`, '{"state":"ACTIVE","reason":null,"since":"2026"}');
    if (record) await writeFile(`${directory.path}/sandboxes/box.json`, record);
    await expect(start()).rejects.toThrow(/has 1 sandbox, and nothing says any more of which host; restore/);
    expect(control.heard.registrations).toHaveLength(1);
    expect(await runtime.state('box')).toBe('running');
  });
});

describe('what is no proven refusal', () => {
  it.each([0, 7, 1_000_000])('a request out of turn after %i is made again at once', async (last) => {
    await startWithSandbox();
    const before = await saved();
    control.lastSequence = last;
    await rejectAccess();
    await until(async () => expect((await saved()).accessToken).not.toBe(before.accessToken));
    expect(control.lastSequence).toBe(last + 1);
    expect(await statusOf()).toMatchObject({ degraded: false, credentialState: 'ACTIVE' });
    expect(await runtime.state('box')).toBe('running');
  });

  it.each([
    ['a 404', { status: 404, body: 'not found' }],
    ['a 502', { status: 502, body: '<html>Bad Gateway</html>' }],
    ['a page with status 200', { status: 200, body: '<html>Welcome to the hotel</html>' }],
    ['a 401 of somebody else', { status: 401, body: '{"error":"unauthorized"}' }],
    ['a 410', { status: 410, body: '{"errors":[{"message":"HOST_DELETED"}]}' }],
  ])('%s changes nothing, however often it comes, and is asked past', async (_what, outage) => {
    await startWithSandbox();
    const before = await saved();
    control.outage = outage;
    await rejectAccess();
    await until(() => expect(control.outages).toBeGreaterThan(2));
    expect(await saved()).toEqual(before);
    expect(await statusOf()).toMatchObject({ degraded: false, credentialState: 'ACTIVE' });
    expect(await runtime.state('box')).toBe('running');
    control.outage = undefined;
    await until(async () => expect((await saved()).accessToken).not.toBe(before.accessToken));
    const beats = control.heard.heartbeats.length;
    await until(() => expect(control.heard.heartbeats.length).toBeGreaterThan(beats));
  });
});

describe('the news that the host was deleted', () => {
  const stranger = { kid: 'control-1', privateKey: generateKeyPairSync('ed25519').privateKey };
  it.each<[string, () => unknown]>([
    ['unsigned', () => undefined],
    ['that is no statement', () => ['HOST_DELETED', 7, null, 'a.b.c', '..']],
    ['about another host', () => [control.signDeletion('host-2')]],
    ['signed by a stranger', () => [control.signDeletion('host-1', stranger)]],
    ['by a key that was never handed over', () => [control.signDeletion('host-1', { ...stranger, kid: 'control-2' })]],
    ['with its signature cut off', () => [control.signDeletion('host-1').replace(/[^.]+$/, '')]],
  ])('%s is a refusal like any other', async (_what, statements) => {
    await startWithSandbox();
    const before = await saved();
    control.refuseRefresh = { reason: 'HOST_DELETED', statements: statements() };
    await rejectAccess();
    await until(async () => expect(await statusOf()).toMatchObject({ credentialState: 'REFUSED' }));
    expect(await saved()).toEqual(before);
    await until(async () => expect(await runtime.state('box')).toBe('paused'));
  });

  it('signed by control ends the host: no sandboxes, no credentials, nothing to run for', async () => {
    const agent = await startWithSandbox();
    control.refuseRefresh = {
      reason: 'HOST_DELETED',
      statements: [control.signDeletion('host-1', { ...stranger, kid: 'newer' }), control.signDeletion('host-1')],
    };
    control.revoked.add((await saved()).accessToken);
    control.closeChannels(4410);
    await agent.deleted;
    expect(await runtime.state('box')).toBe('absent');
    expect(existsSync(`${directory.path}/credentials.json`)).toBe(false);
    expect(await statusOf()).toMatchObject({ registered: false, degraded: false, sandboxes: [] });
  });
});

describe('a deleted host whose sandboxes cannot be removed', () => {
  const deletion = () => ({ reason: 'HOST_DELETED', statements: [control.signDeletion('host-1')] });
  const hasCredentials = () => existsSync(`${directory.path}/credentials.json`);
  let tries: number;
  let isBroken: boolean;
  beforeEach(async () => {
    const remove = runtime.remove.bind(runtime);
    tries = 0;
    isBroken = true;
    runtime.remove = async (id) => {
      tries += 1;
      if (isBroken) throw new Error('the disk is full');
      await remove(id);
    };
    await startWithSandbox({ ROOKERY_AGENT_RETRY_CAP_MS: '100' });
    control.refuseRefresh = deletion();
    await rejectAccess();
    await until(() => expect(tries).toBeGreaterThan(2));
    expect(hasCredentials()).toBe(true);
  });

  it('tries until none is left, and only then drops the credentials', async () => {
    isBroken = false;
    await agents[0]?.deleted;
    expect(await runtime.state('box')).toBe('absent');
    expect(hasCredentials()).toBe(false);
  });

  it('goes on with it when it is started again', async () => {
    for (const agent of agents) {
      await stop(agent);
      await expect(agent.deleted).rejects.toThrow();
    }
    expect(hasCredentials()).toBe(true);
    expect(await runtime.state('box')).not.toBe('absent');
    isBroken = false;
    await (
      await start('')
    ).deleted;
    expect(await runtime.state('box')).toBe('absent');
    expect(hasCredentials()).toBe(false);
  });
});

describe('a renewal', () => {
  it('is confirmed by a use of its own, after it is on disk', async () => {
    await (
      await start()
    ).online;
    await rejectAccess();
    await until(() => expect(control.heard.confirmed).toHaveLength(1));
    expect(control.heard.confirmed).toEqual([`Bearer ${(await saved()).accessToken}`]);
  });

  it('is due at once when the clock was set back, whatever the saved dates say', async () => {
    await stop(await start());
    const path = `${directory.path}/credentials.json`;
    const before = await saved();
    await writeFile(path, JSON.stringify({ ...before, issuedAt: Date.now() + 86_400_000 }));
    await start();
    await until(async () => expect((await saved()).accessToken).not.toBe(before.accessToken));
  });

  it('names the boot and the machine, and a machine may be named by configuration', async () => {
    await (
      await start('good-token', { ROOKERY_AGENT_MACHINE_ID: 'rack-7' })
    ).online;
    await rejectAccess();
    await until(() => expect(control.heard.refreshes).toHaveLength(1));
    expect(control.heard.registrations[0]).toMatchObject({ specs: { machineId: 'rack-7' } });
    expect(control.heard.refreshes[0]).toMatchObject({
      machineId: 'rack-7',
      bootId: expect.stringMatching(/^[\w-]+$/),
    });
  });
});
