import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '@rookery/wire/log.ts';
import { z } from 'zod';
import { containerName } from '../runtime/oci-runtime.ts';
import { readFileIfThere, removeFileDurably, writeFileAtomic } from '@rookery/wire/files.ts';
import { ERROR_CAUSES, OBSERVED_STATUSES, type SandboxRecord } from './sandbox.state.ts';

/** Epochs that one write to disk pays for; a restart skips what is left of them. */
const EPOCH_BLOCK = 1_000;

const recordSchema = z.object({
  spec: z.object({
    id: z.string(),
    name: z.string(),
    template: z.string(),
    vcpus: z.number(),
    memoryMb: z.number(),
    diskMb: z.number(),
    // Defaults are for records of agents that did not know these fields.
    timeoutSeconds: z.number().nullable().default(null),
  }),
  desiredState: z.enum(['RUNNING', 'PAUSED']),
  generation: z.number(),
  status: z.enum(OBSERVED_STATUSES),
  statusReason: z.string().nullable(),
  startedAt: z.string().nullable(),
  lastActiveAt: z.string().nullable(),
  bootId: z.string(),
  hold: z.object({ reason: z.enum(['CONTROL_LOSS', 'AGENT_EXIT']), since: z.string() }).nullable(),
  idle: z.object({ since: z.string() }).nullable().default(null),
  errorCause: z.enum(ERROR_CAUSES).nullable().default(null),
  removing: z.boolean(),
}) satisfies z.ZodType<SandboxRecord>;

/** The records of all sandboxes as files, one each, so that writing one cannot harm another. */
export class SandboxStore {
  readonly #dir: string;
  readonly #log: Logger;

  constructor(dir: string, log: Logger) {
    this.#dir = dir;
    this.#log = log;
  }

  /** Reads only: an agent may be writing at this moment, and what it is writing is not to be touched. */
  async load(): Promise<SandboxRecord[]> {
    const records: SandboxRecord[] = [];
    for (const file of await readdir(this.#dir)) {
      const path = join(this.#dir, file);
      if (!file.endsWith('.json')) continue;
      try {
        records.push(recordSchema.parse(JSON.parse(await readFile(path, 'utf8'))));
      } catch (err) {
        // Left where it is for a person to look at, and its container with it.
        this.#log.error({ err, path }, 'a sandbox record cannot be read and is ignored');
      }
    }
    return records;
  }

  save(record: SandboxRecord): Promise<void> {
    return writeFileAtomic(this.#path(record.spec.id), JSON.stringify(record));
  }

  /** Whether there is a record, be it one that cannot be read. */
  has(id: string): boolean {
    return existsSync(this.#path(id));
  }

  delete(id: string): Promise<void> {
    return removeFileDurably(this.#path(id));
  }

  #path(id: string): string {
    return join(this.#dir, `${containerName(id)}.json`);
  }
}

/**
 * A counter that only grows, also across restarts and crashes.
 *
 * Numbers are reserved on disk in blocks before they are given out, so that counting costs no write.
 */
export class EpochCounter {
  #value: number;
  #reserved: number;
  readonly #path: string;
  #isReserving = false;

  private constructor(path: string, value: number) {
    this.#path = path;
    this.#value = value;
    this.#reserved = value;
  }

  static async open(path: string): Promise<EpochCounter> {
    const saved = Number((await readFileIfThere(path)) ?? 0);
    const counter = new EpochCounter(path, Number.isSafeInteger(saved) ? saved : 0);
    await counter.#reserve();
    counter.advance();
    return counter;
  }

  get value(): number {
    return this.#value;
  }

  advance(): void {
    this.#value += 1;
    // Half a block early: what is given out must be on disk as reserved before.
    if (this.#isReserving || this.#value <= this.#reserved - EPOCH_BLOCK / 2) return;
    this.#isReserving = true;
    // A failed write is tried again at the next step; a disk that takes no writes stops everything else anyway.
    void this.#reserve()
      .catch(() => {})
      .finally(() => (this.#isReserving = false));
  }

  /**
   * Goes on above what control knows of us; a state directory that is an older copy of itself is below it.
   *
   * @returns whether it was.
   */
  exceed(known: number): boolean {
    if (!Number.isSafeInteger(known) || known <= this.#value) return false;
    this.#value = known;
    this.advance();
    return true;
  }

  async #reserve(): Promise<void> {
    const next = this.#value + EPOCH_BLOCK;
    await writeFileAtomic(this.#path, String(next));
    this.#reserved = next;
  }
}
