import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { processesOfGroup } from './machine.ts';

/** The checkout. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** How long a process may take to end after it was asked to, in ms. */
const STOP_DEADLINE_MS = 10_000;

export interface ProcessOptions {
  /** Told apart by it in the output of a failure. */
  readonly label: string;
  readonly command: readonly [string, ...string[]];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A real process in a process group of its own, as if started in a terminal of its own. */
export class TestProcess implements AsyncDisposable {
  readonly label: string;
  /** Resolves when it has ended; what it started may live on. */
  readonly exited: Promise<Exit>;
  /** Resolves when it has ended and its output is complete. */
  readonly closed: Promise<Exit>;
  readonly #child: ChildProcess;
  readonly #group: number;
  #stdout = '';
  #stderr = '';
  #exit: Exit | undefined;
  #onOutput: (() => void)[] = [];

  constructor({ label, command: [program, ...args], cwd, env }: ProcessOptions) {
    this.label = label;
    this.#child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    if (this.#child.pid === undefined) throw new Error(`${program} could not be started`);
    this.#group = this.#child.pid;
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#heard((this.#stdout += text)));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#heard((this.#stderr += text)));
    const ending = (event: 'exit' | 'close') =>
      new Promise<Exit>((resolve) => this.#child.once(event, (code, signal) => resolve({ code, signal })));
    this.closed = ending('close');
    this.exited = ending('exit').then((exit) => {
      this.#exit = exit;
      this.#heard();
      return exit;
    });
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /**
   * Waits until standard output matches.
   *
   * @throws when the process ends before, or after `timeoutMs`.
   */
  async waitForOutput(pattern: RegExp, timeoutMs: number): Promise<RegExpExecArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
    const look = (): void => {
      const match = pattern.exec(this.#stdout);
      if (match) resolve(match);
      else if (this.#exit) reject(new Error(`${this.label} ended before it printed ${pattern}`));
    };
    const deadline = setTimeout(() => reject(new Error(`${this.label} has not printed ${pattern}`)), timeoutMs);
    this.#onOutput.push(look);
    look();
    try {
      return await promise;
    } finally {
      clearTimeout(deadline);
      this.#onOutput = this.#onOutput.filter((listener) => listener !== look);
    }
  }

  /** The processes of its group that are alive. */
  members(): ReturnType<typeof processesOfGroup> {
    return processesOfGroup(this.#group);
  }

  /** Sends a signal to the whole group, as a terminal does for Ctrl-C. */
  signal(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.#group, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** Asks it to end and waits for that. */
  async stop(signal: NodeJS.Signals = 'SIGINT'): Promise<Exit> {
    this.signal(signal);
    let deadline: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      deadline = setTimeout(() => reject(new Error(`${this.label} does not end on ${signal}`)), STOP_DEADLINE_MS);
    });
    try {
      return await Promise.race([this.exited, late]);
    } finally {
      clearTimeout(deadline);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#exit) await this.stop().catch(() => {});
    this.signal('SIGKILL');
    await this.exited;
  }

  #heard(_text?: string): void {
    for (const listener of this.#onOutput) listener();
  }
}

/**
 * The environment of a process under test: that of this one, without what configures a Rookery.
 * Variables are emptied, which counts as unset, because one left out could come from a `.env`.
 */
export function cleanEnvironment(settings: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).map(([name, value]) => {
    const isOurs = name.startsWith('ROOKERY_') || name === 'DATABASE_URL';
    // A child of the test runner should not find itself in a test.
    const isRunners = name.startsWith('VITEST') || name === 'NODE_ENV' || name === 'TEST' || name === 'NODE_OPTIONS';
    return [name, isOurs ? '' : isRunners ? undefined : value];
  });
  return { ...Object.fromEntries(inherited), DATABASE_URL: '', NO_COLOR: '1', ...settings };
}
