import { generateKeyPairSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { silentLogger } from '@rookery/wire/log.ts';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ask, newDirectory, newTestControl, type TestControl } from '../agent.fixture.ts';
import { createAgent, type Agent } from '../app.ts';
import { readAgentConfig } from '../config.ts';
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

async function start(token: string | undefined = 'good-token', env = {}): Promise<Agent> {
  const agent = await createAgent({
    config: readAgentConfig({ ROOKERY_AGENT_CONTROL_LOSS_GRACE_MS: '60000', ...env }, directory.path),
    log: silentLogger(),
    say: (sentence) => said.push(sentence),
    finder: fixedRuntime(runtime),
    join: { controlUrl: control.url, token },
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

  it('spends the token of its command line when it hears of the refusal only after the start', async () => {
    const agent = await startWithSandbox();
    await stop(agent);
    control.refuseRefresh = {};
    control.revoked.add((await saved()).accessToken);
    control.tokens.add('new-token');
    const again = await start('new-token');
    await until(() => expect(control.heard.registrations).toHaveLength(2));
    control.refuseRefresh = undefined;
    await again.online;
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

describe('what is no proven refusal', () => {
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
