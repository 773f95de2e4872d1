import { describe, expect, it, vi } from 'vitest';
import { joinHost, type TestAgent } from '../support/agent.ts';
import { Api } from '../support/api.ts';
import { Fleet, type HostState, type SandboxState } from '../support/fleet.ts';
import { containersOf } from '../support/machine.ts';
import { cleanEnvironment, type TestProcess } from '../support/process.ts';
import { ADMIN_EMAIL } from '../support/rookery.ts';
import { ADMIN_PASSWORD, SplitRookery } from '../support/split.ts';
import { Story } from '../support/story.ts';

const DEADLINE_MS = 30_000;

describe('a machine that joins by the command that createHost prints, and leaves again', () => {
  const story = new Story();
  let api: Api;
  let fleet: Fleet;
  let host: HostState;
  let agent: TestAgent;
  let directory: string;
  let sandbox: SandboxState;

  /** The agent that the machine has downloaded, run by the machine's own Node. */
  function command(name: string, script: string): TestProcess {
    const PATH = (process.env['PATH'] ?? '')
      .split(':')
      .filter((entry) => !entry.includes('node_modules'))
      .join(':');
    const env = { ...cleanEnvironment({}), PATH };
    return story.start({ label: name, command: ['bash', '-c', script], cwd: directory, env });
  }
  const agentCommand = (args: string) => command(args, `node rookery-agent.mjs ${args} --state-dir ${agent.stateDir}`);

  const conditions = async () =>
    (
      await api.request<{ host: { status: string; conditions: { type: string }[] } }>(
        'query ($id: ID!) { host(id: $id) { status conditions { type } } }',
        { id: host.id },
      )
    ).host;

  it('says with the command that its address is only this machine’s', async () => {
    const split = await SplitRookery.start(story);
    api = story.use(await Api.signIn(split.url, ADMIN_EMAIL, ADMIN_PASSWORD));
    fleet = new Fleet(api);
    const created = await fleet.createByocHost('nest');
    host = created.host;
    const { createHost } = await api.request<{ createHost: { warnings: { code: string }[] } }>(
      `mutation ($input: CreateHostInput!) { createHost(input: $input) {
        ... on HostCreated { warnings { code } } ... on UserError { message }
      } }`,
      { input: { name: 'another', kind: 'BYOC', teamId: await fleet.teamId() } },
    );
    expect(createHost.warnings).toEqual([{ code: 'AGENT_URL_LOCAL' }]);

    agent = await joinHost(story, 'nest', created.joinCommand);
    directory = agent.stateDir.replace(/\/state$/, '');
    sandbox = await fleet.createSandbox('box', host.id);
    expect(await fleet.shell(sandbox.id, 'echo up')).toBe('up\n');
    // A person at a terminal is told sentences.
    expect(agent.process.stderr).toBe('');
  });

  it('finds the control plane well, and can be made a service', async () => {
    const doctor = agentCommand('doctor');
    expect(await doctor.closed).toMatchObject({ code: 0 });
    expect(doctor.stdout).toMatch(/ok\s+the control plane at http:\/\/127\.0\.0\.1:\d+ answers/);
    const unit = agentCommand('systemd-unit');
    expect(await unit.closed).toMatchObject({ code: 0 });
    expect(unit.stdout).toContain(`${directory}/rookery-agent.mjs run --state-dir ${agent.stateDir}`);
  });

  it('is unreachable at once because it has left, and its sandboxes go on unseen', async () => {
    await agent.process.stop('SIGTERM');
    const leaving = agentCommand('leave');
    expect(await leaving.closed).toMatchObject({ code: 0 });
    // Beside whatever the machine is short of.
    expect(await conditions()).toMatchObject({
      status: 'UNREACHABLE',
      conditions: expect.arrayContaining([{ type: 'LEFT' }]) as unknown,
    });
    expect(await containersOf(agent.stateDir)).toMatchObject([{ status: 'running' }]);
    const status = agentCommand('status');
    await status.closed;
    expect(status.stdout).toContain('not registered');
    await vi.waitFor(async () => expect(await fleet.sandboxes()).toMatchObject([{ name: 'box', status: 'MISSING' }]), {
      timeout: 120_000,
      interval: 1_000,
    });
  });

  it('is deleted by its owner like any host that is away', async () => {
    const preview = await fleet.deleteHost(host.id);
    if (preview.__typename !== 'HostHasSandboxes') expect.fail('there is a sandbox on it');
    expect(await fleet.deleteHost(host.id, { force: true, previewDigest: preview.previewDigest })).toMatchObject({
      __typename: 'HostDeleted',
    });
    await vi.waitFor(async () => expect(await fleet.sandboxes()).toEqual([]), DEADLINE_MS);
  });
});
