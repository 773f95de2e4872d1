import { existsSync } from 'node:fs';
import { copyFile, readdir, rm } from 'node:fs/promises';
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
  damaged: z.boolean().default(false),
}) satisfies z.ZodType<SandboxRecord>;

/** The records of all sandboxes as files, one each, so that writing one cannot harm another. */
export class SandboxStore {
  readonly #dir: string;
  readonly #log: Logger;

  constructor(dir: string, log: Logger) {
    this.#dir = dir;
    this.#log = log;
  }

  /** Those that can be read. Changes nothing: an agent may be writing at this moment. */
  async load(): Promise<SandboxRecord[]> {
    return (await this.#read()).records;
  }

  /** How many there are, those whose records cannot be read included. */
  async count(): Promise<number> {
    return (await readdir(this.#dir)).filter((file) => file.endsWith('.json')).length;
  }

  /**
   * What an earlier agent has left, for the one that takes its place.
   *
   * @returns also the names of records that cannot be read; a copy of each is kept for a person to look at.
   */
  async takeOver(): Promise<{ records: SandboxRecord[]; damaged: string[] }> {
    const found = await this.#read();
    for (const name of found.damaged) {
      const path = join(this.#dir, `${name}.json`);
      await copyFile(path, `${path}.damaged`).catch((err: unknown) =>
        this.#log.warn({ err, path }, 'a damaged sandbox record could not be copied'),
      );
    }
    return found;
  }

  async #read(): Promise<{ records: SandboxRecord[]; damaged: string[] }> {
    const records: SandboxRecord[] = [];
    const damaged: string[] = [];
    for (const file of await readdir(this.#dir)) {
      if (!file.endsWith('.json')) continue;
      const path = join(this.#dir, file);
      try {
        const text = await readFileIfThere(path);
        // Removed by a running agent since the directory was read.
        if (text === undefined) continue;
        const record = recordSchema.parse(JSON.parse(text));
        if (this.#path(record.spec.id) !== path) throw new Error('it is about another sandbox');
        records.push(record);
      } catch (err) {
        this.#log.error({ err, path }, 'a sandbox record is damaged');
        damaged.push(file.slice(0, -'.json'.length));
      }
    }
    return { records, damaged };
  }

  save(record: SandboxRecord): Promise<void> {
    return writeFileAtomic(this.#path(record.spec.id), JSON.stringify(record));
  }

  /** Whether there is a record, be it one that cannot be read. */
  has(id: string): boolean {
    return existsSync(this.#path(id));
  }

  async delete(id: string): Promise<void> {
    await rm(`${this.#path(id)}.damaged`, { force: true });
    await removeFileDurably(this.#path(id));
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

  /**
   * Goes on where the file says. Without one that can be read it begins with the time in µs: control drops what
   * is older than what it has taken, and no machine has counted that far.
   */
  static async open(path: string): Promise<EpochCounter> {
    const saved = /^[1-9]\d{0,15}$/.exec(((await readFileIfThere(path)) ?? '').trim());
    const counter = new EpochCounter(path, saved ? Number(saved[0]) : Date.now() * 1_000);
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
