import { silentLogger } from '@rookery/wire/log.ts';
import { readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newDirectory } from '../agent.fixture.ts';
import { readAgentConfig } from '../config.ts';
import { status } from '../host/status.ts';
import { fixedRuntime } from '../runtime/runtime-finder.ts';
import { SimulatedRuntime } from '../runtime/simulated-runtime.ts';
import { createStateDir, removeUnfinishedWrites, type StateDir } from '../state-dir/state-dir.ts';
import { ControlLossWatch } from './control-loss.ts';
import { EpochCounter, SandboxStore } from './sandbox.store.ts';
import { SandboxSupervisor } from './sandbox.supervisor.ts';
import { Tombstones } from './tombstones.ts';

const spec = { id: 'box', name: 'box', template: 'host', vcpus: 1, memoryMb: 128, diskMb: 64, timeoutSeconds: null };

let directory: Awaited<ReturnType<typeof newDirectory>>;
let state: StateDir;
let runtime: SimulatedRuntime;
let supervisor: SandboxSupervisor;

beforeEach(async () => {
  directory = await newDirectory();
  state = await createStateDir(join(directory.path, 'state'));
  runtime = new SimulatedRuntime();
  supervisor = new SandboxSupervisor({
    store: new SandboxStore(state.sandboxes, silentLogger()),
    tombstones: await Tombstones.open(state.tombstones),
    epoch: await EpochCounter.open(state.epoch),
    finder: fixedRuntime(runtime),
    bootId: 'boot-1',
    log: silentLogger(),
    onChange: () => {},
  });
  await supervisor.start();
  await supervisor.apply(spec, 'RUNNING', 1);
});
afterEach(async () => {
  await supervisor[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
});

describe('a pause by policy that could not be written down', () => {
  const elsewhere = () => join(directory.path, 'elsewhere');
  beforeEach(async () => {
    await rename(state.sandboxes, elsewhere());
    await supervisor.holdAll('CONTROL_LOSS');
    expect(await runtime.state('box')).toBe('running');
  });

  it('is owed, and made up for', async () => {
    await supervisor.observeAll();
    expect(await runtime.state('box')).toBe('running');
    await rename(elsewhere(), state.sandboxes);
    await supervisor.observeAll();
    expect(await runtime.state('box')).toBe('paused');
  });

  it('is forgotten when control is back before anything was paused', async () => {
    await using watch = new ControlLossWatch({
      graceMs: 600_000,
      policy: 'pause',
      supervisor,
      toRun: async (ids) => new Set(ids),
      log: silentLogger(),
    });
    watch.refused();
    await supervisor.observeAll();
    watch.accepted();
    watch.heard();
    await rename(elsewhere(), state.sandboxes);
    await supervisor.observeAll();
    expect(await runtime.state('box')).toBe('running');
  });

  it('is forgotten when control was heard again meanwhile', async () => {
    await rename(elsewhere(), state.sandboxes);
    await supervisor.releaseAll();
    await supervisor.observeAll();
    expect(await runtime.state('box')).toBe('running');
  });
});

it('what an agent is writing at this moment is not touched by whoever asks for its status', async () => {
  const unfinished = join(state.sandboxes, 'box.json.0123.tmp');
  await writeFile(unfinished, 'half');
  await writeFile(state.credentials, JSON.stringify(CREDENTIALS));
  await status(readAgentConfig({}, state.root), { json: true, say: () => {} });
  await new SandboxStore(state.sandboxes, silentLogger()).load();
  expect(await readdir(state.sandboxes)).toContain('box.json.0123.tmp');
  // By whoever holds the lock.
  await removeUnfinishedWrites(state);
  expect(await readdir(state.sandboxes)).toEqual(['box.json']);
});

const CREDENTIALS = {
  controlUrl: 'http://127.0.0.1:1',
  hostId: 'host-1',
  hostName: 'nest',
  accessToken: 'a',
  issuedAt: 0,
  accessTokenExpiresAt: 1,
  refreshToken: 'r',
  refreshTokenExpiresAt: 1,
};
