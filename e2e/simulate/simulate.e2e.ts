import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { Api } from '../support/api.ts';
import { Fleet } from '../support/fleet.ts';
import { cleanEnvironment, ROOT, type TestProcess } from '../support/process.ts';
import { ADMIN_EMAIL } from '../support/rookery.ts';
import { ADMIN_PASSWORD, SplitRookery } from '../support/split.ts';
import { Story } from '../support/story.ts';

const HOSTS = 25;
const SANDBOXES = 60;
const DEADLINE_MS = 60_000;

describe('a simulated fleet on a real control plane', () => {
  const story = new Story();
  let split: SplitRookery;
  let fleet: Fleet;
  let stateDir: string;
  let tokenFile: string;

  beforeAll(async () => {
    split = await SplitRookery.start(story);
    const api = story.use(await Api.signIn(split.url, ADMIN_EMAIL, ADMIN_PASSWORD));
    fleet = new Fleet(api);
    const directory = await story.directory('simulation');
    stateDir = join(directory, 'state');
    tokenFile = join(directory, 'token');
    await mkdir(stateDir);
    await writeFile(tokenFile, `${api.token}\n`, { mode: 0o600 });
  });

  const simulate = (...options: string[]): TestProcess =>
    story.start({
      label: `simulate ${options.join(' ')}`,
      command: [
        process.execPath,
        'agent/src/main.ts',
        'simulate',
        ...['--url', split.url, '--token-file', tokenFile, '--state-dir', stateDir],
        ...options,
      ],
      cwd: ROOT,
      env: cleanEnvironment({ ROOKERY_LOG_LEVEL: 'error' }),
    });

  let running: TestProcess;

  it('is made through the public API and comes online: one process, many agents', async () => {
    running = simulate('--hosts', String(HOSTS), '--sandboxes', String(SANDBOXES));
    await running.waitForOutput(/The simulation runs: 25 hosts\./, DEADLINE_MS);
    const hosts = await fleet.hosts();
    expect(hosts.map(({ name }) => name).sort()).toEqual(
      Array.from({ length: HOSTS }, (_, index) => `sim-${String(index + 1).padStart(4, '0')}`),
    );
    for (const host of hosts) expect(host).toMatchObject({ kind: 'PLATFORM', status: 'ONLINE', schedulable: true });
  });

  it('runs its sandboxes, and commands in them', async () => {
    await vi.waitFor(
      async () => {
        const { sandboxes, counted } = await fleet.countSandboxes('RUNNING');
        expect(sandboxes).toBe(SANDBOXES);
        expect(counted).toBe(SANDBOXES);
      },
      { timeout: DEADLINE_MS, interval: 200 },
    );
    const [first] = await fleet.sandboxes();
    expect(await fleet.shell(first?.id ?? '', 'hello')).toBe('simulated: hello\n');
  });

  it('goes on as the same fleet when it is started again, and makes nothing twice', async () => {
    expect(await running.stop()).toMatchObject({ code: 0 });
    running = simulate('--hosts', String(HOSTS), '--sandboxes', String(SANDBOXES));
    await running.waitForOutput(/The simulation runs: 25 hosts\./, DEADLINE_MS);
    expect(await fleet.hosts()).toHaveLength(HOSTS);
    expect((await fleet.countSandboxes()).counted).toBe(SANDBOXES);
    expect(await running.stop()).toMatchObject({ code: 0 });
  });

  it('is gone after --cleanup, and a host that only has such a name stays', async () => {
    const real = await fleet.createByocHost('sim-9999');
    const cleaning = simulate('--cleanup');
    expect(await cleaning.closed).toMatchObject({ code: 0 });
    expect(cleaning.stdout).toBe(`Deleted ${HOSTS} simulated hosts.\n`);
    expect(await fleet.hosts()).toEqual([expect.objectContaining({ id: real.host.id })]);
    expect((await fleet.countSandboxes()).counted).toBe(0);
    expect(await readdir(stateDir)).toEqual([]);
  });

  it.each([
    ['without --url', ['--hosts', '1'], /^simulate needs --url/],
    [
      'with a token that nobody knows',
      ['--hosts', '1', '--url', 'URL', '--token-file', '/etc/hostname'],
      /is the token valid\?$/,
    ],
    [
      'with a token file that is not there',
      ['--hosts', '1', '--url', 'URL', '--token-file', '/nope'],
      /cannot be read \(ENOENT\)\.$/,
    ],
    ['with a number that is none', ['--hosts', 'many', '--url', 'URL'], /^--hosts must be a whole number\.$/],
  ])('says why it does not start: %s', async (_case, options, sentence) => {
    const failing = story.start({
      label: `simulate ${options.join(' ')}`,
      command: [
        process.execPath,
        'agent/src/main.ts',
        'simulate',
        ...options.map((text) => (text === 'URL' ? split.url : text)),
      ],
      cwd: ROOT,
      env: cleanEnvironment({ ROOKERY_LOG_LEVEL: 'error', ROOKERY_AGENT_STATE_DIR: stateDir }),
    });
    expect(await failing.closed).toMatchObject({ code: 1 });
    expect(failing.stderr.trimEnd()).toMatch(sentence);
    expect(failing.stderr.trimEnd()).not.toContain('\n');
  });
});
