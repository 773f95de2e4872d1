import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { silentLogger } from '@rookery/wire/log.ts';
import { expect, vi } from 'vitest';
import { ask, newDirectory, newTestControl, type TestControl } from './agent.fixture.ts';
import { readAgentConfig } from './config.ts';
import { removeAgentCgroups } from './runtime/cgroup.ts';
import { OciRuntimeFinder } from './runtime/runtime-finder.ts';
import type { Runtime } from './runtime/runtime.ts';
import type { Inventory, ObservedSandbox } from './sandboxes/inventory.ts';
import { createStateDir, type StateDir } from './state-dir/state-dir.ts';

/** The agent from its sources. */
export const AGENT_PROGRAM = new URL('../bin/rookery-agent.mjs', import.meta.url).pathname;

const APPLY = `mutation ($spec: SandboxSpecInput!, $generation: Int!) { applySandbox(spec: $spec, generation: $generation) { id generation status statusReason } }`;
const EXEC = `subscription ($input: ExecInput!) { exec(input: $input) { kind data } }`;

/** How long anything may take on a slow machine, in ms. */
export const PATIENCE_MS = 20_000;

/** A machine with one state directory and the real runc, and the control plane of its agents. */
export class AgentMachine implements AsyncDisposable {
  readonly control: TestControl;
  readonly stateDir: string;
  readonly state: StateDir;
  readonly #directory: AsyncDisposable;
  readonly #children: ChildProcess[] = [];

  private constructor(control: TestControl, directory: { path: string } & AsyncDisposable, state: StateDir) {
    this.control = control;
    this.stateDir = directory.path;
    this.state = state;
    this.#directory = directory;
  }

  static async create(): Promise<AgentMachine> {
    const control = await newTestControl();
    control.nextHeartbeatMs = 500;
    const directory = await newDirectory();
    return new AgentMachine(control, directory, await createStateDir(directory.path));
  }

  /** Starts an agent's process without waiting for anything. */
  launch(args: readonly string[], env: Readonly<Record<string, string>> = {}, program = AGENT_PROGRAM): AgentProcess {
    const child = spawn(process.execPath, [program, ...args, '--state-dir', this.stateDir], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: this.stateDir,
      env: { ...process.env, ...env },
    });
    this.#children.push(child);
    return new AgentProcess(child);
  }

  /** Starts an agent's process and waits until it is online. */
  async start(args: readonly string[], env: Readonly<Record<string, string>> = {}, program = AGENT_PROGRAM) {
    const agent = this.launch(args, env, program);
    await vi.waitFor(() => expect(agent.stdout).toContain('Connected. This host is online.'), PATIENCE_MS);
    return agent;
  }

  async apply(overrides: object = {}, generation = 1): Promise<ObservedSandbox> {
    const size = { vcpus: 1, memoryMb: 128, diskMb: 64 };
    const spec = { id: 'box', name: 'box', template: 'host', ...size, desiredState: 'RUNNING', ...overrides };
    const answer = await ask<{ applySandbox: ObservedSandbox }>(await this.control.tunnel(), APPLY, {
      spec,
      generation,
    });
    return answer.applySandbox;
  }

  async remove(generation: number): Promise<void> {
    const mutation = 'mutation ($generation: Int!) { removeSandbox(id: "box", generation: $generation) { existed } }';
    await ask(await this.control.tunnel(), mutation, { generation });
  }

  async inventory(): Promise<Inventory> {
    const query = '{ inventory { epoch sandboxes { id generation status statusReason } } }';
    return (await ask<{ inventory: Inventory }>(await this.control.tunnel(), query)).inventory;
  }

  /** What a shell in the sandbox prints. */
  async shell(script: string): Promise<string> {
    let out = '';
    for await (const chunk of await this.exec(script)) out += chunk;
    return out;
  }

  /** The same as it comes. */
  async exec(script: string): Promise<AsyncIterableIterator<string>> {
    const client = await this.control.tunnel();
    const input = {
      sandboxId: 'box',
      command: ['sh', '-c', script],
      timeoutMs: 600_000,
      maxOutputBytes: 10_000,
    };
    const results = client.iterate<{ exec: { data: string | null } }>({ query: EXEC, variables: { input } });
    return (async function* () {
      for await (const { data } of results) if (data?.exec.data) yield Buffer.from(data.exec.data, 'base64').toString();
    })();
  }

  /** The runtime as whoever works on the machine sees it. */
  async runtime(): Promise<Runtime> {
    const finder = new OciRuntimeFinder(readAgentConfig({}, this.stateDir), this.state, silentLogger());
    const { runtime } = await finder.find();
    if (!runtime) throw new Error('these tests need a real OCI runtime');
    return runtime;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) await new AgentProcess(child).kill('SIGKILL');
    const runtime = await this.runtime();
    for (const id of (await runtime.list()).keys()) await runtime.remove(id);
    await removeAgentCgroups(this.state.instance);
    await this.control[Symbol.asyncDispose]();
    await this.#directory[Symbol.asyncDispose]();
  }
}

/** One agent's process and what it has said. */
export class AgentProcess {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.on('data', (chunk: Buffer) => (this.stdout += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
  }

  /** Sends a signal and waits for the end. @returns the exit code. */
  async kill(signal: NodeJS.Signals): Promise<number | null> {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const ended = once(child, 'exit');
    child.kill(signal);
    return ((await ended) as [number | null])[0];
  }
}
