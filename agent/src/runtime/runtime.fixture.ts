import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '@rookery/wire/log.ts';
import { readAgentConfig } from '../config.ts';
import { createStateDir } from '../state-dir/state-dir.ts';
import { removeAgentCgroups } from './cgroup.ts';
import { OciRuntimeFinder } from './runtime-finder.ts';
import type { ExecEvent, Runtime } from './runtime.ts';

/** A runtime for a test, which removes all its containers when disposed. */
export interface RuntimeFixture extends AsyncDisposable {
  readonly runtime: Runtime;
  readonly root?: string;
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
    async [Symbol.asyncDispose]() {
      for (const id of (await runtime.list()).keys()) await runtime.remove(id);
      await removeAgentCgroups(state.instance);
      await rm(root, { recursive: true, force: true });
    },
  };
}

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
