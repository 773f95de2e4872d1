import { silentLogger } from '@rookery/wire/log.ts';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { newDirectory } from '../agent.fixture.ts';
import { fixedRuntime } from '../runtime/runtime-finder.ts';
import { collect, newOciRuntime, type RuntimeFixture } from '../runtime/runtime.fixture.ts';
import { SimulatedRuntime } from '../runtime/simulated-runtime.ts';
import { EpochCounter, SandboxStore } from './sandbox.store.ts';
import { SandboxSupervisor } from './sandbox.supervisor.ts';
import { Tombstones } from './tombstones.ts';

const PATIENCE = { timeout: 20_000, interval: 20 };
const spec = { id: 'box', name: 'box', template: 'host', vcpus: 1, memoryMb: 128, diskMb: 64, timeoutSeconds: 1 };
const request = (...command: string[]) => ({ command, timeoutMs: 30_000, maxOutputBytes: 10_000 });

const implementations: [string, () => Promise<Omit<RuntimeFixture, 'abandon'>>][] = [
  ['a simulated runtime', async () => ({ runtime: new SimulatedRuntime(), async [Symbol.asyncDispose]() {} })],
  ['runc', newOciRuntime],
];

describe.each(implementations)('on %s, a sandbox with a timeout', (_name, make) => {
  let fixture: Omit<RuntimeFixture, 'abandon'>;
  let directory: Awaited<ReturnType<typeof newDirectory>>;
  let supervisor: SandboxSupervisor;
  let reports: number;

  beforeEach(async () => {
    fixture = await make();
    directory = await newDirectory();
    await mkdir(join(directory.path, 'sandboxes'));
    reports = 0;
    supervisor = await start();
  });
  afterEach(async () => {
    await supervisor.remove('box', 99);
    await supervisor[Symbol.asyncDispose]();
    await fixture[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  async function start(): Promise<SandboxSupervisor> {
    const started = new SandboxSupervisor({
      store: new SandboxStore(join(directory.path, 'sandboxes'), silentLogger()),
      tombstones: await Tombstones.open(join(directory.path, 'tombstones')),
      epoch: await EpochCounter.open(join(directory.path, 'epoch')),
      finder: fixedRuntime(fixture.runtime),
      bootId: 'boot-1',
      log: silentLogger(),
      onChange: () => (reports += 1),
    });
    await started.start();
    return started;
  }

  const box = () => supervisor.inventory().sandboxes.find(({ id }) => id === 'box');
  const becomes = (expected: object) => vi.waitFor(() => expect(box()).toMatchObject(expected), PATIENCE);
  const autoPaused = () => becomes({ status: 'PAUSED', autoPaused: true, generation: 1 });

  it('is paused when nothing happens in it, and said to be until control acknowledges', async () => {
    await supervisor.apply(spec, 'RUNNING', 1);
    await autoPaused();
    expect(await fixture.runtime.state('box')).toBe('paused');
    expect(box()?.statusReason).toBe('paused after 1 s without activity');
    expect(reports).toBeGreaterThan(0);
    // The wish of before, repeated: control has not heard of it yet.
    expect(await supervisor.apply(spec, 'RUNNING', 1)).toMatchObject({ status: 'PAUSED', autoPaused: true });
    // The acknowledgement.
    expect(await supervisor.apply(spec, 'PAUSED', 2)).toMatchObject({
      status: 'PAUSED',
      autoPaused: false,
      generation: 2,
    });
    expect(await fixture.runtime.state('box')).toBe('paused');
  });

  it('runs again by a newer wish, and pauses again', async () => {
    await supervisor.apply(spec, 'RUNNING', 1);
    await autoPaused();
    expect(await supervisor.apply(spec, 'RUNNING', 2)).toMatchObject({ status: 'RUNNING', autoPaused: false });
    await becomes({ status: 'PAUSED', autoPaused: true, generation: 2 });
  });

  it('is not paused under a running command, and refuses one once it is', async () => {
    await supervisor.apply(spec, 'RUNNING', 1);
    const run = await collect(await supervisor.exec('box', request('sleep', '2.5')));
    expect(run).toMatchObject({ exitCode: 0 });
    expect(box()).toMatchObject({ status: 'RUNNING' });
    await autoPaused();
    await expect(supervisor.exec('box', request('true'))).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  it('is still paused, and still to be acknowledged, for the next agent', async () => {
    await supervisor.apply(spec, 'RUNNING', 1);
    await autoPaused();
    await supervisor[Symbol.asyncDispose]();
    const journal: unknown = JSON.parse(await readFile(join(directory.path, 'sandboxes', 'box.json'), 'utf8'));
    expect(journal).toMatchObject({ desiredState: 'RUNNING', idle: { since: expect.any(String) as string } });
    supervisor = await start();
    await autoPaused();
    expect(await fixture.runtime.state('box')).toBe('paused');
    // What the control-loss policy releases is not what was idle.
    await supervisor.releaseAll();
    expect(box()).toMatchObject({ status: 'PAUSED', autoPaused: true });
  });
});
