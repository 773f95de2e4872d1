import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '@rookery/wire/log.ts';
import { readAgentConfig } from '../config.ts';
import { createStateDir } from '../state-dir/state-dir.ts';
import { removeAgentCgroups } from './cgroup.ts';
import { OciRuntimeFinder } from './runtime-finder.ts';
import type { ExecEvent, ExecRequest, Runtime } from './runtime.ts';
import { SimulatedRuntime } from './simulated-runtime.ts';

/** A runtime for a test, which removes all its containers when disposed. */
export interface RuntimeFixture extends AsyncDisposable {
  readonly runtime: Runtime;
  readonly root?: string;
  /**
   * Runs a command as an agent that is killed while it runs; resolves when that agent is gone.
   *
   * @returns tells whether the command still runs.
   */
  abandon(id: string, request: ExecRequest): Promise<() => Promise<boolean>>;
}

export function newSimulatedRuntime(): RuntimeFixture {
  const runtime = new SimulatedRuntime();
  return {
    runtime,
    async abandon(id, request) {
      let runs = true;
      void collect(runtime.exec(id, request))
        .catch(() => {})
        .finally(() => (runs = false));
      runtime.loseAgent();
      return async () => runs;
    },
    async [Symbol.asyncDispose]() {},
  };
}

/** The real runc in a state directory of its own. Fails, and does not skip, where there is none. */
export async function newOciRuntime(): Promise<RuntimeFixture> {
  const root = await mkdtemp(join(tmpdir(), 'rookery-runtime-'));
  const state = await createStateDir(root);
  const finding = await new OciRuntimeFinder(readAgentConfig({}, root), state, silentLogger()).find();
  if (!finding.runtime) throw new Error(`These tests need a real OCI runtime. ${finding.problem}`);
  const { runtime } = finding;
  return {
    runtime,
    root,
    async abandon(id, request) {
      // Tells that it has begun, and is the command from then on.
      const told = ['sh', '-c', 'echo begun; exec "$@"', 'sh', ...request.command];
      await killedWhile(root, id, { ...request, command: told });
      const pattern = `^${request.command.join(' ')}$`;
      return async () => (await collect(runtime.exec(id, probe(pattern)))).exitCode === 0;
    },
    async [Symbol.asyncDispose]() {
      for (const id of (await runtime.list()).keys()) await runtime.remove(id);
      await removeAgentCgroups(state.instance);
      await rm(root, { recursive: true, force: true });
    },
  };
}

/** An agent as a process of its own, killed with no warning as soon as its command has printed something. */
async function killedWhile(root: string, id: string, request: ExecRequest): Promise<void> {
  const program = new URL('./exec-once.fixture.ts', import.meta.url).pathname;
  const agent = spawn(process.execPath, [program, root, id, JSON.stringify(request)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(agent.stdout, 'data');
  const gone = once(agent, 'exit');
  agent.kill('SIGKILL');
  await gone;
}

const probe = (pattern: string): ExecRequest => ({
  command: ['pgrep', '-f', pattern],
  timeoutMs: 10_000,
  maxOutputBytes: 1_000,
});

/** Reads an exec to its end. */
export async function collect(events: AsyncIterable<ExecEvent>) {
  const out = { STDOUT: [] as Buffer[], STDERR: [] as Buffer[] };
  let exit: Extract<ExecEvent, { kind: 'EXIT' }> | undefined;
  for await (const event of events) {
    if (event.kind === 'EXIT') exit = event;
    else out[event.kind].push(event.data);
  }
  if (!exit) throw new Error('the stream ended without an EXIT');
  return { ...exit, stdout: Buffer.concat(out.STDOUT).toString(), stderr: Buffer.concat(out.STDERR).toString() };
}
