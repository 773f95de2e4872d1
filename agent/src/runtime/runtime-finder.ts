import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Logger } from '@rookery/wire/log.ts';
import type { AgentConfig } from '../config.ts';
import type { StateDir } from '../state-dir/state-dir.ts';
import { findCgroups } from './cgroup.ts';
import { findExecutable, runCommand } from './command.ts';
import { findDiskKind } from './disk.ts';
import { OciRuntime } from './oci-runtime.ts';
import type { Runtime } from './runtime.ts';

/** Tried in this order when none is configured. */
const KNOWN_RUNTIMES = ['runc', 'runsc'] as const;

/** Either a usable runtime, or why there is none, with the command that fixes it. */
export type RuntimeFinding =
  { readonly runtime: Runtime; readonly binary?: string } | { readonly runtime?: undefined; readonly problem: string };

/** Answers, cheaply enough for every heartbeat, which runtime this host has now. */
export interface RuntimeFinder {
  find(): Promise<RuntimeFinding>;
}

/** Always the same runtime: for tests and simulations. */
export const fixedRuntime = (runtime: Runtime): RuntimeFinder => ({ find: () => Promise.resolve({ runtime }) });

/**
 * Looks for an OCI runtime on this machine, again at every call, so that installing one makes the
 * host schedulable without a restart. The binary is only run when its file has changed.
 */
export class OciRuntimeFinder implements RuntimeFinder {
  readonly #config: AgentConfig;
  readonly #state: StateDir;
  readonly #log: Logger;
  #known: { stamp: string; finding: RuntimeFinding } | undefined;

  constructor(config: AgentConfig, state: StateDir, log: Logger) {
    this.#config = config;
    this.#state = state;
    this.#log = log;
  }

  async find(): Promise<RuntimeFinding> {
    if (process.getuid?.() !== 0) {
      return { problem: 'Running sandboxes needs root; start the agent with: sudo rookery-agent run' };
    }
    const binary = await this.#locate();
    if (binary === undefined) {
      const { runtime } = this.#config;
      const missing = runtime === undefined ? 'No OCI runtime found' : `The OCI runtime ${runtime} was not found`;
      return { problem: `${missing}; install one: apt-get install -y runc` };
    }
    const { mtimeMs, size } = await stat(binary);
    const stamp = `${binary} ${mtimeMs} ${size}`;
    if (this.#known?.stamp !== stamp) {
      const finding = await this.#inspect(binary);
      this.#known = { stamp, finding };
      // A finding with a problem is looked at again: what it lacks may come without the binary changing.
      if (!finding.runtime) this.#known = undefined;
      return finding;
    }
    return this.#known.finding;
  }

  async #locate(): Promise<string | undefined> {
    const names = this.#config.runtime === undefined ? KNOWN_RUNTIMES : [this.#config.runtime];
    for (const name of names) {
      const path = await findExecutable(name, this.#config.searchPath);
      if (path !== undefined) return path;
    }
    return undefined;
  }

  async #inspect(binary: string): Promise<RuntimeFinding> {
    const version = await versionOf(binary);
    if (version === undefined)
      return { problem: `${binary} does not run; reinstall it: apt-get install -y --reinstall runc` };
    const cgroups = await findCgroups();
    if (!cgroups) return { problem: 'No cgroups are mounted; mount them: mount -t cgroup2 none /sys/fs/cgroup' };
    const disk = await findDiskKind(this.#config.searchPath);
    if (disk.missing !== undefined) {
      this.#log.warn({ missing: disk.missing }, 'sandbox disks are kept in memory because images cannot be mounted');
    }
    const runtime = new OciRuntime({
      name: basename(binary),
      version,
      binary,
      // One per runtime: they do not read each other's.
      stateRoot: join(this.#state.runtimeState, basename(binary)),
      containers: this.#state.containers,
      instance: this.#state.instance,
      cgroups,
      diskKind: disk.kind,
      log: this.#log,
    });
    this.#log.info(
      { runtime: runtime.name, version, disk: disk.kind, cgroup: cgroups.version },
      'found an OCI runtime',
    );
    return { runtime, binary };
  }
}

/** The version an OCI runtime says it has, or undefined when it does not run. */
export async function versionOf(binary: string): Promise<string | undefined> {
  try {
    const { code, stdout } = await runCommand(binary, ['--version']);
    return code === 0 ? (/version\s+(?:release-)?v?(\S+)/.exec(stdout)?.[1] ?? 'unknown') : undefined;
  } catch {
    return undefined;
  }
}
