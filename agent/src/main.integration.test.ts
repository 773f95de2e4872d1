import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { silentLogger } from '@rookery/wire/log.ts';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ask, newDirectory, newTestControl, type TestControl } from './agent.fixture.ts';
import { readAgentConfig } from './config.ts';
import { removeAgentCgroups } from './runtime/cgroup.ts';
import { OciRuntimeFinder } from './runtime/runtime-finder.ts';
import type { Inventory, ObservedSandbox } from './sandboxes/inventory.ts';
import { createStateDir } from './state-dir/state-dir.ts';

const MAIN = new URL('../bin/rookery-agent.mjs', import.meta.url).pathname;
const APPLY = `mutation ($spec: SandboxSpecInput!, $generation: Int!) { applySandbox(spec: $spec, generation: $generation) { id generation status statusReason } }`;

const run = promisify(execFile);

/** The agent as a process, over the real runc: what survives it, and what it finds again. */
describe('rookery-agent', () => {
  let control: TestControl;
  let directory: Awaited<ReturnType<typeof newDirectory>>;
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    control = await newTestControl();
    control.nextHeartbeatMs = 500;
    directory = await newDirectory();
  });

  afterAll(async () => {
    for (const child of children)
      if (child.exitCode === null && child.signalCode === null) await kill(child, 'SIGKILL');
    const state = await createStateDir(directory.path);
    const { runtime } = await new OciRuntimeFinder(readAgentConfig({}, directory.path), state, silentLogger()).find();
    for (const id of (await runtime?.list())?.keys() ?? []) await runtime?.remove(id);
    await removeAgentCgroups(state.instance);
    await control[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  async function start(...args: string[]): Promise<ChildProcess & { output: () => string }> {
    const opened = control.tunnelsOpened;
    const child = spawn(process.execPath, [MAIN, ...args, '--state-dir', directory.path], {
      stdio: ['ignore', 'pipe', 'ignore'],
      cwd: directory.path,
    });
    children.push(child);
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    await vi.waitFor(() => expect(control.tunnelsOpened).toBeGreaterThan(opened), 10_000);
    await vi.waitFor(() => expect(text).toContain('Connected. This host is online.'), 10_000);
    return Object.assign(child, { output: () => text });
  }

  async function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
    const ended = once(child, 'exit');
    child.kill(signal);
    return ((await ended) as [number | null])[0];
  }

  const apply = async (overrides = {}, generation = 1) => {
    const spec = {
      id: 'box',
      name: 'box',
      template: 'host',
      vcpus: 1,
      memoryMb: 128,
      diskMb: 64,
      desiredState: 'RUNNING',
      ...overrides,
    };
    return (await ask<{ applySandbox: ObservedSandbox }>(await control.tunnel(), APPLY, { spec, generation }))
      .applySandbox;
  };
  const inventory = async () =>
    (
      await ask<{ inventory: Inventory }>(
        await control.tunnel(),
        '{ inventory { epoch sandboxes { id generation status statusReason } } }',
      )
    ).inventory;
  const exec = async (...command: string[]): Promise<string> => {
    const client = await control.tunnel();
    let out = '';
    const query = `subscription ($input: ExecInput!) { exec(input: $input) { kind data } }`;
    const input = { sandboxId: 'box', command, timeoutMs: 10_000, maxOutputBytes: 10_000 };
    for await (const { data } of client.iterate<{ exec: { data: string | null } }>({ query, variables: { input } })) {
      out += Buffer.from(data?.exec.data ?? '', 'base64').toString();
    }
    return out;
  };

  let agent: Awaited<ReturnType<typeof start>>;

  it('joins, and runs a sandbox', async () => {
    agent = await start('join', control.url, 'good-token');
    expect(agent.output()).toBe('Registered as host nest (host-1).\nConnected. This host is online.\n');
    expect(await apply()).toMatchObject({ status: 'RUNNING', generation: 1 });
    expect(await exec('sh', '-c', 'echo kept > /root/note; nohup sleep 4242 >/dev/null 2>&1 & uname')).toBe('Linux\n');
  }, 20_000);

  it('takes the running sandbox over after it was killed', async () => {
    const { epoch } = await inventory();
    await kill(agent, 'SIGKILL');
    agent = await start('run');
    const found = await inventory();
    expect(found.sandboxes).toEqual([{ id: 'box', generation: 1, status: 'RUNNING', statusReason: null }]);
    expect(found.epoch).toBeGreaterThan(epoch);
    expect(await exec('sh', '-c', 'cat /root/note; pgrep -f "^sleep 4242" | wc -l')).toBe('kept\n1\n');
  }, 20_000);

  it('ends with 0 on SIGTERM, and leaves its sandboxes running', async () => {
    expect(await kill(agent, 'SIGTERM')).toBe(0);
    agent = await start('join', control.url, 'a-used-token');
    expect(await exec('cat', '/root/note')).toBe('kept\n');
    const { stdout } = await run(process.execPath, [MAIN, 'status', '--json', '--state-dir', directory.path]);
    expect(JSON.parse(stdout)).toMatchObject({
      hostName: 'nest',
      agentPid: agent.pid,
      sandboxes: [{ id: 'box', status: 'RUNNING' }],
    });
  }, 20_000);

  it('pauses and resumes as it is told', async () => {
    expect(await apply({ desiredState: 'PAUSED' }, 2)).toMatchObject({ status: 'PAUSED', generation: 2 });
    expect(await apply({ desiredState: 'RUNNING' }, 3)).toMatchObject({ status: 'RUNNING', generation: 3 });
  });

  it('notices that a container was killed, and starts it again by no generation: what has ended has ended', async () => {
    const { stdout } = await run('runc', ['--root', join(directory.path, 'oci/runc'), 'state', 'box']);
    process.kill((JSON.parse(stdout) as { pid: number }).pid, 'SIGKILL');
    await vi.waitFor(
      async () =>
        expect((await inventory()).sandboxes[0]).toMatchObject({
          status: 'STOPPED',
          statusReason: 'its process ended',
        }),
      10_000,
    );
    expect(await apply({}, 3)).toMatchObject({ status: 'STOPPED' });
    expect(await apply({}, 4)).toMatchObject({ status: 'STOPPED', statusReason: 'its process ended' });
  }, 20_000);

  it('says why a sandbox could not be created, and leaves nothing of it', async () => {
    expect(await apply({ id: 'odd', template: 'nope' })).toMatchObject({
      status: 'ERROR',
      statusReason: 'this host has no template "nope"',
    });
    expect(await apply({ id: 'tiny', memoryMb: 1 })).toMatchObject({
      status: 'ERROR',
      statusReason: expect.stringContaining('runc'),
    });
    expect(await readFile('/proc/self/mountinfo', 'utf8')).not.toContain(`${directory.path}/containers/tiny`);
  });

  it('removes everything of a sandbox', async () => {
    const client = await control.tunnel();
    for (const id of ['box', 'odd', 'tiny'])
      await ask(client, `mutation { removeSandbox(id: "${id}", generation: 9) { existed } }`);
    expect((await inventory()).sandboxes).toEqual([]);
    expect(await readFile('/proc/self/mountinfo', 'utf8')).not.toContain(directory.path);
  });

  it.each([
    [['run', '--state-dir', '/proc/nope'], 'cannot be written'],
    [['join', 'not a url', 'x'], 'is not a URL'],
    [['frobnicate'], 'There is no command "frobnicate"'],
    [['run', '--frob'], "Unknown option '--frob'"],
  ])('fails %j with one sentence and exit code 1', async (args, sentence) => {
    const failure = await run(process.execPath, [MAIN, ...args], {
      cwd: directory.path,
      env: { ...process.env, ROOKERY_LOG_LEVEL: 'silent' },
    }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 1, stdout: '' });
    const { stderr } = failure as { stderr: string };
    expect(stderr).toContain(sentence);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });
});
