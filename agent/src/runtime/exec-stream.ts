import type { Readable } from 'node:stream';
import { mapIterator, PushIterator } from '@rookery/wire/push-iterator.ts';
import type { ExecEvent } from './runtime.ts';

/** Chunks (of up to 64 KiB) that wait for the consumer before the command itself is made to wait. */
const HIGH_WATER_CHUNKS = 16;
const LOW_WATER_CHUNKS = 4;

/**
 * How long after the command's end its output may be silent before it is taken to be complete, in
 * ms. Only matters when a background process still holds the stream: what the command itself wrote
 * is in the pipe already.
 */
const DRAIN_SILENCE_MS = 100;

/**
 * The output of one command as a stream of events: each stream cut at its limit, and the command's
 * pipes read no faster than the consumer takes what is in them.
 */
export class ExecStream {
  readonly events: AsyncIterableIterator<ExecEvent>;
  readonly #queue: PushIterator<ExecEvent>;
  readonly #maxBytes: number;
  readonly #open = new Set<Readable>();
  #truncated = false;
  #paused = false;
  #drained: (() => void) | undefined;
  #silence: NodeJS.Timeout | undefined;
  /** Bytes that came from the command, to tell silence from a process that was too busy to listen. */
  #heard = 0;

  /** @param onLeave called once when the stream has ended or its consumer has left. */
  constructor(maxBytes: number, onLeave: () => void | Promise<void>) {
    this.#maxBytes = maxBytes;
    this.#queue = new PushIterator<ExecEvent>(onLeave);
    this.events = mapIterator(this.#queue, (event) => {
      if (this.#paused && this.#queue.buffered <= LOW_WATER_CHUNKS) this.#resume();
      return event;
    });
  }

  /** Forwards a stream of the command. */
  attach(kind: 'STDOUT' | 'STDERR', source: Readable): void {
    let room = this.#maxBytes;
    this.#open.add(source);
    source.on('data', (chunk: Buffer) => {
      this.#silence?.refresh();
      this.#heard += chunk.length;
      const data = chunk.subarray(0, room);
      if (data.length < chunk.length) this.#truncated = true;
      room -= data.length;
      if (data.length > 0) this.#queue.push({ kind, data });
      if (this.#queue.buffered >= HIGH_WATER_CHUNKS) this.#pause();
    });
    source.on('error', () => source.destroy());
    source.once('close', () => {
      this.#open.delete(source);
      if (this.#open.size === 0) this.#drained?.();
    });
  }

  /** Ends the stream with `EXIT`, after what the command has written. */
  async finish(exit: { exitCode: number | null; signal: string | null; timedOut: boolean }): Promise<void> {
    if (this.#open.size > 0 && !this.#queue.closed) {
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
        this.#silence = setTimeout(() => {
          const heard = this.#heard;
          // Timers come before sockets: what has arrived while this process was busy is read before it counts as silence.
          setImmediate(() => {
            // While the consumer is slow, silence means nothing.
            const isSilent = heard === this.#heard && (!this.#paused || this.#queue.closed);
            if (isSilent) resolve();
            else this.#silence?.refresh();
          });
        }, DRAIN_SILENCE_MS);
      });
      clearTimeout(this.#silence);
    }
    for (const source of this.#open) source.destroy();
    this.#queue.push({ kind: 'EXIT', ...exit, truncated: this.#truncated });
    this.#queue.close();
  }

  /** Ends the stream with an error instead. */
  fail(error: unknown): void {
    for (const source of this.#open) source.destroy();
    this.#queue.close(error);
  }

  #pause(): void {
    this.#paused = true;
    for (const source of this.#open) source.pause();
  }

  #resume(): void {
    this.#paused = false;
    for (const source of this.#open) source.resume();
  }
}
