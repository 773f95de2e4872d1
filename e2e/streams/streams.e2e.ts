import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { joinHost, type TestAgent } from '../support/agent.ts';
import { Api } from '../support/api.ts';
import { ExecStream } from '../support/exec-stream.ts';
import { Fleet } from '../support/fleet.ts';
import { processesNaming } from '../support/machine.ts';
import { ADMIN_EMAIL, newPlace, startRookery } from '../support/rookery.ts';
import { ADMIN_PASSWORD, SplitRookery } from '../support/split.ts';
import { Story } from '../support/story.ts';

const MIB = 1024 ** 2;
const DEADLINE_MS = 30_000;

/** Prints a MiB at a time for ever and writes down how many it has got rid of. */
const ENDLESS = 'n=0; while :; do head -c 1048576 /dev/zero; n=$((n+1)); echo $n > /tmp/progress; done';

/**
 * How far a command may run ahead of a reader that has stopped, in MiB: the windows are below two;
 * the rest is what the kernel buffers on loopback for each of the sockets in between.
 */
const MOST_AHEAD_MIB = 48;

/** What a stalled stream may cost all processes together, in MiB. Without windows it would be hundreds in a second. */
const MOST_MEMORY_MIB = 96;

interface Running {
  readonly api: Api;
  readonly fleet: Fleet;
  readonly agent: TestAgent | undefined;
  /** Processes whose memory counts. */
  readonly pids: () => Promise<number[]>;
}

/** `npm start`, with the local host. */
async function embedded(story: Story): Promise<Running> {
  const place = await newPlace(story);
  const rookery = await startRookery(story, place);
  const api = story.use(await Api.signIn(rookery.url, ADMIN_EMAIL, rookery.printedPassword ?? ''));
  const pids = async () => [
    ...(await rookery.process.members()).map(({ pid }) => pid),
    ...(await processesNaming(join(place.dataDir, 'agent'))).map(({ pid }) => pid),
  ];
  return { api, fleet: new Fleet(api), agent: undefined, pids };
}

/** Control, gateway and agent as processes of their own. */
async function split(story: Story): Promise<Running> {
  const parts = await SplitRookery.start(story);
  const api = story.use(await Api.signIn(parts.url, ADMIN_EMAIL, ADMIN_PASSWORD));
  const fleet = new Fleet(api);
  const { joinCommand } = await fleet.createByocHost('nest');
  const agent = await joinHost(story, 'nest', joinCommand);
  await fleet.waitUntilWell({ hosts: ['nest'], sandboxes: [] });
  const processes = [parts.control, parts.gateway, agent.process];
  const pids = async () => (await Promise.all(processes.map((part) => part.members()))).flat().map(({ pid }) => pid);
  return { api, fleet, agent, pids };
}

describe.each([
  ['embedded', embedded],
  ['split', split],
] as const)('streamed commands, %s', (_mode, start) => {
  const story = new Story();
  let running: Running;
  let sandboxId: string;

  it('hands out every byte of both streams in order, and then how the command ended', async () => {
    running = await start(story);
    sandboxId = (await running.fleet.createSandbox('box')).id;
    const script = 'head -c 30000000 /dev/urandom > /tmp/r; sha256sum < /tmp/r >&2; cat /tmp/r; rm /tmp/r; exit 5';
    using stream = new ExecStream(running.api, sandboxId, script);
    expect(await stream.ended).toMatchObject({ __typename: 'ExecExited', exitCode: 5 });
    const sum = createHash('sha256').update(Buffer.concat(stream.out.STDOUT)).digest('hex');
    expect(Buffer.concat(stream.out.STDERR).toString()).toBe(`${sum}  -\n`);
  });

  it('slows a command down to the pace of its reader, with memory bounded in every process', async () => {
    const { fleet, api, pids } = running;
    const memoryBefore = await memoryMib(await pids());
    using stream = new ExecStream(api, sandboxId, ENDLESS);
    await vi.waitFor(() => expect(stream.received).toBeGreaterThan(20 * MIB), DEADLINE_MS);
    stream.stopReading();
    const stopped = await settledProgress();
    expect(stopped - stream.received / MIB).toBeLessThan(MOST_AHEAD_MIB);
    expect((await memoryMib(await pids())) - memoryBefore).toBeLessThan(MOST_MEMORY_MIB);

    stream.readOn();
    await vi.waitFor(async () => expect(await progress()).toBeGreaterThan(stopped + 20), DEADLINE_MS);
    stream.cancel();
    await vi.waitFor(
      async () => expect(await fleet.shell(sandboxId, 'pgrep -c head || true')).toBe('0\n'),
      DEADLINE_MS,
    );
  });

  it.each([
    ['its subscription is cancelled', (stream: ExecStream) => stream.cancel()],
    ['its reader disappears', (stream: ExecStream) => stream[Symbol.dispose]()],
    [
      'its reader disappears without having read',
      (stream: ExecStream) => {
        stream.stopReading();
        stream[Symbol.dispose]();
      },
    ],
  ])('kills a command and all it has started when %s', async (_how, leave) => {
    using stream = new ExecStream(running.api, sandboxId, '(setsid sleep 4711 &); yes & echo up; sleep 4711');
    await vi.waitFor(() => expect(stream.received).toBeGreaterThan(MIB), DEADLINE_MS);
    leave(stream);
    const left = () => running.fleet.shell(sandboxId, 'pgrep -cf "^(yes|sleep 4711)" || true');
    await vi.waitFor(async () => expect(await left()).toBe('0\n'), DEADLINE_MS);
  });

  it('has other commands in the sandbox at the usual pace while one is held back', async () => {
    using stream = new ExecStream(running.api, sandboxId, ENDLESS);
    await vi.waitFor(() => expect(stream.received).toBeGreaterThan(MIB), DEADLINE_MS);
    stream.stopReading();
    await settledProgress();
    expect(await running.fleet.shell(sandboxId, 'echo free')).toBe('free\n');
    using other = new ExecStream(running.api, sandboxId, 'head -c 5000000 /dev/zero');
    expect(await other.ended).toMatchObject({ __typename: 'ExecExited', exitCode: 0 });
    expect(other.received).toBe(5_000_000);
  });

  it('says why there is nothing to stream', async () => {
    const { api, fleet } = running;
    using nowhere = new ExecStream(api, Buffer.from('Sandbox:nope').toString('base64'), 'true');
    expect(await nowhere.ended).toMatchObject({ __typename: 'NotFound', code: 'NOT_FOUND' });
    await fleet.destroySandbox(sandboxId);
  });

  const progress = async (): Promise<number> => Number(await running.fleet.shell(sandboxId, 'cat /tmp/progress'));

  /** How far the command has come once it comes no further. */
  async function settledProgress(): Promise<number> {
    let last = Number.NaN;
    await vi.waitFor(
      async () => {
        const before = last;
        last = await progress();
        expect(last).toBe(before);
      },
      { interval: 1_000, timeout: DEADLINE_MS },
    );
    return last;
  }
});

/** What processes hold in memory, in MiB. */
async function memoryMib(pids: readonly number[]): Promise<number> {
  const sizes = await Promise.all(
    pids.map(async (pid) => {
      const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
      return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
    }),
  );
  return sizes.reduce((sum, kib) => sum + kib, 0) / 1024;
}
