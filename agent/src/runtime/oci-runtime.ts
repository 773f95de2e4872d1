import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RookeryError } from '@rookery/wire/errors.ts';
import type { Logger } from '@rookery/wire/log.ts';
import type { CgroupTree } from './cgroup.ts';
import { lastLine, runCommand, type CommandResult } from './command.ts';
import { SandboxDisk, type DiskKind } from './disk.ts';
import { hostName, ociSpec } from './oci-bundle.ts';
import { endAbandonedExecs, execInContainer, type OciExecTarget } from './oci-exec.ts';
import type { ContainerSpec, ContainerStatus, ExecEvent, ExecRequest, Runtime } from './runtime.ts';

/** Carries the sandbox's id where the container's name is only derived from it. */
const ID_ANNOTATION = 'dev.rookery.sandbox';

export interface OciRuntimeOptions {
  readonly name: string;
  readonly version: string;
  /** Absolute path of the runtime. */
  readonly binary: string;
  /** The runtime's own state (`--root`). */
  readonly stateRoot: string;
  /** One directory per container: bundle, disk, root file system. */
  readonly containers: string;
  /** Names the parent of all cgroups of this agent. */
  readonly instance: string;
  readonly cgroups: CgroupTree;
  readonly diskKind: DiskKind;
  readonly log: Logger;
}

/**
 * Drives any OCI runtime by its standard command line. It holds no state of its own: everything is
 * asked of the runtime, so that a new agent finds what an old one has left running.
 */
export class OciRuntime implements Runtime {
  readonly name: string;
  readonly version: string;
  readonly #options: OciRuntimeOptions;

  constructor(options: OciRuntimeOptions) {
    this.name = options.name;
    this.version = options.version;
    this.#options = options;
  }

  async create(spec: ContainerSpec): Promise<void> {
    if (spec.template !== 'host') {
      throw new RookeryError('BAD_USER_INPUT', `this host has no template "${spec.template}"`);
    }
    const name = containerName(spec.id);
    const dir = this.#dir(name);
    const disk = new SandboxDisk(dir);
    const hadDisk = disk.exists;
    try {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      await disk.mount(this.#options.diskKind, spec.diskMb, hostName(spec.name));
      await this.#start(spec, name, disk.root);
    } catch (error) {
      await this.discard(spec.id).catch((problem: unknown) => this.#warn(spec.id, problem));
      if (!hadDisk) await disk.delete().catch((problem: unknown) => this.#warn(spec.id, problem));
      throw error;
    }
  }

  async #start(spec: ContainerSpec, name: string, root: string): Promise<void> {
    const { cgroups } = this.#options;
    const config = ociSpec(spec, {
      root,
      cgroupsPath: this.#cgroupsPath(name),
      cgroupVersion: cgroups.version,
      limitSwap: cgroups.swap,
    });
    const dir = this.#dir(name);
    const log = join(dir, 'runtime.log');
    await Promise.all([
      writeFile(join(dir, 'config.json'), JSON.stringify({ ...config, annotations: { [ID_ANNOTATION]: spec.id } })),
      writeFile(log, ''),
    ]);
    // Quiet, because the container inherits what `run` has: nothing of it may hang on the agent.
    const flags = [...this.#flags, '--log', log, '--log-format', 'json'];
    const { code } = await runCommand(this.#options.binary, [...flags, 'run', '--detach', '--bundle', dir, name], {
      quiet: true,
    });
    if (code !== 0) throw new RookeryError('UNAVAILABLE', `${this.name}: ${await lastLogMessage(log)}`);
  }

  pause(id: string): Promise<void> {
    return this.#unlessAlready('paused', id, () => this.#command('pause', containerName(id)));
  }

  resume(id: string): Promise<void> {
    return this.#unlessAlready('running', id, () => this.#command('resume', containerName(id)));
  }

  async discard(id: string): Promise<void> {
    const name = containerName(id);
    const { code, stderr } = await this.#run('delete', '--force', name);
    if (code !== 0 && !isUnknown(stderr)) throw this.#failure('delete', stderr);
    await new SandboxDisk(this.#dir(name)).unmount();
  }

  async remove(id: string): Promise<void> {
    await this.discard(id);
    await new SandboxDisk(this.#dir(containerName(id))).delete();
  }

  async state(id: string): Promise<ContainerStatus> {
    const { code, stdout, stderr } = await this.#run('state', containerName(id));
    if (code === 0) return statusOf((JSON.parse(stdout) as { status: string }).status);
    if (isUnknown(stderr)) return 'absent';
    throw this.#failure('state', stderr);
  }

  async list(): Promise<ReadonlyMap<string, ContainerStatus>> {
    const { code, stdout, stderr } = await this.#run('list', '--format', 'json');
    if (code !== 0) throw this.#failure('list', stderr);
    const rows = (JSON.parse(stdout) ?? []) as { id: string; status: string; annotations?: Record<string, string> }[];
    return new Map(rows.map((row) => [row.annotations?.[ID_ANNOTATION] ?? row.id, statusOf(row.status)]));
  }

  exec(id: string, request: ExecRequest): AsyncIterableIterator<ExecEvent> {
    return execInContainer(this.#execTarget(id), request);
  }

  endAbandonedExecs(id: string): Promise<void> {
    return endAbandonedExecs(this.#execTarget(id));
  }

  #execTarget(id: string): OciExecTarget {
    const { binary, cgroups } = this.#options;
    const container = containerName(id);
    const cgroup = this.name === 'runsc' ? undefined : { tree: cgroups, path: this.#cgroupsPath(container) };
    return { binary, flags: this.#flags, container, dir: this.#dir(container), cgroup };
  }

  async #unlessAlready(wanted: ContainerStatus, id: string, action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      // Asking first would cost every call a process; asking afterwards costs only the failed ones.
      if ((await this.state(id)) !== wanted) throw error;
    }
  }

  async #command(...args: readonly string[]): Promise<void> {
    const { code, stderr } = await this.#run(...args);
    if (code !== 0) throw this.#failure(args[0] ?? '', stderr);
  }

  #run(...args: readonly string[]): Promise<CommandResult> {
    return runCommand(this.#options.binary, [...this.#flags, ...args]);
  }

  /** Before every verb. */
  get #flags(): readonly string[] {
    // runsc brings its own network stack and refuses to start unless told that there is to be none.
    return ['--root', this.#options.stateRoot, ...(this.name === 'runsc' ? ['--network', 'none'] : [])];
  }

  #failure(verb: string, stderr: string): RookeryError {
    return new RookeryError(
      'UNAVAILABLE',
      `${this.name} ${verb}: ${readable(lastLine(stderr) ?? 'failed without a word')}`,
    );
  }

  #warn(sandboxId: string, err: unknown): void {
    this.#options.log.warn({ sandboxId, err }, 'leftovers of a failed sandbox could not be cleaned up');
  }

  #dir(name: string): string {
    return join(this.#options.containers, name);
  }

  #cgroupsPath(name: string): string {
    return `/rookery-${this.#options.instance}/${name}`;
  }
}

/** A name that runtimes and file systems take: the id itself where it is one already. */
export function containerName(id: string): string {
  if (/^[A-Za-z0-9][\w.-]{0,127}$/.test(id)) return id;
  return `id-${createHash('sha256').update(id).digest('hex').slice(0, 40)}`;
}

/** `created` counts as stopped: we never leave a container in it, so its start has been cut off. */
function statusOf(word: string): ContainerStatus {
  if (word === 'running') return 'running';
  return word === 'paused' || word === 'pausing' ? 'paused' : 'stopped';
}

const isUnknown = (stderr: string): boolean => /does not exist|not found/i.test(stderr);

async function lastLogMessage(path: string): Promise<string> {
  const line = lastLine(await readFile(path, 'utf8').catch(() => ''));
  return line === undefined ? 'failed without a word' : readable(line);
}

/** The message of a log line in JSON (`{"msg": …}`) or in logfmt (`msg="…"`), else the line. */
function readable(line: string): string {
  try {
    return (JSON.parse(line) as { msg?: string }).msg ?? line;
  } catch {
    return /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1] ?? line;
  }
}
