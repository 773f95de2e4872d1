import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import { RookeryError } from '@rookery/wire/errors.ts';
import { ExecGroup, type CgroupTree } from './cgroup.ts';
import { lastLine, runCommand } from './command.ts';
import { ExecStream } from './exec-stream.ts';
import { DEFAULT_ENV } from './oci-bundle.ts';
import type { ExecEvent, ExecRequest } from './runtime.ts';

/**
 * Runs the command and then writes its exit code to descriptor 3.
 *
 * `runc exec` itself only ends when the last holder of the command's output is gone, so a server
 * started in the background would keep its exit code from us for ever. `exec` in a subshell and not
 * a plain `"$@"`, which would run the shell's own `echo` or `kill` in place of the programs.
 */
const REPORT_EXIT = '(exec "$@" 3>&-); echo $? >&3';

/** The environment variable that marks the processes of an exec where there is no cgroup to tell them by. */
const MARKER = 'ROOKERY_EXEC';

/** Kills what carries the mark in `$1`, again and again until a round finds nothing. */
const KILL_MARKED = `
for round in 1 2 3 4 5; do
  found=
  for process in /proc/[0-9]*; do
    tr '\\0' '\\n' 2>/dev/null < $process/environ | grep -qx "$1" && kill -9 \${process#/proc/} 2>/dev/null && found=yes
  done
  [ -n "$found" ] || exit 0
done`;

export interface OciExecTarget {
  readonly binary: string;
  /** The runtime's flags before the verb. */
  readonly flags: readonly string[];
  readonly container: string;
  /** Directory for this exec's log of the runtime. */
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

class OciExec {
  readonly stream: ExecStream;
  readonly #target: OciExecTarget;
  readonly #request: ExecRequest;
  readonly #key = randomBytes(6).toString('hex');
  #group: ExecGroup | undefined;
  #child: ChildProcess | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #timedOut = false;
  #done = false;
  #left = false;

  constructor(target: OciExecTarget, request: ExecRequest) {
    this.#target = target;
    this.#request = request;
    this.stream = new ExecStream(request.maxOutputBytes, () => this.#leave());
  }

  async run(): Promise<void> {
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
    }
  }

  async #start(): Promise<void> {
    const { cgroup } = this.#target;
    if (cgroup) this.#group = await ExecGroup.create(cgroup.tree, cgroup.path, this.#key).catch(notRunning);
    if (this.#left) return;

    const child = spawn(this.#target.binary, this.#arguments(), {
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child = child;
    this.#deadline = setTimeout(() => {
      this.#timedOut = true;
      void this.#kill();
    }, this.#request.timeoutMs);
    this.stream.attach('STDOUT', child.stdout as Readable);
    this.stream.attach('STDERR', child.stderr as Readable);
    // A command that does not read its input is no error.
    child.stdin?.on('error', () => {});
    child.stdin?.end(this.#request.stdin ?? '');

    const code = await exitCodeOf(child);
    if (code === undefined && !this.#timedOut && !this.#left) await this.#throwIfNotStarted();
    const killed = this.#timedOut || code === undefined;
    clearTimeout(this.#deadline);
    this.#done = true;
    await this.stream.finish({
      exitCode: killed ? null : code,
      signal: killed ? 'SIGKILL' : signalOf(code),
      timedOut: this.#timedOut,
    });
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
    return `${this.#target.dir}/exec-${this.#key}.log`;
  }

  async #throwIfNotStarted(): Promise<void> {
    const line = lastLine(await readFile(this.#log, 'utf8').catch(() => ''));
    if (line === undefined) return;
    const { level, msg } = JSON.parse(line) as { level?: string; msg?: string };
    if (level !== 'error' || msg === undefined) return;
    if (/chdir to cwd/.test(msg))
      throw new RookeryError('BAD_USER_INPUT', `The directory ${this.#request.cwd} does not exist in the sandbox.`);
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

  async #kill(): Promise<void> {
    if (this.#group) {
      // Not the runtime, which goes by itself: it is the parent that has to reap the command.
      const child = this.#child;
      await this.#group.kill(() => !child || child.exitCode !== null || child.signalCode !== null);
      child?.kill('SIGKILL');
      return;
    }
    const { binary, flags, container } = this.#target;
    const script = ['/bin/sh', '-c', KILL_MARKED, 'sh', `${MARKER}=${this.#key}`];
    await runCommand(binary, [...flags, 'exec', container, ...script]).catch(() => {});
    this.#child?.kill('SIGKILL');
  }
}

/** The command's exit code as reported on descriptor 3 or, failing that, by the runtime; undefined when neither did. */
async function exitCodeOf(child: ChildProcess): Promise<number | undefined> {
  const reports = child.stdio[3] as Readable;
  return new Promise((resolve, reject) => {
    let text = '';
    reports.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.endsWith('\n')) resolve(Number(text));
    });
    reports.on('error', () => {});
    child.once('error', reject);
    // The report, if there is one, is in the pipe before the runtime ends: `close` comes after both.
    child.once('exit', (code) => {
      const fromRuntime = code === null || child.spawnargs.includes(REPORT_EXIT) ? undefined : code;
      if (reports.readableEnded || reports.destroyed) resolve(fromRuntime);
      else reports.once('close', () => resolve(fromRuntime));
    });
  });
}

/** Shells report death by signal n as 128 + n. */
function signalOf(code: number): string | null {
  const number = code - 128;
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? null;
}

function notRunning(cause: unknown): never {
  throw new RookeryError('NOT_FOUND', 'The sandbox is not running.', { cause });
}
