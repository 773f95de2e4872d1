import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLogger } from '@rookery/wire/log.ts';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { newDirectory } from '../agent.fixture.ts';
import { fixedRuntime } from '../runtime/runtime-finder.ts';
import { SimulatedRuntime } from '../runtime/simulated-runtime.ts';
import { ControlLossWatch } from './control-loss.ts';
import { EpochCounter, SandboxStore } from './sandbox.store.ts';
import { SandboxSupervisor } from './sandbox.supervisor.ts';
import { Tombstones } from './tombstones.ts';

const ID = '0193a5b2-1111-7000-8000-000000000001';
const spec = { id: ID, name: 'box', template: 'host', vcpus: 1, memoryMb: 128, diskMb: 64, timeoutSeconds: null };
const PATIENCE = { timeout: 20_000, interval: 10 };

/** What the agent of a machine keeps when it is killed. None of these agents is told to stop. */
describe('an agent that follows a killed one', () => {
  let directory: Awaited<ReturnType<typeof newDirectory>>;
  let runtime: SimulatedRuntime;
  let supervisor: SandboxSupervisor;
  let started: SandboxSupervisor[];

  beforeEach(async () => {
    directory = await newDirectory();
    await mkdir(join(directory.path, 'sandboxes'));
    runtime = new SimulatedRuntime();
    started = [];
    supervisor = await start();
  });
  afterEach(async () => {
    for (const one of started) await one[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  async function start(bootId = 'boot-1', on = fixedRuntime(runtime)): Promise<SandboxSupervisor> {
    const next = new SandboxSupervisor({
      store: new SandboxStore(join(directory.path, 'sandboxes'), silentLogger()),
      tombstones: await Tombstones.open(join(directory.path, 'tombstones')),
      epoch: await EpochCounter.open(join(directory.path, 'epoch')),
      finder: on,
      bootId,
      log: silentLogger(),
      onChange: () => {},
    });
    started.push(next);
    await next.start();
    return next;
  }

  const box = () => supervisor.inventory().sandboxes.find(({ id }) => id === ID);
  const record = () => join(directory.path, 'sandboxes', `${ID}.json`);
  const damage = (content: string) => writeFile(record(), content);

  describe('and a sandbox that was removed', () => {
    it('is not brought back by a wish that was overtaken', async () => {
      await supervisor.apply(spec, 'RUNNING', 1);
      await supervisor.remove(ID, 2);
      supervisor = await start();
      await expect(supervisor.apply(spec, 'RUNNING', 1)).rejects.toMatchObject({ code: 'CONFLICT' });
      await expect(supervisor.apply(spec, 'RUNNING', 2)).rejects.toMatchObject({ code: 'CONFLICT' });
      expect(await runtime.state(ID)).toBe('absent');
      expect(supervisor.inventory().sandboxes).toEqual([]);
    });

    it('is not brought back either when it had never come', async () => {
      expect(await supervisor.remove(ID, 2)).toBe(false);
      supervisor = await start();
      await expect(supervisor.apply(spec, 'RUNNING', 1)).rejects.toMatchObject({ code: 'CONFLICT' });
      expect(await supervisor.apply(spec, 'RUNNING', 3)).toMatchObject({ status: 'RUNNING' });
    });

    it('is remembered through a line that a crash has cut off, and for a bounded time and number', async () => {
      const path = join(directory.path, 'tombstones');
      await supervisor.remove(ID, 2);
      await appendFile(path, '\n{"id":"x","gener');
      expect((await Tombstones.open(path)).of(ID)).toBe(2);
      expect((await Tombstones.open(path, Date.now() + 25 * 60 * 60 * 1_000)).of(ID)).toBeUndefined();
      const crowded = await Tombstones.open(path);
      await Promise.all(Array.from({ length: 2_100 }, (_, n) => crowded.bury(`box-${n}`, 1)));
      expect((await readFile(path, 'utf8')).split('\n').length).toBeLessThanOrEqual(2_000);
      const again = await Tombstones.open(path);
      expect([again.of('box-2099'), again.of('box-0')]).toEqual([1, undefined]);
    });
  });

  describe.each([
    ['empty', ''],
    ['cut off', `{"spec":{"id":"${ID}"`],
    ['garbage', 'null'],
  ])('and a sandbox whose record is %s', (_what, content) => {
    it('is said to run if it does, below every generation, until control says anew what it should be', async () => {
      await supervisor.apply(spec, 'RUNNING', 5);
      await damage(content);
      supervisor = await start();
      expect(box()).toMatchObject({ status: 'RUNNING', generation: 0 });
      expect(supervisor.damaged).toEqual([ID]);
      expect(await supervisor.apply(spec, 'RUNNING', 5)).toMatchObject({ status: 'RUNNING', generation: 5 });
      supervisor = await start();
      expect(box()).toMatchObject({ status: 'RUNNING', generation: 5 });
      expect(supervisor.damaged).toEqual([]);
    });

    it('is left paused if it is, and resumed only by a wish', async () => {
      await supervisor.apply(spec, 'PAUSED', 5);
      await damage(content);
      supervisor = await start();
      await supervisor.releaseAll();
      await supervisor.observeAll();
      expect(box()).toMatchObject({ status: 'PAUSED', generation: 0 });
      expect(await supervisor.apply(spec, 'RUNNING', 6)).toMatchObject({ status: 'RUNNING', generation: 6 });
    });

    it('has ended if nothing of it runs, and is not made anew', async () => {
      await supervisor.apply(spec, 'RUNNING', 5);
      runtime.crash(ID);
      await damage(content);
      supervisor = await start();
      expect(box()).toMatchObject({ status: 'STOPPED', generation: 0 });
      expect(await supervisor.apply(spec, 'RUNNING', 5)).toMatchObject({ status: 'STOPPED', generation: 5 });
      expect(await runtime.state(ID)).not.toBe('running');
    });

    it('is held like any other when control is lost, and can be removed', async () => {
      await supervisor.apply(spec, 'RUNNING', 5);
      await damage(content);
      supervisor = await start();
      await supervisor.holdAll('CONTROL_LOSS');
      expect(await runtime.state(ID)).toBe('paused');
      expect(await supervisor.remove(ID, 6)).toBe(true);
      expect(await runtime.state(ID)).toBe('absent');
      expect([supervisor.damaged, supervisor.inventory().sandboxes]).toEqual([[], []]);
    });
  });

  it('looks later at a sandbox with a damaged record when it has no runtime yet', async () => {
    await supervisor.apply(spec, 'RUNNING', 5);
    await damage('');
    let found = false;
    const late = { find: async () => (found ? { runtime } : { runtime: undefined, problem: 'none' }) } as never;
    supervisor = await start('boot-1', late);
    expect(box()).toMatchObject({
      generation: 0,
      statusReason: expect.stringContaining('could not be looked at') as string,
    });
    found = true;
    await supervisor.observeAll();
    expect(box()).toMatchObject({ status: 'RUNNING', generation: 0 });
  });

  it('does not take other files for sandboxes', async () => {
    await writeFile(join(directory.path, 'sandboxes', 'notes.json'), 'of a person');
    supervisor = await start();
    expect(supervisor.inventory().sandboxes).toEqual([]);
    await vi.waitFor(
      async () => expect(await readFile(join(directory.path, 'sandboxes', 'notes.json'), 'utf8')).toBe('of a person'),
      PATIENCE,
    );
  });
});

describe('sandboxes that were paused because control was lost', () => {
  let directory: Awaited<ReturnType<typeof newDirectory>>;
  let runtime: SimulatedRuntime;
  const agents: { supervisor: SandboxSupervisor; watch: ControlLossWatch }[] = [];
  const [wanted, unwanted] = [ID, ID.replace(/1$/, '2')];
  /** What control answers, or does not. */
  let toRun: (ids: readonly string[]) => Promise<ReadonlySet<string>>;

  beforeEach(async () => {
    directory = await newDirectory();
    await mkdir(join(directory.path, 'sandboxes'));
    runtime = new SimulatedRuntime();
    toRun = async (ids) => new Set(ids.filter((id) => id === wanted));
  });
  afterEach(async () => {
    for (const { supervisor, watch } of agents.splice(0)) {
      await watch[Symbol.asyncDispose]();
      await supervisor[Symbol.asyncDispose]();
    }
    await directory[Symbol.asyncDispose]();
  });

  async function start(finder = fixedRuntime(runtime)) {
    const supervisor = new SandboxSupervisor({
      store: new SandboxStore(join(directory.path, 'sandboxes'), silentLogger()),
      tombstones: await Tombstones.open(join(directory.path, 'tombstones')),
      epoch: await EpochCounter.open(join(directory.path, 'epoch')),
      finder,
      bootId: 'boot-1',
      log: silentLogger(),
      onChange: () => {},
    });
    await supervisor.start();
    const watch = new ControlLossWatch({
      graceMs: 600_000,
      policy: 'pause',
      supervisor,
      toRun: (ids) => toRun(ids),
      log: silentLogger(),
    });
    agents.push({ supervisor, watch });
    return { supervisor, watch };
  }
  const are = (states: readonly [string, string]) =>
    vi.waitFor(
      async () => expect([await runtime.state(wanted), await runtime.state(unwanted)]).toEqual(states),
      PATIENCE,
    );
  async function lost() {
    const agent = await start();
    for (const id of [wanted, unwanted]) await agent.supervisor.apply({ ...spec, id }, 'RUNNING', 1);
    agent.watch.refused();
    await are(['paused', 'paused']);
    return agent;
  }

  it('go on when control is back, but for those that it has paused or destroyed meanwhile', async () => {
    const { watch, supervisor } = await lost();
    watch.accepted();
    watch.heard();
    await are(['running', 'paused']);
    await vi.waitFor(() => expect(supervisor.endHolds()).toEqual([unwanted]), PATIENCE);
    // Its word comes by the tunnel.
    expect(await supervisor.apply({ ...spec, id: unwanted }, 'PAUSED', 2)).toMatchObject({ status: 'PAUSED' });
    await vi.waitFor(() => expect(supervisor.endHolds()).toEqual([]), PATIENCE);
  });

  it('stay paused until control has said what should run', async () => {
    const { watch } = await lost();
    const answer = toRun;
    let asked = 0;
    toRun = async () => {
      asked += 1;
      throw new Error('no answer');
    };
    watch.accepted();
    watch.heard();
    await vi.waitFor(() => expect(asked).toBe(1), PATIENCE);
    await are(['paused', 'paused']);
    toRun = answer;
    await vi.waitFor(async () => {
      watch.heard();
      expect([await runtime.state(wanted), await runtime.state(unwanted)]).toEqual(['running', 'paused']);
    }, PATIENCE);
  });

  it('are not released by an answer that comes when control is lost again', async () => {
    const { watch, supervisor } = await lost();
    const late = Promise.withResolvers<ReadonlySet<string>>();
    toRun = () => late.promise;
    watch.accepted();
    watch.heard();
    watch.refused();
    late.resolve(new Set([wanted, unwanted]));
    // Everything that was asked of the sandboxes before is done when this is.
    await supervisor.apply({ ...spec, id: unwanted }, 'PAUSED', 2);
    await are(['paused', 'paused']);
  });

  it('are none too few and none too many when the agent is killed in the middle of pausing or of resuming', async () => {
    // Killed when one is journaled and paused, and the other one is neither.
    const first = await start();
    for (const id of [wanted, unwanted]) await first.supervisor.apply({ ...spec, id }, 'RUNNING', 1);
    const stuck = { find: () => new Promise<never>(() => {}) };
    runtime.pause = async (id) => {
      if (id !== wanted) await stuck.find();
      await SimulatedRuntime.prototype.pause.call(runtime, id);
    };
    first.watch.refused();
    await are(['paused', 'running']);
    await first.watch[Symbol.asyncDispose]();
    agents.splice(0);
    runtime.pause = (id) => SimulatedRuntime.prototype.pause.call(runtime, id);
    // The next one finishes what was journaled, whatever it hears.
    const second = await start();
    await are(['paused', 'paused']);
    // Killed when one is journaled as released, and its container is still paused.
    runtime.resume = () => stuck.find();
    second.watch.heard();
    await vi.waitFor(
      async () =>
        expect(JSON.parse(await readFile(join(directory.path, 'sandboxes', `${wanted}.json`), 'utf8'))).toMatchObject({
          hold: null,
        }),
      PATIENCE,
    );
    await second.watch[Symbol.asyncDispose]();
    agents.splice(0);
    runtime.resume = (id) => SimulatedRuntime.prototype.resume.call(runtime, id);
    await start();
    await are(['running', 'paused']);
  });
});
