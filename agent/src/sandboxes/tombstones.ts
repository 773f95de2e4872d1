import { open } from 'node:fs/promises';
import { readFileIfThere, writeFileAtomic } from '@rookery/wire/files.ts';

/** How many removed sandboxes are remembered; fewer forget one whose last wish is still on its way on a host that removes hundreds a minute. */
const MAX_TOMBSTONES = 1_000;

/** How long one is remembered, in ms (a day). A wish is on its way for a minute; the rest is for clocks that are set. */
const MAX_AGE_MS = 24 * 60 * 60 * 1_000;

interface Tombstone {
  readonly id: string;
  readonly generation: number;
  /** When it was removed, in ms since the epoch. */
  readonly at: number;
}

/**
 * Which sandboxes were removed, and at which generation, so that a wish which was overtaken by the removal does not
 * bring one back; on disk, so that it does not do so after a crash either.
 *
 * A file that is only appended to, a line each: one write and one fsync for a removal. A line that a crash has cut off
 * belongs to a removal that was not answered.
 */
export class Tombstones {
  readonly #path: string;
  readonly #byId: Map<string, Tombstone>;
  /** Lines in the file, of which some are old news. */
  #lines: number;
  /** One write after the other. */
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, byId: Map<string, Tombstone>) {
    this.#path = path;
    this.#byId = byId;
    this.#lines = byId.size;
  }

  /** @param now in ms since the epoch. */
  static async open(path: string, now = Date.now()): Promise<Tombstones> {
    const byId = new Map<string, Tombstone>();
    for (const line of ((await readFileIfThere(path)) ?? '').split('\n')) {
      const stone = parse(line);
      // One from the future was written before the clock was set back.
      if (stone && now - stone.at < MAX_AGE_MS) keep(byId, { ...stone, at: Math.min(stone.at, now) });
    }
    const tombstones = new Tombstones(path, byId);
    await tombstones.#rewrite();
    return tombstones;
  }

  /** The generation at which a sandbox was removed. */
  of(id: string): number | undefined {
    return this.#byId.get(id)?.generation;
  }

  /** Remembers a removal; resolves when it is on disk. */
  bury(id: string, generation: number): Promise<void> {
    if (generation <= (this.of(id) ?? -1)) return this.#writing;
    const stone = { id, generation, at: Date.now() };
    keep(this.#byId, stone);
    const written = this.#writing.then(() =>
      this.#lines >= 2 * MAX_TOMBSTONES ? this.#rewrite() : this.#append(stone),
    );
    // One that failed is told to its caller; the next one has a line of its own.
    this.#writing = written.catch(() => {});
    return written;
  }

  async #append(stone: Tombstone): Promise<void> {
    const file = await open(this.#path, 'a', 0o600);
    try {
      // On a line of its own even after one that was cut off.
      await file.write(`\n${JSON.stringify(stone)}`);
      await file.datasync();
      this.#lines += 1;
    } finally {
      await file.close();
    }
  }

  async #rewrite(): Promise<void> {
    const stones = [...this.#byId.values()];
    await writeFileAtomic(this.#path, stones.map((stone) => JSON.stringify(stone)).join('\n'));
    this.#lines = stones.length;
  }
}

function keep(byId: Map<string, Tombstone>, stone: Tombstone): void {
  const generation = Math.max(stone.generation, byId.get(stone.id)?.generation ?? 0);
  byId.delete(stone.id);
  byId.set(stone.id, { ...stone, generation });
  const [oldest] = byId.keys();
  if (byId.size > MAX_TOMBSTONES && oldest !== undefined) byId.delete(oldest);
}

function parse(line: string): Tombstone | undefined {
  try {
    const { id, generation, at } = JSON.parse(line) as Partial<Record<keyof Tombstone, unknown>>;
    return typeof id === 'string' && Number.isSafeInteger(generation) && Number.isSafeInteger(at)
      ? { id, generation: generation as number, at: at as number }
      : undefined;
  } catch {
    return undefined;
  }
}
