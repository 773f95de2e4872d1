import type { Client } from 'graphql-ws';
import { CommandOutput, type OutputPiece } from './command-output.ts';
import { runCommand, type CommandEnd } from './command-stream.ts';

/** Milliseconds between drawings of what comes in; more often costs layout that nobody can read that fast. */
const DRAW_EVERY_MS = 60;

/** Commands whose output stays on the page. */
const RUNS_AT_MOST = 50;

/** One command: what it has printed so far, and how it ended. */
export class CommandRun {
  readonly startedAt = Date.now();
  pieces = $state.raw<readonly OutputPiece[]>([]);
  /** Characters that are not shown any more. */
  cut = $state.raw(0);
  /** Null while it runs. */
  end = $state.raw<CommandEnd | null>(null);
  /** Milliseconds, as seen from here; null while it runs. */
  duration = $state.raw<number | null>(null);
  readonly #output = new CommandOutput();
  readonly #abort = new AbortController();
  #drawing: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly id: number,
    readonly line: string,
  ) {}

  /** Resolves at its end. The line is run by a shell, as a person means it. */
  async start(socket: Client, sandboxId: string): Promise<void> {
    const end = await runCommand(
      socket,
      { sandboxId, command: ['/bin/sh', '-c', this.line] },
      ({ stream, data }) => {
        this.#output.add(stream, data);
        this.#drawing ??= setTimeout(() => this.#draw(), DRAW_EVERY_MS);
      },
      this.#abort.signal,
    );
    this.#output.end();
    clearTimeout(this.#drawing);
    this.#draw();
    this.duration = Date.now() - this.startedAt;
    this.end = end;
  }

  /** Leaves the stream, on which the server kills the command and all it has started. */
  stop(): void {
    this.#abort.abort();
  }

  #draw(): void {
    this.#drawing = undefined;
    this.pieces = this.#output.pieces;
    this.cut = this.#output.cut;
  }
}

/** The commands of one page view, oldest first, and the lines to go back to with the arrow keys. */
export class CommandHistory {
  runs = $state.raw<readonly CommandRun[]>([]);
  readonly #socket: Client;
  readonly #sandboxId: string;
  #nextId = 1;
  /** Position in the typed lines while going back; one past the last when not. */
  #recall = 0;

  /** @param socket must not resubscribe by itself. */
  constructor(socket: Client, sandboxId: string) {
    this.#socket = socket;
    this.#sandboxId = sandboxId;
  }

  /** The command that runs, one at a time. */
  readonly running = $derived(this.runs.find((run) => run.end === null) ?? null);

  /** @returns at its end. */
  async run(line: string): Promise<void> {
    const run = new CommandRun(this.#nextId++, line);
    this.runs = [...this.runs.slice(1 - RUNS_AT_MOST), run];
    this.#recall = this.runs.length;
    await run.start(this.#socket, this.#sandboxId);
  }

  stop(): void {
    this.running?.stop();
  }

  clear(): void {
    this.runs = this.runs.filter((run) => run.end === null);
    this.#recall = this.runs.length;
  }

  /** The line one step back (-1) or forward (1); empty past the last one, null when there is nothing further back. */
  recall(step: -1 | 1): string | null {
    const next = this.#recall + step;
    if (next < 0) return null;
    this.#recall = Math.min(next, this.runs.length);
    return this.runs[this.#recall]?.line ?? '';
  }
}
