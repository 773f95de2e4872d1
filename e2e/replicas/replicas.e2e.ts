import { describe, expect, it, vi } from 'vitest';
import { joinHost } from '../support/agent.ts';
import { Api } from '../support/api.ts';
import { ExecStream } from '../support/exec-stream.ts';
import { Fleet } from '../support/fleet.ts';
import { ADMIN_EMAIL } from '../support/rookery.ts';
import { ADMIN_PASSWORD, SplitRookery, type ControlReplica } from '../support/split.ts';
import { Story } from '../support/story.ts';

const DEADLINE_MS = 60_000;

/** How long the loss of a replica may stay unnoticed, in ms: a ping and its answer, and some patience with this machine. */
const NOTICED_MS = 30_000;

describe('two control processes on one database: the gateway asks one, the host is connected to the other', () => {
  const story = new Story();
  let split: SplitRookery;
  let owner: ControlReplica;
  let api: Api;
  let fleet: Fleet;
  let sandboxId: string;

  const exec = (script: string) =>
    api.request<{ execInSandbox: { __typename: string; code?: string; stdout?: string } }>(
      `mutation ($input: ExecInSandboxInput!) { execInSandbox(input: $input) {
        __typename ... on ExecCompleted { stdout } ... on UserError { code }
      } }`,
      { input: { sandboxId, command: ['sh', '-c', script] } },
    );

  it('starts a sandbox and runs commands in it through both', async () => {
    split = await SplitRookery.start(story);
    owner = await split.startReplica();
    api = story.use(await Api.signIn(split.url, ADMIN_EMAIL, ADMIN_PASSWORD));
    fleet = new Fleet(api);
    const { joinCommand } = await fleet.createByocHost('nest');
    await joinHost(story, 'nest', joinCommand.replaceAll(split.agentUrl, owner.agentUrl));
    await fleet.waitUntilWell({ hosts: ['nest'], sandboxes: [] });
    sandboxId = (await fleet.createSandbox('box')).id;
    expect(await fleet.shell(sandboxId, 'echo kept | tee /root/note')).toBe('kept\n');
    using stream = new ExecStream(api, sandboxId, 'head -c 10000000 /dev/zero; exit 3');
    expect(await stream.ended).toMatchObject({ __typename: 'ExecExited', exitCode: 3 });
    expect(stream.received).toBe(10_000_000);
  });

  it.each([
    ['is killed', 'SIGKILL'],
    ['is stopped in its tracks', 'SIGSTOP'],
  ] as const)(
    'says that the host is unavailable when the one in between %s, and hangs on nothing',
    async (_how, signal) => {
      using stream = new ExecStream(api, sandboxId, 'echo up; sleep 600');
      await vi.waitFor(() => expect(stream.received).toBeGreaterThan(0), DEADLINE_MS);
      const collecting = exec('echo up; sleep 100');
      const lostAt = Date.now();
      owner.process.signal(signal);
      expect(await stream.ended).toMatchObject({ __typename: 'HostUnavailable', code: 'HOST_UNAVAILABLE' });
      expect(await collecting).toMatchObject({ execInSandbox: { code: 'HOST_UNAVAILABLE' } });
      expect(await exec('true')).toMatchObject({ execInSandbox: { code: 'HOST_UNAVAILABLE' } });
      expect(Date.now() - lostAt).toBeLessThan(NOTICED_MS);

      if (signal === 'SIGSTOP') owner.process.signal('SIGCONT');
      else owner = await split.startReplica(owner.ports);
      await fleet.waitUntilWell({ hosts: ['nest'], sandboxes: ['box'] });
      const note = await vi.waitFor(() => fleet.shell(sandboxId, 'cat /root/note'), DEADLINE_MS);
      expect(note).toBe('kept\n');
      // What nobody was listening to any more was not left running.
      await vi.waitFor(
        async () => expect(await fleet.shell(sandboxId, 'pgrep -cf "^sleep (600|100)$" || true')).toBe('0\n'),
        DEADLINE_MS,
      );
    },
  );

  it('takes both away cleanly', async () => {
    await fleet.destroySandbox(sandboxId);
    expect(await owner.process.stop('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(await split.control.stop('SIGTERM')).toEqual({ code: 0, signal: null });
  });
});
