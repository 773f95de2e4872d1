import { beforeAll, describe, expect, it } from 'vitest';
import { containersOf } from '../support/machine.ts';
import { Story } from '../support/story.ts';
import { Site, until, type HostView, type Machine } from './site.ts';

describe('a state directory that was copied', () => {
  const story = new Story();
  let site: Site;
  beforeAll(async () => {
    site = await Site.start(story);
  });

  const isQuarantined = (host: HostView): boolean =>
    host.conditions.some(({ type }) => type === 'CREDENTIALS_CLONED') && !host.schedulable;

  it.each([
    ['to another machine', 'elsewhere', { ROOKERY_AGENT_MACHINE_ID: 'machine-b' }],
    ['together with the machine’s id', 'twin', {}],
  ])('%s is noticed; the owner sees both and decides', async (_how, name, copySettings) => {
    const original = await site.machine(`${name}-original`);
    const copy = await site.machine(`${name}-copy`);
    const host = await site.hostOn(original, name);
    const sandbox = await site.fleet.createSandbox(`box-${name}`, host.id);
    await until(async () => expect(await site.fleet.shell(sandbox.id, 'echo kept > /root/note')).toBe(''));

    await original.copyIdentityTo(copy);
    copy.run(copySettings);
    await until(async () => expect(isQuarantined(await site.host(host.id))).toBe(true));
    const { credentials } = await site.host(host.id);
    // Its tunnel gives it away or, of another machine, its first heartbeat, unless one of the two renews before that.
    const causes = ['SECOND_AGENT', 'REFRESH_REUSED'];
    if ('ROOKERY_AGENT_MACHINE_ID' in copySettings) causes.push('SECOND_MACHINE');
    expect(credentials.state).toBe('CLONED');
    expect(causes).toContain(credentials.quarantineCause);
    expect(credentials.holders).toHaveLength(2);
    for (const holder of credentials.holders)
      expect(holder).toMatchObject({ address: expect.stringContaining('127.0.0.1'), bootId: expect.any(String) });
    if ('ROOKERY_AGENT_MACHINE_ID' in copySettings)
      expect(credentials.holders.map(({ machineId }) => machineId)).toContain('machine-b');
    // Sandboxes run on, on whichever of the two they are.
    await until(async () => expect(await original.status()).toMatchObject({ credentialState: 'CLONED' }));
    expect((await containersOf(original.stateDir)).map(({ status }) => status)).toEqual(['running']);

    await copy.agent.stop();
    await original.agent.stop();
    original.join(await site.regenerateToken(host.id, { resolveQuarantine: true }));
    await original.agent.waitForOutput(/Registered again as host/, 20_000);
    await site.untilOnline(host.id);
    expect(isQuarantined(await site.host(host.id))).toBe(false);
    await until(async () => expect(await site.fleet.shell(sandbox.id, 'cat /root/note')).toBe('kept\n'));

    copy.run(copySettings);
    await until(async () => expect(await copy.status()).toMatchObject({ degraded: true, credentialState: 'REFUSED' }));
    await original.untilRenewed(2);
    expect((await site.host(host.id)).credentials).toMatchObject({ state: 'WORKING' });
    await copy.agent.stop();
    await site.fleet.destroySandbox(sandbox.id);
    await original.agent.stop();
  });
});

describe('a copy of a whole machine that is started while the original is connected', () => {
  const story = new Story();

  it('gets no tunnel and is not believed; the original’s sandboxes run on, and a new token brings them back', async () => {
    // Nothing is renewed meanwhile: what finds the copy out is that the original answers.
    const site = await Site.start(story, {
      ROOKERY_HOST_TOKEN_SECONDS: '600',
      // Both agents are stopped for a while; that is not what this is about.
      ROOKERY_UNREACHABLE_AFTER_MS: '45000',
    });
    const original = await site.machine('original');
    const copy = await site.machine('copy');
    const host = await site.hostOn(original, 'nest');
    const sandbox = await site.fleet.createSandbox('box', host.id);
    expect(await site.fleet.shell(sandbox.id, 'echo kept > /root/note')).toBe('');

    await original.copyAllTo(copy);
    copy.run();
    const printed = ({ agent }: Machine): string => agent.stdout + agent.stderr;
    for (const machine of [copy, original])
      await until(() => expect(printed(machine)).toMatch(/a second agent with the identity of this host/));
    const quarantined = await site.host(host.id);
    expect(quarantined).toMatchObject({ status: 'ONLINE', schedulable: false });
    expect(quarantined.credentials).toMatchObject({ state: 'CLONED', quarantineCause: 'SECOND_AGENT' });
    expect(quarantined.credentials.holders).toHaveLength(2);
    for (const machine of [original, copy])
      await until(async () =>
        expect(await machine.status()).toMatchObject({ degraded: true, credentialState: 'CLONED' }),
      );
    expect(printed(copy)).not.toMatch(/Connected\. This host is online\./);
    // Both are heard, so that nothing is taken for lost, and neither is asked what it has.
    await until(async () =>
      expect(((await site.host(host.id)).lastHeartbeatAt ?? '') > (quarantined.lastHeartbeatAt ?? '')).toBe(true),
    );
    expect((await containersOf(original.stateDir)).map(({ status }) => status)).toEqual(['running']);

    await copy.agent.stop();
    await original.agent.stop();
    original.join(await site.regenerateToken(host.id, { resolveQuarantine: true }));
    await site.untilOnline(host.id);
    await until(async () => expect(await site.fleet.shell(sandbox.id, 'cat /root/note')).toBe('kept\n'));
    using stream = site.stream(sandbox.id, 'cat /root/note');
    expect(await stream.ended).toMatchObject({ __typename: 'ExecExited', exitCode: 0 });

    const statuses = await site.statusesOf(sandbox.id);
    for (const status of ['MISSING', 'STOPPED', 'ERROR']) expect(statuses).not.toContain(status);
    await site.fleet.destroySandbox(sandbox.id);
    await original.agent.stop();
  });
});
