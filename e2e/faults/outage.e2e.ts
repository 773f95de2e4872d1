import { beforeAll, describe, expect, it } from 'vitest';
import { containersOf } from '../support/machine.ts';
import type { SandboxState } from '../support/fleet.ts';
import { Story } from '../support/story.ts';
import { Site, until, type HostView, type Machine } from './site.ts';

describe('an agent that cannot reach control', () => {
  const story = new Story();
  let site: Site;
  let machine: Machine;
  let host: HostView;
  let sandbox: SandboxState;
  beforeAll(async () => {
    site = await Site.start(story);
    machine = await site.machine('steadfast');
    host = await site.hostOn(machine, 'steadfast');
    sandbox = await site.fleet.createSandbox('box', host.id);
    await until(async () => expect(await site.fleet.shell(sandbox.id, 'echo kept > /root/note')).toBe(''));
  });

  /** Same process, same host, same sandbox, and nobody had to help. */
  async function expectBack(): Promise<void> {
    await site.untilOnline(host.id);
    await until(async () => expect(await site.fleet.shell(sandbox.id, 'cat /root/note')).toBe('kept\n'));
    expect(await site.events(host.id)).toEqual(['host.created', 'host.registered']);
    expect(await machine.status()).toMatchObject({ degraded: false, agentPid: expect.any(Number) });
    expect((await containersOf(machine.stateDir)).map(({ status }) => status)).toEqual(['running']);
  }

  it.each([
    ['404', { status: 404, body: 'not found' }],
    ['502', { status: 502, body: '<html><h1>502 Bad Gateway</h1></html>' }],
    ['a page with status 200', { status: 200, body: '<html>Welcome to the hotel</html>' }],
  ])('keeps its credentials while a proxy answers %s to everything', async (_what, answer) => {
    const { hostId } = await machine.saved();
    const rule = site.proxy.fault({ kind: 'answer', ...answer });
    site.proxy.cut();
    await rule.reached(4);
    expect(await machine.saved()).toMatchObject({ hostId });
    expect(await machine.status()).toMatchObject({ degraded: false });
    site.proxy.heal();
    await expectBack();
  });

  it('waits while control is down for five seconds', async () => {
    await site.killControl();
    const down = Date.now();
    await until(() => expect(Date.now() - down).toBeGreaterThan(5_000));
    await site.startControl();
    await expectBack();
  });

  it('gets through while control is in a restart loop', async () => {
    for (let restart = 0; restart < 2; restart++) {
      await site.killControl();
      await site.startControl();
    }
    await expectBack();
  });

  it('notices connections that are half open, and dials new ones', async () => {
    site.proxy.freeze();
    await expectBack();
  });

  it('comes back after its credentials ended and a new token was made: same host, same sandbox', async () => {
    await site.sql(
      `update refresh_tokens set expires_at = now() where host_id = (select id from hosts where name = $1)`,
      ['steadfast'],
    );
    await until(async () =>
      expect(await machine.status()).toMatchObject({
        degraded: true,
        credentialState: 'REFUSED',
        sandboxes: [{ status: 'PAUSED' }],
      }),
    );
    expect((await containersOf(machine.stateDir)).map(({ status }) => status)).toEqual(['paused']);
    await machine.agent.stop();
    machine.join(await site.regenerateToken(host.id));
    await machine.agent.waitForOutput(/Registered again as host steadfast .*, with its sandboxes\./, 20_000);
    await site.untilOnline(host.id);
    await until(async () => expect(await site.fleet.shell(sandbox.id, 'cat /root/note')).toBe('kept\n'));
    expect((await machine.saved()).hostId).toBeTruthy();
    expect(await site.events(host.id)).toEqual([
      'host.created',
      'host.registered',
      'host.token_regenerated',
      'host.recovered',
    ]);
    expect(await machine.status()).toMatchObject({ degraded: false });
  });

  it('believes that its host was deleted when control has signed it, and not before', async () => {
    // Deleted while the agent cannot hear of it.
    const lost = site.proxy.fault({ kind: 'answer', status: 410, body: 'HOST_DELETED' });
    site.proxy.cut();
    await lost.reached(2);
    const preview = await site.fleet.deleteHost(host.id);
    if (preview.__typename !== 'HostHasSandboxes') expect.fail(JSON.stringify(preview));
    await site.fleet.deleteHost(host.id, { force: true, previewDigest: preview.previewDigest });
    expect(await containersOf(machine.stateDir)).toHaveLength(1);
    await machine.saved();
    site.proxy.heal();
    await machine.agent.waitForOutput(/This host was deleted: its sandboxes are removed/, 20_000);
    expect(await machine.agent.exited).toMatchObject({ code: 0 });
    expect(await machine.status()).toMatchObject({ registered: false, sandboxes: [] });
    expect(await containersOf(machine.stateDir)).toEqual([]);
  });
});
