import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import { RookeryError } from '@rookery/wire/errors.ts';
import { ExecGroup, type CgroupTree } from './cgroup.ts';
import { lastLine, runCommand } from './command.ts';
import { ExecStream } from './exec-stream.ts';
import { exitCodeOf, KILL_MARKED, MARKER, REPORT_EXIT } from './exec-wrapper.ts';
import { DEFAULT_ENV } from './oci-bundle.ts';
import type { ExecEvent, ExecRequest } from './runtime.ts';

export interface OciExecTarget {
  readonly binary: string;
  /** The runtime's flags before the verb. */
  readonly flags: readonly string[];
  readonly container: string;
  /** Directory for this exec's log of the runtime, which as long as it is there says that the exec is under way. */
  readonly dir: string;
  /** Undefined where the runtime keeps processes out of the host's cgroups (`runsc`). */
  readonly cgroup: { readonly tree: CgroupTree; readonly path: string } | undefined;
}

/**
 * Runs a command in a container through the runtime's `exec`.
 *
 * Killing means the cgroup of this exec, see {@link ExecGroup}. With `runsc`, whose processes are
 * not the host's, it means everything inside that carries the exec's mark in its environment; what
 * has cleared its environment escapes until the sandbox ends.
 */
export function execInContainer(target: OciExecTarget, request: ExecRequest): AsyncIterableIterator<ExecEvent> {
  const exec = new OciExec(target, request);
  void exec.run();
  return exec.stream.events;
}

/** Execs of this process that are under way, by their key: not to be taken for those of a killed agent. */
const underWay = new Set<string>();

/**
 * Kills what an agent that was killed has left running for nobody: the commands whose output it was
 * still reading. What a finished command has left in the background is not touched.
 */
export async function endAbandonedExecs(target: OciExecTarget): Promise<void> {
  const names = await readdir(target.dir).catch(() => []);
  const keys = names.flatMap((name) => LOG_NAME.exec(name)?.[1] ?? []).filter((key) => !underWay.has(key));
  await Promise.all(keys.map((key) => endAbandoned(target, key)));
}

async function endAbandoned({ binary, flags, container, dir, cgroup }: OciExecTarget, key: string): Promise<void> {
  const log = logPath(dir, key);
  if (cgroup) {
    const group = ExecGroup.existing(cgroup.tree, cgroup.path, key);
    // The runtime may still be about to put the command into its group.
    await group.kill(async () => !(await isNamedByProcess(log)));
    await group.release();
  } else await killMarked(binary, flags, container, key);
  await rm(log, { force: true });
}

/** Whether the command line of any process names a path. */
async function isNamedByProcess(path: string): Promise<boolean> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines.some((line) => line.split('\0').includes(path));
}

async function killMarked(binary: string, flags: readonly string[], container: string, key: string): Promise<void> {
  const script = ['/bin/sh', '-c', KILL_MARKED, 'sh', `${MARKER}=${key}`];
  await runCommand(binary, [...flags, 'exec', container, ...script]).catch(() => {});
}

const LOG_NAME = /^exec-([0-9a-f]+)\.log$/;
const logPath = (dir: string, key: string): string => `${dir}/exec-${key}.log`;

class OciExec {
  readonly stream: ExecStream;
  readonly #target: OciExecTarget;
  readonly #request: ExecRequest;
  readonly #key = randomBytes(6).toString('hex');
  #group: ExecGroup | undefined;
  #child: ChildProcess | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #killing: Promise<void> | undefined;
  #timedOut = false;
  #done = false;
  #left = false;

  constructor(target: OciExecTarget, request: ExecRequest) {
    this.#target = target;
    this.#request = request;
    this.stream = new ExecStream(request.maxOutputBytes, () => this.#leave());
  }

  async run(): Promise<void> {
    underWay.add(this.#key);
    try {
      await this.#start();
    } catch (error) {
      this.#done = true;
      this.stream.fail(error);
    } finally {
      clearTimeout(this.#deadline);
      this.#child?.kill('SIGKILL');
      await this.#group?.release();
      await rm(this.#log, { force: true });
      underWay.delete(this.#key);
    }
  }

  async #start(): Promise<void> {
    const { cgroup } = this.#target;
    if (cgroup) this.#group = await ExecGroup.create(cgroup.tree, cgroup.path, this.#key).catch(notRunning);
    // There before the command is, so that no agent can be killed in between and leave it unmarked.
    await writeFile(this.#log, '', { mode: 0o600 }).catch(notRunning);
    if (this.#left) return;

    const child = this.#spawn();
    this.#child = child;
    this.#deadline = setTimeout(() => {
      this.#timedOut = true;
      void this.#kill();
    }, this.#request.timeoutMs);
    // A command that does not read its input is no error.
    child.stdin?.on('error', () => {});
    child.stdin?.end(this.#request.stdin ?? '');

    const code = await exitCodeOf(child, () => {
      this.#request.onStarted?.();
      // Not before: what a runtime that cannot start the command has to say is no output of it.
      this.stream.attach('STDOUT', child.stdout as Readable);
      this.stream.attach('STDERR', child.stderr as Readable);
    });
    if (code === undefined && !this.#timedOut && !this.#left) await this.#throwIfNotStarted();
    const killed = this.#timedOut || code === undefined;
    clearTimeout(this.#deadline);
    this.#done = true;
    await this.#killing;
    // Before anyone hears of the end: what the command has left in the background belongs to the sandbox from now on.
    await rm(this.#log, { force: true });
    await this.stream.finish({
      exitCode: killed ? null : code,
      signal: killed ? 'SIGKILL' : signalOf(code),
      timedOut: this.#timedOut,
    });
  }

  #spawn(): ChildProcess {
    try {
      return spawn(this.#target.binary, this.#arguments(), { stdio: ['pipe', 'pipe', 'pipe', 'pipe'], detached: true });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'E2BIG') throw tooLong(cause);
      throw cause;
    }
  }

  #arguments(): string[] {
    const { flags, container } = this.#target;
    const { command, cwd, env } = this.#request;
    const mark = this.#group ? {} : { [MARKER]: this.#key };
    const variables = {
      ...DEFAULT_ENV,
      ...mark,
      ...Object.fromEntries((env ?? []).map(({ name, value }) => [name, value])),
    };
    return [
      ...[...flags, '--log', this.#log, '--log-format', 'json', 'exec'],
      ...(this.#group ? ['--cgroup', this.#group.argument, '--preserve-fds', '1'] : []),
      ...['--cwd', cwd ?? '/root'],
      ...Object.entries(variables).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
      container,
      ...(this.#group ? ['/bin/sh', '-c', REPORT_EXIT, 'sh'] : []),
      ...command,
    ];
  }

  get #log(): string {
    return logPath(this.#target.dir, this.#key);
  }

  async #throwIfNotStarted(): Promise<void> {
    const line = lastLine(await readFile(this.#log, 'utf8').catch(() => ''));
    if (line === undefined) return;
    const { level, msg } = JSON.parse(line) as { level?: string; msg?: string };
    if (level !== 'error' || msg === undefined) return;
    if (/chdir to cwd/.test(msg))
      throw new RookeryError('BAD_USER_INPUT', `The directory ${this.#request.cwd} does not exist in the sandbox.`);
    if (/argument list too long/.test(msg)) throw tooLong(msg);
    if (/paused/.test(msg)) throw new RookeryError('CONFLICT', 'The sandbox is paused.');
    if (/does not exist|not running|stopped/.test(msg))
      throw new RookeryError('NOT_FOUND', 'The sandbox is not running.');
    throw new RookeryError('UNAVAILABLE', `The command could not be started: ${msg}`);
  }

  /** The consumer has left, or the stream has ended by itself. */
  async #leave(): Promise<void> {
    if (this.#done) return;
    this.#left = true;
    await this.#kill();
  }

  #kill(): Promise<void> {
    this.#killing ??= this.#killAll();
    return this.#killing;
  }

  async #killAll(): Promise<void> {
    if (this.#group) {
      // Not the runtime, which goes by itself: it is the parent that has to reap the command.
      const child = this.#child;
      await this.#group.kill(() => !child || child.exitCode !== null || child.signalCode !== null);
      child?.kill('SIGKILL');
      return;
    }
    const { binary, flags, container } = this.#target;
    await killMarked(binary, flags, container, this.#key);
    this.#child?.kill('SIGKILL');
  }
}

/** Shells report death by signal n as 128 + n. */
function signalOf(code: number): string | null {
  const number = code - 128;
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? null;
}

function tooLong(cause: unknown): RookeryError {
  return new RookeryError('BAD_USER_INPUT', 'The command and its environment are too long for the host.', { cause });
}

function notRunning(cause: unknown): never {
  throw new RookeryError('NOT_FOUND', 'The sandbox is not running.', { cause });
}
