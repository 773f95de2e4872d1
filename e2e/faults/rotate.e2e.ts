import { execFile } from 'node:child_process';
import { watch } from 'node:fs';
import { mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { Story } from '../support/story.ts';
import { Site, until } from './site.ts';

const run = promisify(execFile);
const DAY_MS = 86_400_000;

describe('renewing credentials, while things go wrong', () => {
  const story = new Story();
  let site: Site;
  beforeAll(async () => {
    site = await Site.start(story);
  });

  async function expectUnharmed(hostId: string, machine: { status(): Promise<object> }): Promise<void> {
    await site.untilOnline(hostId);
    expect(await site.events(hostId)).toEqual(['host.created', 'host.registered']);
    expect((await site.host(hostId)).credentials).toMatchObject({ state: 'WORKING', quarantineCause: null });
    expect(await machine.status()).toMatchObject({ degraded: false, credentialState: 'ACTIVE' });
  }

  it('goes on with the old ones however often an answer is lost: once, twice, up to twenty times in a row', async () => {
    const machine = await site.machine('lost-renewals');
    const host = await site.hostOn(machine, 'lost-renewals');
    for (const times of [1, 2, 20]) {
      const { refreshToken } = await machine.saved();
      const lost = site.proxy.fault({ kind: 'drop-response' }, 'RefreshHostCredentials', times);
      await lost.reached(times);
      expect((await machine.saved()).refreshToken).toBe(refreshToken);
      await until(async () => expect((await machine.saved()).refreshToken).not.toBe(refreshToken));
    }
    await expectUnharmed(host.id, machine);
    await machine.agent.stop();
  });

  it('survives kill -9 at any moment between the answer and the disk', async () => {
    const machine = await site.machine('killed');
    const host = await site.hostOn(machine, 'killed');
    const left = new Set<string>();
    for (let round = 0; round < 4; round++) {
      // In turn when the answer has left for the agent, and when the agent has begun to write it down.
      const struck = round % 2 === 0 ? onAnswer() : onWrite(machine.stateDir);
      await struck;
      await machine.kill();
      left.add((await machine.saved()).refreshToken);
      machine.run();
      await machine.agent.waitForOutput(/This host is online\./, 20_000);
    }
    await expectUnharmed(host.id, machine);
    // Every round had credentials of its own, and what was half written is cleared away.
    expect(left.size).toBeGreaterThan(1);
    expect((await readdir(machine.stateDir)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    await machine.agent.stop();
  });

  it('waits out a full disk: nothing is used that could not be written down', async () => {
    const machine = await site.machine('full');
    await mkdir(machine.stateDir);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0711', 'tmpfs', machine.stateDir]);
    const host = await site.hostOn(machine, 'full');
    const ballast = join(machine.stateDir, 'ballast');
    await fill(ballast);
    const before = await machine.saved();
    // It expires on a socket that stays open, so it is cut; what is saved can then no longer be used, nor renewed.
    await until(async () => {
      site.proxy.cut();
      expect(await site.host(host.id)).toMatchObject({ status: 'UNREACHABLE' });
    });
    expect(await machine.saved()).toEqual(before);
    expect(await machine.status()).toMatchObject({ degraded: false });
    await rm(ballast);
    await expectUnharmed(host.id, machine);
    expect(await machine.saved()).not.toEqual(before);
    await machine.agent.stop();
    await run('umount', [machine.stateDir]);
  });

  it('does not mind clocks that are a day slow or a day fast, nor that they are put right, and wrong again', async () => {
    await Promise.all(
      [-DAY_MS, DAY_MS].map(async (offset) => {
        const name = `clock-${offset < 0 ? 'slow' : 'fast'}`;
        const machine = await site.machine(name);
        const host = await site.hostOn(machine, name, shiftedClock(offset));
        await machine.untilRenewed();
        for (const clock of [{}, shiftedClock(-offset)]) {
          await machine.kill();
          machine.run(clock);
          await site.untilOnline(host.id);
          await machine.untilRenewed();
        }
        await expectUnharmed(host.id, machine);
        await machine.agent.stop();
      }),
    );
  });

  function onAnswer(): Promise<void> {
    return new Promise((resolve) => {
      site.proxy.onAnswered = (what) => what === 'RefreshHostCredentials' && resolve();
    });
  }
});

/** Resolves when somebody begins to write the credentials anew. */
function onWrite(stateDir: string): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(stateDir, (_event, file) => {
      if (!file?.startsWith('credentials.json.')) return;
      watcher.close();
      resolve();
    });
  });
}

/** Fills the file system that a file is on, to the last byte. */
async function fill(path: string): Promise<void> {
  await using file = await open(path, 'w');
  for (let size = 65_536; size >= 1; size = Math.floor(size / 2)) {
    const chunk = Buffer.alloc(size);
    while (
      await file.write(chunk).then(
        ({ bytesWritten }) => bytesWritten === size,
        () => false,
      )
    );
  }
}

/** A Node whose `Date` is off. Timers are not: they do not follow the wall clock on any machine. */
function shiftedClock(offsetMs: number): Record<string, string> {
  const module = `const now = Date.now, Original = Date; const shifted = () => now() + ${offsetMs};
    globalThis.Date = class extends Original { constructor(...args) { super(...(args.length ? args : [shifted()])); } static now() { return shifted(); } };`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(module)}` };
}
