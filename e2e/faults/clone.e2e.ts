import { beforeAll, describe, expect, it } from 'vitest';
import { containersOf } from '../support/machine.ts';
import { Story } from '../support/story.ts';
import { Site, until, type HostView } from './site.ts';

describe('a state directory that was copied', () => {
  const story = new Story();
  let site: Site;
  beforeAll(async () => {
    site = await Site.start(story);
  });

  const isQuarantined = (host: HostView): boolean =>
    host.conditions.some(({ type }) => type === 'CREDENTIALS_CLONED') && !host.schedulable;

  it.each([
    ['to another machine', 'elsewhere', { ROOKERY_AGENT_MACHINE_ID: 'machine-b' }, 'SECOND_MACHINE'],
    ['together with the machine’s id', 'twin', {}, 'REFRESH_REUSED'],
  ])('%s is noticed; the owner sees both and decides', async (_how, name, copySettings, cause) => {
    const original = await site.machine(`${name}-original`);
    const copy = await site.machine(`${name}-copy`);
    const host = await site.hostOn(original, name);
    const sandbox = await site.fleet.createSandbox(`box-${name}`, host.id);
    await until(async () => expect(await site.fleet.shell(sandbox.id, 'echo kept > /root/note')).toBe(''));

    await original.copyIdentityTo(copy);
    copy.run(copySettings);
    await until(async () => expect(isQuarantined(await site.host(host.id))).toBe(true));
    const { credentials } = await site.host(host.id);
    expect(credentials).toMatchObject({ state: 'CLONED', quarantineCause: cause });
    expect(credentials.holders).toHaveLength(2);
    for (const holder of credentials.holders)
      expect(holder).toMatchObject({ address: expect.stringContaining('127.0.0.1'), bootId: expect.any(String) });
    if (cause === 'SECOND_MACHINE')
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
