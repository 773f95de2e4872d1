import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { AgentMachine, PATIENCE_MS, type AgentProcess } from './agent-process.fixture.ts';

const run = promisify(execFile);
const TIMEOUT_MS = 90_000;

/** What the agent of a state directory has written down of its sandbox. */
interface Saved {
  readonly status: string;
  readonly hold: { reason: string } | null;
  readonly bootId: string;
  readonly generation: number;
}

/** What sandboxes live through, with the real runc and the agent as a process. */
describe('a sandbox', () => {
  let machine: AgentMachine;
  let agent: AgentProcess;

  beforeAll(async () => {
    machine = await AgentMachine.create();
    agent = await machine.start(['join', machine.control.url, 'good-token']);
    expect(await machine.apply()).toMatchObject({ status: 'RUNNING' });
    await machine.shell('echo kept > /root/note');
  }, TIMEOUT_MS);
  afterAll(async () => {
    await machine[Symbol.asyncDispose]();
  }, TIMEOUT_MS);

  const record = () => join(machine.state.sandboxes, 'box.json');
  const saved = async () => JSON.parse(await readFile(record(), 'utf8')) as Saved;
  const stateIs = (status: string) =>
    vi.waitFor(async () => expect(await (await machine.runtime()).state('box')).toBe(status), PATIENCE_MS);
  const isRunningAt = async (generation: number) =>
    vi.waitFor(
      async () =>
        expect((await machine.inventory()).sandboxes).toMatchObject([{ id: 'box', generation, status: 'RUNNING' }]),
      PATIENCE_MS,
    );
  /** Whatever control was told since; nothing may have been called stopped. */
  const told = () =>
    machine.control.heard.reports.flatMap(({ sandboxes }) =>
      (sandboxes as { status: string }[]).map(({ status }) => status),
    );

  it(
    'runs on when its agent is killed in the middle of a command, which ends, as nothing else does',
    async () => {
      await machine.shell('nohup sleep 7001 >/dev/null 2>&1 &');
      const output = await machine.exec('echo up; nohup sleep 7002 >/dev/null 2>&1 & sleep 7003');
      expect((await output.next()).value).toBe('up\n');
      await agent.kill('SIGKILL');
      await output.return?.();
      agent = await machine.start(['run']);
      await isRunningAt(1);
      await vi.waitFor(
        async () => expect(await machine.shell('pgrep -f "^sleep 700"; true')).toMatch(/^\d+\n$/),
        PATIENCE_MS,
      );
      expect(await machine.shell('cat /root/note; pgrep -cf "^sleep 7001$"')).toBe('kept\n1\n');
    },
    TIMEOUT_MS,
  );

  it(
    'runs on when its agent is told to stop in the middle of a command',
    async () => {
      const output = await machine.exec('echo up; sleep 7004');
      expect((await output.next()).value).toBe('up\n');
      expect(await agent.kill('SIGTERM')).toBe(0);
      await output.next().catch(() => {});
      await stateIs('running');
      agent = await machine.start(['run']);
      await isRunningAt(1);
      expect(await machine.shell('pgrep -cf "^sleep 700[14]$"')).toBe('1\n');
    },
    TIMEOUT_MS,
  );

  it(
    'is taken over by another build of the agent on the same state directory',
    async () => {
      const bundle = join(machine.stateDir, 'rookery-agent.mjs');
      await run(process.execPath, [new URL('../build.ts', import.meta.url).pathname, bundle]);
      expect(await agent.kill('SIGTERM')).toBe(0);
      agent = await machine.start(['run'], {}, bundle);
      await isRunningAt(1);
      expect(await machine.shell('cat /root/note; pgrep -cf "^sleep 7001$"')).toBe('kept\n1\n');
      await agent.kill('SIGTERM');
      agent = await machine.start(['run']);
    },
    TIMEOUT_MS,
  );

  it(
    'whose record was damaged is said to run, as the host is said to have a damaged record, until control restores it',
    async () => {
      const [{ generation = 0 } = {}] = (await machine.inventory()).sandboxes;
      await agent.kill('SIGKILL');
      await writeFile(record(), '');
      machine.control.heard.heartbeats.length = 0;
      agent = await machine.start(['run']);
      await isRunningAt(0);
      const { specs } = machine.control.heard.heartbeats.at(-1) as { specs: { conditions: unknown[] } };
      expect(specs.conditions).toContainEqual({
        type: 'SANDBOX_RECORD_DAMAGED',
        message: expect.stringContaining('box') as string,
      });
      expect(await machine.apply({}, generation)).toMatchObject({ status: 'RUNNING', generation });
      expect(await saved()).toMatchObject({ status: 'RUNNING', generation });
      expect(await machine.shell('cat /root/note; pgrep -cf "^sleep 7001$"')).toBe('kept\n1\n');
    },
    TIMEOUT_MS,
  );

  it(
    'is paused when control is lost for the grace, stays so through a crash of its agent, and goes on when control is back',
    async () => {
      await agent.kill('SIGTERM');
      const shortGrace = { ROOKERY_AGENT_CONTROL_LOSS_GRACE_MS: '1500' };
      agent = await machine.start(['run'], shortGrace);
      await isRunningAt(1);
      machine.control.heard.reports.length = 0;
      await machine.control.stop();
      await stateIs('paused');
      await vi.waitFor(async () =>
        expect(await saved()).toMatchObject({ status: 'PAUSED', hold: { reason: 'CONTROL_LOSS' } }),
      );
      await agent.kill('SIGKILL');

      agent = machine.launch(['run'], shortGrace);
      await vi.waitFor(() => expect(agent.stderr).toContain('sandboxes taken over'), PATIENCE_MS);
      await vi.waitFor(() => expect(agent.stderr).toContain('control has not been heard for the grace'), PATIENCE_MS);
      await stateIs('paused');
      await machine.control.start();
      await stateIs('running');
      await isRunningAt(1);
      expect(await saved()).toMatchObject({ status: 'RUNNING', hold: null });
      expect(await machine.shell('cat /root/note; pgrep -cf "^sleep 7001$"')).toBe('kept\n1\n');
      await vi.waitFor(() => expect(told()).toContain('RUNNING'), PATIENCE_MS);
      expect(told()).not.toContain('STOPPED');
      expect(told()).not.toContain('ERROR');
    },
    TIMEOUT_MS,
  );

  it(
    'runs through an outage of control where the policy says so',
    async () => {
      await agent.kill('SIGTERM');
      const keep = { ROOKERY_AGENT_CONTROL_LOSS: 'keep', ROOKERY_AGENT_CONTROL_LOSS_GRACE_MS: '500' };
      agent = await machine.start(['run'], keep);
      await isRunningAt(1);
      await machine.control.stop();
      await vi.waitFor(() => expect(agent.stderr).toContain('control has not been heard for the grace'), PATIENCE_MS);
      await stateIs('running');
      expect(await saved()).toMatchObject({ status: 'RUNNING', hold: null });
      await machine.control.start();
      await isRunningAt(1);
    },
    TIMEOUT_MS,
  );

  it.each([
    ['with the runtime’s state gone', true],
    ['with the runtime’s state left on the disk', false],
  ])(
    'is reported stopped by a reboot of its host, %s, and is started again by no generation',
    async (_how, vanished) => {
      const generation = await another();
      await agent.kill('SIGKILL');
      await reboot(vanished);
      agent = await machine.start(['run']);
      await vi.waitFor(
        async () =>
          expect((await machine.inventory()).sandboxes).toMatchObject([
            { generation, status: 'STOPPED', statusReason: 'the host restarted' },
          ]),
        PATIENCE_MS,
      );
      expect(await machine.apply({}, generation)).toMatchObject({ status: 'STOPPED' });
      expect(await machine.apply({}, generation + 1)).toMatchObject({
        status: 'STOPPED',
        statusReason: 'the host restarted',
      });
    },
    TIMEOUT_MS,
  );

  it(
    'that was removed is not brought back by a late wish, although its agent was killed in between',
    async () => {
      const generation = await another();
      await machine.remove(generation + 1);
      await agent.kill('SIGKILL');
      agent = await machine.start(['run']);
      await expect(machine.apply({}, generation)).rejects.toMatchObject({ code: 'CONFLICT' });
      expect((await machine.inventory()).sandboxes).toEqual([]);
    },
    TIMEOUT_MS,
  );

  it(
    'is one that runs, and only one, when its agent is killed in the middle of starting it',
    async () => {
      for (const [n, afterMs] of [0, 30, 90].entries()) {
        const generation = 1_000 + 10 * n;
        const starting = machine.apply({}, generation).catch(() => {});
        // The fault itself: wherever it strikes, what follows has to be true.
        await new Promise((strike) => setTimeout(strike, afterMs));
        await agent.kill('SIGKILL');
        await starting;
        agent = await machine.start(['run']);
        expect(await machine.apply({}, generation)).toMatchObject({ status: 'RUNNING', generation });
        expect([...(await (await machine.runtime()).list())]).toEqual([['box', 'running']]);
        expect(await machine.shell('echo alive')).toBe('alive\n');
        await machine.remove(generation + 1);
      }
    },
    TIMEOUT_MS,
  );

  it(
    'leaves no cgroup behind once it is removed and its agent has gone',
    async () => {
      await another();
      const runtime = await machine.runtime();
      await agent.kill('SIGTERM');
      await runtime.remove('box');
      await rm(record());
      expect(existsSync(`/sys/fs/cgroup/pids/rookery-${machine.state.instance}`)).toBe(true);
      agent = await machine.start(['run']);
      expect(await agent.kill('SIGTERM')).toBe(0);
      expect(existsSync(`/sys/fs/cgroup/pids/rookery-${machine.state.instance}`)).toBe(false);
    },
    TIMEOUT_MS,
  );

  /** Puts a running sandbox in the place of the one there is. @returns its generation. */
  async function another(): Promise<number> {
    const [{ generation = 2_000 } = {}] = (await machine.inventory()).sandboxes;
    await machine.remove(generation + 1);
    expect(await machine.apply({}, generation + 2)).toMatchObject({ status: 'RUNNING' });
    return generation + 2;
  }

  /** What a power cycle does: no process, no mount and no cgroup is left, and the kernel has another boot id. */
  async function reboot(runtimeStateVanished: boolean): Promise<void> {
    const runc = join(machine.state.runtimeState, 'runc');
    const { stdout } = await run('runc', ['--root', runc, 'state', 'box']);
    const { pid } = JSON.parse(stdout) as { pid: number };
    process.kill(pid, 'SIGKILL');
    await vi.waitFor(() => expect(existsSync(`/proc/${pid}`)).toBe(false), PATIENCE_MS);
    await run('umount', [join(machine.state.containers, 'box', 'rootfs')]);
    await run('sh', ['-c', `rmdir /sys/fs/cgroup/*/rookery-${machine.state.instance}/box || true`]);
    if (runtimeStateVanished) await rm(runc, { recursive: true });
    await writeFile(record(), JSON.stringify({ ...(await saved()), bootId: 'the boot before' }));
    await rmdir(`/sys/fs/cgroup/pids/rookery-${machine.state.instance}`).catch(() => {});
  }
});
