import { readFile, stat } from 'node:fs/promises';
import { silentLogger } from '@rookery/wire/log.ts';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ask, newDirectory, newTestControl, type TestControl } from './agent.fixture.ts';
import { createAgent, type Agent } from './app.ts';
import { readAgentConfig } from './config.ts';
import { fixedRuntime, type RuntimeFinder } from './runtime/runtime-finder.ts';
import { SimulatedRuntime } from './runtime/simulated-runtime.ts';
import { inventoryDigest } from '@rookery/wire/inventory-digest.ts';
import type { Inventory, ObservedSandbox } from './sandboxes/inventory.ts';

const APPLY = `mutation ($spec: SandboxSpecInput!, $generation: Int!) { applySandbox(spec: $spec, generation: $generation) { id generation status statusReason } }`;
const INVENTORY = `{ inventory { epoch bootId digest sandboxes { id generation status statusReason } } }`;
/** An epoch above any that a fresh state directory begins with. */
const FAR_AHEAD = 8e15;
const EXEC = `subscription ($input: ExecInput!) { exec(input: $input) { kind data exitCode signal timedOut truncated } }`;

const newSpec = (overrides = {}) => ({
  id: 'box',
  name: 'box',
  template: 'host',
  vcpus: 1,
  memoryMb: 128,
  diskMb: 64,
  desiredState: 'RUNNING',
  ...overrides,
});

describe('an agent', () => {
  let control: TestControl;
  let directory: Awaited<ReturnType<typeof newDirectory>>;
  let agents: Agent[];
  let said: string[];
  let simulated: SimulatedRuntime;

  beforeEach(async () => {
    control = await newTestControl();
    directory = await newDirectory();
    agents = [];
    said = [];
    simulated = new SimulatedRuntime();
  });

  afterEach(async () => {
    for (const agent of agents) await agent[Symbol.asyncDispose]();
    await control[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  async function start({
    env = {},
    join = true,
    token = 'good-token',
    finder = fixedRuntime(simulated) as RuntimeFinder,
  } = {}): Promise<Agent> {
    const agent = await createAgent({
      config: readAgentConfig(env, directory.path),
      log: silentLogger(),
      say: (sentence) => said.push(sentence),
      finder,
      ...(join ? { join: { controlUrl: control.url, token } } : {}),
    });
    agents.push(agent);
    return agent;
  }

  async function stop(agent: Agent): Promise<void> {
    agents = agents.filter((other) => other !== agent);
    await agent[Symbol.asyncDispose]();
  }

  const apply = async (spec = newSpec(), generation = 1) =>
    (await ask<{ applySandbox: ObservedSandbox }>(await control.tunnel(), APPLY, { spec, generation })).applySandbox;
  const inventory = async () => (await ask<{ inventory: Inventory }>(await control.tunnel(), INVENTORY)).inventory;

  it('registers, comes online and says so once', async () => {
    const agent = await start();
    await agent.online;
    expect(agent.hostId).toBe('host-1');
    expect(said).toEqual(['Registered as host nest (host-1).', 'Connected. This host is online.']);
    expect(control.heard.heartbeats[0]).toMatchObject({
      sandboxCount: 0,
      inventoryDigest: inventoryDigest([]),
      specs: { runtime: { name: 'simulated' }, conditions: [] },
    });
    await stop(agent);
  });

  it('keeps its secrets readable by nobody else, and prefers saved credentials over a token', async () => {
    await stop(await start());
    for (const file of ['credentials.json', 'host-key.json']) {
      expect((await stat(`${directory.path}/${file}`)).mode & 0o777).toBe(0o600);
    }
    await start({ token: 'another-token' });
    expect(control.heard.registrations).toHaveLength(1);
    expect(said.at(-1)).toBe('Already registered as host nest (host-1); the token is not used.');
  });

  it('repeats a registration with the same key when its answer got lost', async () => {
    control.outage = { status: 502, body: '<html>Bad gateway</html>' };
    const starting = start();
    await vi.waitFor(async () =>
      expect(await readFile(`${directory.path}/host-key.json`, 'utf8')).toContain('Ed25519'),
    );
    control.outage = undefined;
    await starting;
    expect(control.heard.registrations).toHaveLength(1);
  });

  it.each([
    [
      'a token that is not known',
      { token: 'bad-token' },
      'The control plane refused to register this host: The registration token is not known.',
    ],
    [
      'no registration at all',
      { join: false },
      'This machine is not registered; run: rookery-agent join <url> <token>.',
    ],
  ])('does not start with %s', async (_what, options, sentence) => {
    await expect(start(options)).rejects.toThrow(sentence);
  });

  it('refuses to be a second one on the same state directory', async () => {
    await start();
    await expect(start()).rejects.toThrow(/Another agent \(pid \d+\) already runs/);
  });

  it('serves its schema through the tunnel: applies, runs commands, lists, removes', async () => {
    await start();
    expect(await apply()).toMatchObject({ id: 'box', generation: 1, status: 'RUNNING' });
    const client = await control.tunnel();
    const events: unknown[] = [];
    for await (const { data } of client.iterate<{
      exec: { kind: string; data: string | null; exitCode: number | null };
    }>({
      query: EXEC,
      variables: { input: { sandboxId: 'box', command: ['echo', 'hi'], timeoutMs: 1_000, maxOutputBytes: 100 } },
    })) {
      events.push([
        data?.exec.kind,
        data?.exec.data && Buffer.from(data.exec.data, 'base64').toString(),
        data?.exec.exitCode,
      ]);
    }
    expect(events).toEqual([
      ['STARTED', null, null],
      ['STDOUT', 'hi\n', null],
      ['EXIT', null, 0],
    ]);
    const listed = await inventory();
    expect(listed.digest).toBe(inventoryDigest([{ id: 'box', generation: 1, status: 'RUNNING' }]));
    await expect(apply(newSpec({ desiredState: 'PAUSED' }), 0)).resolves.toMatchObject({
      generation: 1,
      status: 'RUNNING',
    });
    const remove = (generation: number) =>
      ask(client, `mutation { removeSandbox(id: "box", generation: ${generation}) { existed } }`);
    await expect(remove(0)).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await remove(2)).toEqual({ removeSandbox: { existed: true } });
    expect(await remove(2)).toEqual({ removeSandbox: { existed: false } });
    await expect(apply()).rejects.toMatchObject({ code: 'CONFLICT' });
    expect((await inventory()).epoch).toBeGreaterThan(listed.epoch);
  });

  it('answers bad operations without losing the tunnel', async () => {
    await start();
    const client = await control.tunnel();
    await expect(ask(client, '{ nonsense }')).rejects.toThrow('Cannot query field');
    await expect(ask(client, '{ syntax')).rejects.toThrow('Syntax Error');
    expect((await inventory()).sandboxes).toEqual([]);
    expect(control.tunnelsOpened).toBe(1);
  });

  it('whose state directory is an older copy goes on above what control knows of it, and reports again', async () => {
    control.nextHeartbeatMs = 250;
    control.knownEpoch = FAR_AHEAD;
    control.wantInventory = true;
    await (
      await start()
    ).online;
    await vi.waitFor(() => expect(control.heard.reports).not.toEqual([]), 10_000);
    control.wantInventory = false;
    await vi.waitFor(() => expect(Number(control.heard.reports.at(-1)?.['epoch'])).toBeGreaterThan(FAR_AHEAD), 10_000);
    expect(control.heard.reports.at(-1)).toMatchObject({ full: true });
    expect((await inventory()).epoch).toBeGreaterThan(FAR_AHEAD);
  });

  it('reports changes at once, and everything when control wants the inventory', async () => {
    await (
      await start()
    ).online;
    await apply();
    await vi.waitFor(() =>
      expect(control.heard.reports.at(-1)).toMatchObject({
        full: false,
        sandboxes: [{ id: 'box', status: 'RUNNING' }],
      }),
    );
    control.wantInventory = true;
    await vi.waitFor(
      () => expect(control.heard.reports.at(-1)).toMatchObject({ full: true, sandboxes: [{ id: 'box' }] }),
      3_000,
    );
  });

  it('renews rejected credentials and comes back, on both sockets', async () => {
    await (
      await start()
    ).online;
    const saved = JSON.parse(await readFile(`${directory.path}/credentials.json`, 'utf8')) as { accessToken: string };
    control.revoked.add(saved.accessToken);
    control.closeTunnel(4401);
    control.closeChannels(4403);
    await vi.waitFor(() => expect(control.tunnelsOpened).toBe(2), 5_000);
    const beats = control.heard.heartbeats.length;
    await vi.waitFor(() => expect(control.heard.heartbeats.length).toBeGreaterThan(beats), 5_000);
    expect(control.heard.refreshes).toHaveLength(1);
  });

  it.each([1012, 1013])(
    'dials its tunnel again with backoff while control admits it not (%d)',
    async (code) => {
      control.nextHeartbeatMs = 250;
      control.reconnectSpreadMs = 0;
      control.refuseTunnels = code;
      const agent = await start();
      await vi.waitFor(() => expect(control.heard.heartbeats.length).toBeGreaterThan(8), 20_000);
      // Some 5 in these 2 s; without waiting it would be hundreds.
      expect(control.tunnelsOpened).toBeGreaterThan(0);
      expect(control.tunnelsOpened).toBeLessThan(40);
      control.refuseTunnels = undefined;
      await agent.online;
    },
    30_000,
  );

  it('finds control again after an outage, with the epoch still growing', async () => {
    const agent = await start();
    await agent.online;
    const before = await inventory();
    await control.stop();
    await control.start();
    await vi.waitFor(() => expect(control.tunnelsOpened).toBe(2), 8_000);
    await stop(agent);
    await start();
    await vi.waitFor(() => expect(control.tunnelsOpened).toBe(3), 3_000);
    expect((await inventory()).epoch).toBeGreaterThan(before.epoch);
  });

  it('pauses sandboxes when control is lost, and resumes them when it is back', async () => {
    control.nextHeartbeatMs = 300;
    await (
      await start({ env: { ROOKERY_AGENT_CONTROL_LOSS_GRACE_MS: '1000' } })
    ).online;
    await apply();
    await apply(newSpec({ id: 'paused-by-choice', desiredState: 'PAUSED' }));
    await control.stop();
    await vi.waitFor(async () => expect(await simulated.state('box')).toBe('paused'), 5_000);
    const journal = JSON.parse(await readFile(`${directory.path}/sandboxes/box.json`, 'utf8')) as object;
    expect(journal).toMatchObject({ hold: { reason: 'CONTROL_LOSS' }, desiredState: 'RUNNING' });
    await control.start();
    await vi.waitFor(async () => expect(await simulated.state('box')).toBe('running'), 10_000);
    expect(await simulated.state('paused-by-choice')).toBe('paused');
  }, 20_000);

  it('pauses at its exit when told to, and resumes when it is online again', async () => {
    const agent = await start({ env: { ROOKERY_AGENT_ON_EXIT: 'pause' } });
    await agent.online;
    await apply();
    await stop(agent);
    expect(await simulated.state('box')).toBe('paused');
    await start();
    await vi.waitFor(async () => expect(await simulated.state('box')).toBe('running'), 3_000);
  });

  it('is online without a runtime, says what would help, and refuses sandboxes until there is one', async () => {
    let isInstalled = false;
    const problem = 'No OCI runtime found; install one: apt-get install -y runc';
    control.nextHeartbeatMs = 300;
    await (
      await start({ finder: { find: async () => (isInstalled ? { runtime: simulated } : { problem }) } })
    ).online;
    expect(control.heard.heartbeats[0]).toMatchObject({
      specs: { runtime: null, conditions: [{ type: 'NO_RUNTIME', message: problem }] },
    });
    await expect(apply()).rejects.toThrow(problem);
    isInstalled = true;
    await vi.waitFor(
      () =>
        expect(control.heard.heartbeats.at(-1)).toMatchObject({
          specs: { runtime: { name: 'simulated' }, conditions: [] },
        }),
      3_000,
    );
    expect(await apply()).toMatchObject({ status: 'RUNNING' });
  });

  it('keeps refused credentials', async () => {
    await (
      await start()
    ).online;
    const saved = await readFile(`${directory.path}/credentials.json`, 'utf8');
    control.refuseRefresh = {};
    control.revoked.add((JSON.parse(saved) as { accessToken: string }).accessToken);
    control.closeChannels(4401);
    await vi.waitFor(() => expect(control.heard.refreshes).not.toEqual([]), 3_000);
    expect(await readFile(`${directory.path}/credentials.json`, 'utf8')).toBe(saved);
  });
});
