import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '@rookery/wire/log.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SandboxStore } from './sandbox.store.ts';

/** As agents of version 0.1.0 have written it. */
const RECORD_0_1_0 = {
  spec: { id: 'box', name: 'box', template: 'host', vcpus: 1, memoryMb: 128, diskMb: 64 },
  desiredState: 'RUNNING',
  generation: 3,
  status: 'PAUSED',
  statusReason: 'paused by the host because it lost its control plane',
  startedAt: '2026-11-24T10:00:00.000Z',
  lastActiveAt: null,
  bootId: 'boot',
  hold: { reason: 'CONTROL_LOSS', since: '2026-11-24T11:00:00.000Z' },
  removing: false,
};

describe('the records of sandboxes', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'rookery-store-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  it('are read by an upgraded agent as an older one has written them', async () => {
    await writeFile(join(directory, 'box.json'), JSON.stringify(RECORD_0_1_0));
    expect(await new SandboxStore(directory, silentLogger()).load()).toMatchObject([RECORD_0_1_0]);
  });

  it.each([
    ['is garbage', 'not a record'],
    ['is empty', ''],
    ['is cut off', JSON.stringify(RECORD_0_1_0).slice(0, 40)],
    ['is about another sandbox', JSON.stringify({ ...RECORD_0_1_0, spec: { ...RECORD_0_1_0.spec, id: 'other' } })],
  ])('count as there when one %s, and a copy of it is kept', async (_what, content) => {
    await writeFile(join(directory, 'box.json'), content);
    const store = new SandboxStore(directory, silentLogger());
    expect(await store.takeOver()).toEqual({ records: [], damaged: ['box'] });
    expect(store.has('box')).toBe(true);
    expect(await readFile(join(directory, 'box.json.damaged'), 'utf8')).toBe(content);
    await store.delete('box');
    expect(await readdir(directory)).toEqual([]);
  });
});
