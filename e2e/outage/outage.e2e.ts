import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { joinHost, type TestAgent } from '../support/agent.ts';
import { Api } from '../support/api.ts';
import { Fleet } from '../support/fleet.ts';
import { containersOf, processesNaming } from '../support/machine.ts';
import { cleanEnvironment, ROOT, type TestProcess } from '../support/process.ts';
import { ADMIN_EMAIL, newPlace, startRookery } from '../support/rookery.ts';
import { ADMIN_PASSWORD, SplitRookery } from '../support/split.ts';
import { Story } from '../support/story.ts';

const run = promisify(execFile);

/** Two minutes of outage, at a scale of one to thirty. */
const LEASE_MS = 4_000;
const SETTINGS = { ROOKERY_UNREACHABLE_AFTER_MS: String(LEASE_MS), ROOKERY_HEARTBEAT_MS: '500' };
const DEADLINE = { timeout: 60_000, interval: 100 };

const sleep = (ms: number): Promise<void> => new Promise((wake) => setTimeout(wake, ms));

interface Health {
  readonly state: string;
  readonly reason: string | null;
  readonly checkedAt: string;
}

/** The state of the fleet, as a platform admin sees it. */
async function healthOf(api: Api): Promise<Health> {
  const { fleetHealth } = await api.request<{ fleetHealth: Health | null }>(
    '{ fleetHealth { state reason checkedAt } }',
  );
  if (!fleetHealth) throw new Error('nobody has judged yet');
  return fleetHealth;
}

/** One fleet whose control plane was killed, and when. */
interface Outage {
  readonly split: SplitRookery;
  readonly api: Api;
  readonly fleet: Fleet;
  readonly agent: TestAgent;
  readonly sandboxId: string;
  readonly origin: string;
  readonly killedAt: number;
}

/** Real time, with every setting as it comes; it goes by while the other stories of this file are told. */
const TWO_MINUTES_MS = 120_000;
const longStory = new Story();
let longOutage: Outage | undefined;

/** All that was said of hosts since a moment. */
async function statusesSince(fleet: Fleet, origin: string): Promise<(string | undefined)[]> {
  const stream = fleet.hostChanges(origin);
  const marker = await fleet.createByocHost(`marker-${randomBytes(4).toString('hex')}`);
  await stream.waitFor('the marker', ({ hostId }) => hostId === marker.host.id);
  stream.close();
  await fleet.deleteHost(marker.host.id);
  return stream.events.map(({ host }) => host?.status);
}

describe('control is killed, with every setting as it comes', () => {
  it('and leaves a host with a sandbox', async () => {
    const split = await SplitRookery.start(longStory);
    const api = longStory.use(await Api.signIn(split.url, ADMIN_EMAIL, ADMIN_PASSWORD));
    const fleet = new Fleet(api);
    const { joinCommand } = await fleet.createByocHost('patient');
    const agent = await joinHost(longStory, 'patient', joinCommand);
    const { id: sandboxId } = await fleet.createSandbox('kept');
    await fleet.waitUntilWell({ hosts: ['patient'], sandboxes: ['kept'] });
    await fleet.shell(sandboxId, 'echo kept > /root/note');
    const origin = await fleet.cursor();
    split.control.signal('SIGKILL');
    await split.control.exited;
    longOutage = { split, api, fleet, agent, sandboxId, origin, killedAt: Date.now() };
  });
});

describe('control is away', () => {
  const story = new Story();
  let split: SplitRookery;
  let api: Api;
  let fleet: Fleet;
  let agent: TestAgent;
  let sandboxId: string;
  let origin: string;

  beforeAll(async () => {
    split = await SplitRookery.start(story, SETTINGS);
    api = story.use(await Api.signIn(split.url, ADMIN_EMAIL, ADMIN_PASSWORD));
    fleet = new Fleet(api);
    const { joinCommand } = await fleet.createByocHost('nest');
    agent = await joinHost(story, 'nest', joinCommand, { ROOKERY_AGENT_CONTROL_LOSS_GRACE_MS: '2000' });
    const { id } = await fleet.createSandbox('box');
    sandboxId = id;
    await fleet.waitUntilWell({ hosts: ['nest'], sandboxes: ['box'] });
    await fleet.shell(sandboxId, 'echo kept > /root/note');
    origin = await fleet.cursor();
  });

  it('killed, for longer than a lease: its host pauses what it runs, and nobody is declared lost when it is back', async () => {
    split.control.signal('SIGKILL');
    await split.control.exited;
    await vi.waitFor(
      async () => expect(await containersOf(agent.stateDir)).toMatchObject([{ status: 'paused' }]),
      DEADLINE,
    );
    await sleep(2 * LEASE_MS);
    split.startControl();
    await split.untilReady();
    await fleet.waitUntilWell({ hosts: ['nest'], sandboxes: ['box'] });
    // It was paused there, and control did not know yet.
    expect(await vi.waitFor(() => fleet.shell(sandboxId, 'cat /root/note'), DEADLINE)).toBe('kept\n');
    await vi.waitFor(
      async () => expect(await healthOf(api)).toMatchObject({ state: 'NORMAL', reason: null }),
      DEADLINE,
    );
    expect(await statusesSince(fleet, origin)).not.toContain('UNREACHABLE');
  });

  it('stopped (SIGSTOP) for longer than a lease: nobody is declared lost when it wakes up', async () => {
    split.control.signal('SIGSTOP');
    await sleep(2 * LEASE_MS);
    split.control.signal('SIGCONT');
    await vi.waitFor(async () => expect((await healthOf(api)).state).toBe('OBSERVING'), DEADLINE);
    await fleet.waitUntilWell({ hosts: ['nest'], sandboxes: ['box'] });
    await vi.waitFor(
      async () => expect(await healthOf(api)).toMatchObject({ state: 'NORMAL', reason: null }),
      DEADLINE,
    );
    expect(await statusesSince(fleet, origin)).not.toContain('UNREACHABLE');
  });

  it('a host that is switched off is unreachable, and its sandbox missing; when it is back, the sandbox has ended and says why', async () => {
    await powerOff(agent);
    await vi.waitFor(async () => {
      expect(await fleet.hosts()).toMatchObject([{ name: 'nest', status: 'UNREACHABLE', schedulable: false }]);
      expect(await fleet.sandboxes()).toMatchObject([{ name: 'box', status: 'MISSING' }]);
    }, DEADLINE);
    const back = await startAgain(agent);
    await back.waitForOutput(/This host is online\./, DEADLINE.timeout);
    await vi.waitFor(async () => {
      expect(await fleet.hosts()).toMatchObject([{ name: 'nest', status: 'ONLINE', schedulable: true }]);
      expect(await fleet.sandboxes()).toMatchObject([
        { name: 'box', status: 'STOPPED', statusReason: 'its process ended' },
      ]);
    }, DEADLINE);
    await fleet.destroySandbox(sandboxId);
    expect(await back.stop()).toMatchObject({ code: 0 });
  });

  /** The machine loses its power: agent and sandboxes are gone at once, the disk is not. */
  async function powerOff({ process: agentProcess, stateDir }: TestAgent): Promise<void> {
    agentProcess.signal('SIGKILL');
    await agentProcess.exited;
    for (const { id } of await containersOf(stateDir))
      await run('runc', ['--root', join(stateDir, 'oci', 'runc'), 'kill', id, 'KILL']);
  }

  async function startAgain({ stateDir }: TestAgent): Promise<TestProcess> {
    return story.start({
      label: 'nest again',
      command: [process.execPath, 'agent/src/main.ts', 'run', '--state-dir', stateDir],
      cwd: ROOT,
      env: cleanEnvironment({ ROOKERY_LOG_LEVEL: 'warn' }),
    });
  }
});

describe('PostgreSQL is restarted while sandboxes are created and hosts beat', () => {
  const story = new Story();
  let split: SplitRookery;
  let api: Api;
  let fleet: Fleet;

  beforeAll(async () => {
    split = await SplitRookery.start(story, SETTINGS);
    api = story.use(await Api.signIn(split.url, ADMIN_EMAIL, ADMIN_PASSWORD));
    fleet = new Fleet(api);
    const directory = await story.directory('simulation');
    await writeFile(join(directory, 'token'), api.token ?? '', { mode: 0o600 });
    const simulation = story.start({
      label: 'simulate',
      command: [
        process.execPath,
        'agent/src/main.ts',
        'simulate',
        ...['--hosts', '8', '--url', split.url],
        ...['--token-file', join(directory, 'token'), '--state-dir', join(directory, 'state')],
      ],
      cwd: ROOT,
      env: cleanEnvironment({ ROOKERY_LOG_LEVEL: 'fatal' }),
    });
    await simulation.waitForOutput(/The simulation runs: 8 hosts\./, DEADLINE.timeout);
  });

  it('the API says UNAVAILABLE meanwhile, nothing that was promised is lost, and nobody is declared lost', async () => {
    const origin = await fleet.cursor();
    const teamId = await fleet.teamId();
    const made = new Map<string, string>();
    const refusals = new Set<string>();
    let isOver = false;

    /** Creates sandboxes one after the other, each until it is answered. */
    const create = async (worker: number): Promise<void> => {
      for (let n = 0; !isOver; n++) {
        const input = { teamId, vcpus: 0.1, memoryMb: 64, diskMb: 64, idempotencyKey: `load-${worker}-${n}` };
        for (;;) {
          const { data, errors } = await api.ask<{ createSandbox: { __typename: string; sandbox?: { id: string } } }>(
            `mutation ($input: CreateSandboxInput!) { createSandbox(input: $input) {
              __typename ... on SandboxCreated { sandbox { id } }
            } }`,
            { input },
          );
          const { createSandbox } = data ?? {};
          if (createSandbox?.sandbox) {
            made.set(input.idempotencyKey, createSandbox.sandbox.id);
            break;
          }
          // No place for now: the tunnels are being proven again.
          refusals.add(String(errors?.[0]?.extensions?.['code'] ?? createSandbox?.__typename));
          await sleep(20);
        }
        await sleep(30);
      }
    };
    const load = Promise.all([1, 2, 3, 4].map(create));
    await vi.waitFor(() => expect(made.size).toBeGreaterThan(10), DEADLINE);
    for (let round = 0; round < 2; round++) {
      const before = made.size;
      await split.postgres.stop();
      await vi.waitFor(() => expect(refusals).toContain('UNAVAILABLE'), DEADLINE);
      // Longer than a lease: were it counted, all would be lost.
      await sleep(1.5 * LEASE_MS);
      await split.postgres.startAgain();
      await vi.waitFor(() => expect(made.size).toBeGreaterThan(before + 10), DEADLINE);
    }
    isOver = true;
    await load;
    expect([...refusals].filter((code) => code !== 'UNAVAILABLE' && code !== 'NoHostFits')).toEqual([]);
    expect(refusals).toContain('UNAVAILABLE');

    // One sandbox for each key, and each of them runs.
    expect(new Set(made.values()).size).toBe(made.size);
    await vi.waitFor(async () => {
      expect((await fleet.countSandboxes()).counted).toBe(made.size);
      expect((await fleet.countSandboxes('RUNNING')).counted).toBe(made.size);
    }, DEADLINE);
    expect(await statusesSince(fleet, origin)).not.toContain('UNREACHABLE');
    await vi.waitFor(async () => expect((await healthOf(api)).state).toBe('NORMAL'), DEADLINE);
  });
});

describe('the embedded PostgreSQL is told to stop by somebody else', () => {
  const story = new Story();

  it('and npm start ends, with one sentence', async () => {
    const place = await newPlace(story);
    const rookery = await startRookery(story, place, { ROOKERY_LOG_LEVEL: 'silent' });
    const postmaster = (await processesNaming(join(place.dataDir, 'postgres', 'data'))).find(({ command }) =>
      command.includes('-D'),
    );
    // As `pkill postgres` or a service manager would: SIGTERM, which waits for all sessions to leave.
    process.kill(postmaster?.pid ?? 0, 'SIGTERM');
    expect(await rookery.process.closed).toMatchObject({ code: 1 });
    expect(rookery.process.stderr.trimEnd()).toBe('The embedded PostgreSQL was told to shut down by somebody else.');
    expect(await rookery.process.members()).toEqual([]);
    expect(await processesNaming(place.dataDir)).toEqual([]);
  });
});

describe('control is started again after two minutes', () => {
  it('its host has paused what it runs, runs it again, and was never declared lost', async () => {
    if (!longOutage) throw new Error('there is no outage; see the first test of this file');
    const { split, api, fleet, agent, sandboxId, origin, killedAt } = longOutage;
    await sleep(killedAt + TWO_MINUTES_MS - Date.now());
    expect(await containersOf(agent.stateDir)).toMatchObject([{ status: 'paused' }]);
    const startedAt = Date.now();
    split.startControl();
    await split.untilReady();
    // Until everybody had the time to be heard again, and so for a lease at the least.
    await vi.waitFor(async () => {
      const { state, checkedAt } = await healthOf(api);
      expect(new Date(checkedAt).getTime()).toBeGreaterThan(startedAt);
      expect(state).toBe('OBSERVING');
    }, DEADLINE);
    await fleet.waitUntilWell({ hosts: ['patient'], sandboxes: ['kept'] });
    expect(await vi.waitFor(() => fleet.shell(sandboxId, 'cat /root/note'), DEADLINE)).toBe('kept\n');
    expect(await containersOf(agent.stateDir)).toMatchObject([{ status: 'running' }]);
    expect(await statusesSince(fleet, origin)).not.toContain('UNREACHABLE');
  });
});
