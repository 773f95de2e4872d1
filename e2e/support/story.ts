import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { leftovers, wipe, type Leftovers } from './machine.ts';
import { TestProcess, type ProcessOptions } from './process.ts';

/** How much of a process's output a failure shows, in characters. */
const OUTPUT_SHOWN = 6_000;

/**
 * What one story starts and makes on this machine. Everything is ended and removed when the story is
 * over, however it went; a failure prints what the processes had to say.
 */
export class Story {
  #directory = '';
  readonly #stateDirs: string[] = [];
  readonly #processes: TestProcess[] = [];
  readonly #stack = new AsyncDisposableStack();

  constructor() {
    beforeAll(async () => {
      this.#directory = await mkdtemp(join(tmpdir(), 'rookery-e2e-'));
    });
    afterEach(({ task }) => {
      if (task.result?.state === 'fail') this.#tell();
    });
    afterAll(async () => {
      await this.#stack.disposeAsync();
      await wipe(this.#directory, this.#stateDirs);
    });
  }

  /** A new directory of this story. */
  async directory(name: string): Promise<string> {
    const path = join(this.#directory, name);
    await mkdir(path);
    return path;
  }

  /** Where an agent will keep its state; what its sandboxes leave there is cleared up. */
  stateDir(path: string): string {
    this.#stateDirs.push(path);
    return path;
  }

  start(options: ProcessOptions): TestProcess {
    const started = this.#stack.use(new TestProcess(options));
    this.#processes.push(started);
    return started;
  }

  /** Disposes of something at the story's end, before what was started earlier. */
  use<T extends AsyncDisposable>(resource: T): T {
    return this.#stack.use(resource);
  }

  leftovers(): Promise<Leftovers> {
    return leftovers(this.#directory, this.#stateDirs);
  }

  #tell(): void {
    for (const { label, stdout, stderr } of this.#processes) {
      const shown = (text: string): string => text.slice(-OUTPUT_SHOWN).trimEnd();
      console.error(`──── ${label}: stdout\n${shown(stdout)}\n──── ${label}: stderr\n${shown(stderr)}\n`);
    }
  }
}

/** Nothing is left of a story. */
export const NOTHING: Leftovers = { containers: [], mounts: [], processes: [] };
