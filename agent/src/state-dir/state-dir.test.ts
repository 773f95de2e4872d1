import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newDirectory } from '../agent.fixture.ts';
import { EpochCounter } from '../sandboxes/sandbox.store.ts';
import { writeFileAtomic } from '@rookery/wire/files.ts';
import { acquireLock, lockHolder } from '@rookery/wire/process-lock.ts';
import { createStateDir } from './state-dir.ts';

let directory: Awaited<ReturnType<typeof newDirectory>>;
beforeEach(async () => {
  directory = await newDirectory();
});
afterEach(async () => {
  await directory[Symbol.asyncDispose]();
});

describe('writeFileAtomic', () => {
  it('replaces the content whole, readable by the owner only, and leaves nothing else behind', async () => {
    const path = `${directory.path}/secret`;
    await Promise.all(['a', 'b', 'c'].map((letter) => writeFileAtomic(path, letter.repeat(10_000))));
    expect(await readFile(path, 'utf8')).toMatch(/^(a{10000}|b{10000}|c{10000})$/);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory.path)).toEqual(['secret']);
  });

  it('keeps the old content when the new one cannot be written', async () => {
    const path = `${directory.path}/dir-in-the-way`;
    await createStateDir(path);
    await expect(writeFileAtomic(path, 'x')).rejects.toThrow();
    expect((await stat(path)).isDirectory()).toBe(true);
    expect(await readdir(directory.path)).toEqual(['dir-in-the-way']);
  });
});

describe('the lock of a state directory', () => {
  const path = () => `${directory.path}/agent.pid`;

  it('is held by one, and free when released', async () => {
    const lock = await acquireLock(path(), (pid) => `Another agent (pid ${pid}) is here.`);
    expect(await lockHolder(path())).toBe(process.pid);
    await expect(acquireLock(path(), (pid) => `Another agent (pid ${pid}) is here.`)).rejects.toThrow(
      `Another agent (pid ${process.pid})`,
    );
    await lock[Symbol.asyncDispose]();
    expect(await lockHolder(path())).toBeUndefined();
  });

  it.each([
    ['whose process is gone', JSON.stringify({ pid: 2 ** 22 + 1, startTime: '1', bootId: 'x' })],
    ['whose pid belongs to another process now', JSON.stringify({ pid: process.pid, startTime: '1', bootId: 'x' })],
    ['that is garbage', 'garbage'],
  ])('is taken over from one %s', async (_what, content) => {
    await writeFile(path(), content);
    await using _lock = await acquireLock(path(), (pid) => `Another agent (pid ${pid}) is here.`);
    expect(await lockHolder(path())).toBe(process.pid);
  });

  it('goes to exactly one of many that start at once over a stale one', async () => {
    await writeFile(path(), 'garbage');
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, () => acquireLock(path(), (pid) => `Another agent (pid ${pid}) is here.`)),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await readdir(directory.path)).toEqual(['agent.pid']);
  });
});

describe('EpochCounter', () => {
  it('only grows, also across a crash', async () => {
    const path = `${directory.path}/epoch`;
    const first = await EpochCounter.open(path);
    for (let i = 0; i < 100; i++) first.advance();
    const second = await EpochCounter.open(path);
    expect(second.value).toBeGreaterThan(first.value);
  });

  it.each(['', 'garbage', '-1', '12\u0000', '1e3'])(
    'begins above all that was ever counted when its file is damaged (%j)',
    async (content) => {
      const path = `${directory.path}/epoch`;
      const before = await EpochCounter.open(path);
      for (let i = 0; i < 100; i++) before.advance();
      await writeFile(path, content);
      expect((await EpochCounter.open(path)).value).toBeGreaterThan(before.value);
    },
  );
});
