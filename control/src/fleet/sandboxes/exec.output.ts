import type { ExecEvent } from '../tunnels/host-client.ts';

/** Output kept of each stream of a collected command, in bytes; what comes after is dropped and said to be. */
export const MAX_OUTPUT_BYTES = 1024 * 1024;

/**
 * Most output in one event of a stream, in bytes. What is under way to a slow reader is counted in
 * events between control and gateway, so this bounds what one stream can hold there.
 */
const MAX_CHUNK_BYTES = 32 * 1024;

/** How long a host may take beyond a command's own timeout to say that it ended, in ms. */
const EXEC_GRACE_MS = 10_000;

export type ExecExit = Extract<ExecEvent, { kind: 'EXIT' }>;

export interface ExecOutput {
  /** 128 + signal number when a signal ended the command, as shells have it. */
  readonly exitCode: number;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly truncated: boolean;
  readonly timedOut: boolean;
  readonly durationMs: number;
}

/** What the agent reports as null is a command that it has killed. */
const KILLED = 128 + 9;

export const exitCodeOf = ({ exitCode }: ExecExit): number => exitCode ?? KILLED;

/**
 * Collects a command's output to its end. The agent keeps to the bounds it was given; one that does
 * not (it may be a team's own) must not be able to fill this process.
 *
 * @returns undefined when the stream ended without saying how the command did.
 */
export async function collect(events: AsyncIterable<ExecEvent>): Promise<ExecOutput | undefined> {
  const startedAt = performance.now();
  const output = { STDOUT: new BoundedOutput(), STDERR: new BoundedOutput() };
  for await (const event of events) {
    if (event.kind !== 'EXIT') {
      output[event.kind].add(event.data);
      continue;
    }
    return {
      exitCode: exitCodeOf(event),
      signal: event.signal,
      timedOut: event.timedOut,
      truncated: event.truncated || output.STDOUT.truncated || output.STDERR.truncated,
      stdout: output.STDOUT.text(),
      stderr: output.STDERR.text(),
      durationMs: Math.round(performance.now() - startedAt),
    };
  }
  return undefined;
}

/** The beginning of a stream, up to {@link MAX_OUTPUT_BYTES}. */
class BoundedOutput {
  readonly #chunks: Buffer[] = [];
  #size = 0;
  truncated = false;

  add(chunk: Buffer): void {
    const room = MAX_OUTPUT_BYTES - this.#size;
    if (chunk.length > room) this.truncated = true;
    if (room <= 0) return;
    this.#chunks.push(chunk.subarray(0, room));
    this.#size += Math.min(chunk.length, room);
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}

/**
 * Ends a command's stream when its host has overstayed: when the command's own time and a grace are
 * over, and for as long nothing was taken from the stream. A reader that goes on reading what is
 * left gets all of it.
 */
export function withinTime(events: AsyncIterator<ExecEvent>, timeoutMs: number): AsyncIterableIterator<ExecEvent> {
  const overdueAt = Date.now() + timeoutMs + EXEC_GRACE_MS;
  let progressAt = Date.now();
  let timer: NodeJS.Timeout | undefined;
  const watch = (): void => {
    const inMs = Math.max(overdueAt, progressAt + EXEC_GRACE_MS) - Date.now();
    if (inMs <= 0) return void events.return?.();
    timer = setTimeout(watch, Math.min(inMs, 2 ** 31 - 1));
    timer.unref();
  };
  watch();
  const stop = (): void => clearTimeout(timer);
  return {
    async next() {
      try {
        const step = await events.next();
        progressAt = Date.now();
        if (step.done) stop();
        return step;
      } catch (error) {
        stop();
        throw error;
      }
    },
    async return() {
      stop();
      await events.return?.();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** The same stream with its output in pieces of at most {@link MAX_CHUNK_BYTES}. */
export function inChunks(events: AsyncIterator<ExecEvent>): AsyncIterableIterator<ExecEvent> {
  let rest: { kind: 'STDOUT' | 'STDERR'; data: Buffer } | undefined;
  return {
    async next() {
      if (!rest) {
        const step = await events.next();
        if (step.done || step.value.kind === 'EXIT' || step.value.data.length <= MAX_CHUNK_BYTES) return step;
        rest = step.value as { kind: 'STDOUT' | 'STDERR'; data: Buffer };
      }
      const { kind, data } = rest;
      rest = data.length > MAX_CHUNK_BYTES ? { kind, data: data.subarray(MAX_CHUNK_BYTES) } : undefined;
      return { done: false, value: { kind, data: data.subarray(0, MAX_CHUNK_BYTES) } };
    },
    async return() {
      rest = undefined;
      await events.return?.();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
