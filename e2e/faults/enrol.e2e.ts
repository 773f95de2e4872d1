import { beforeAll, describe, expect, it } from 'vitest';
import { Story } from '../support/story.ts';
import { Site, until } from './site.ts';

describe('registering, while things go wrong', () => {
  const story = new Story();
  let site: Site;
  beforeAll(async () => {
    site = await Site.start(story);
  });

  it('is repeated until an answer arrives, and makes one host of it', async () => {
    const { host, registrationToken } = await site.fleet.createByocHost('lost-answer');
    const lost = site.proxy.fault({ kind: 'drop-response' }, 'RegisterHost', 3);
    const machine = await site.machine('lost-answer');
    machine.join(registrationToken);
    await machine.agent.waitForOutput(/Registered as host lost-answer/, 20_000);
    await site.untilOnline(host.id);
    expect(lost.hits).toBe(3);
    expect(await site.events(host.id)).toEqual(['host.created', 'host.registered']);
    await machine.agent.stop();
  });

  it('survives control’s death before its commit', async () => {
    const { host, registrationToken } = await site.fleet.createByocHost('before-commit');
    const machine = await site.machine('before-commit');
    const blocker = await site.connection();
    await blocker.query('begin');
    await blocker.query(`select 1 from hosts where name = 'before-commit' for update`);
    machine.join(registrationToken);
    await until(async () =>
      expect(
        await site.sql(`select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%hosts%'`),
      ).not.toEqual([]),
    );
    await site.killControl();
    await blocker.query('rollback');
    await blocker.end();
    expect(await site.events(host.id)).toEqual(['host.created']);
    await site.startControl();
    await untilJoined(machine, registrationToken, /Registered as host before-commit/);
    await site.untilOnline(host.id);
    expect(await site.events(host.id)).toEqual(['host.created', 'host.registered']);
    await machine.agent.stop();
  });

  it('survives control’s death after its commit, before its answer', async () => {
    const { host, registrationToken } = await site.fleet.createByocHost('after-commit');
    const machine = await site.machine('after-commit');
    const held = site.proxy.fault({ kind: 'hold-response' }, 'RegisterHost', 1);
    machine.join(registrationToken);
    await held.reached(1);
    expect(await site.events(host.id)).toEqual(['host.created', 'host.registered']);
    await site.killControl();
    held.drop();
    await site.startControl();
    await untilJoined(machine, registrationToken, /Registered as host after-commit/);
    await site.untilOnline(host.id);
    expect(await site.events(host.id)).toEqual(['host.created', 'host.registered']);
    await machine.agent.stop();
  });

  it('lets in one of two machines that have the same token, and tells the other one and the owner', async () => {
    const { host, registrationToken } = await site.fleet.createByocHost('raced-for');
    const machines = await Promise.all(['racer-a', 'racer-b'].map((name) => site.machine(name)));
    for (const machine of machines) machine.join(registrationToken);
    const loser = await Promise.race(
      machines.map(async (machine) => {
        await machine.agent.exited;
        return machine;
      }),
    );
    expect(await loser.agent.closed).toMatchObject({ code: 1 });
    expect(loser.agent.stderr).toContain(
      'The control plane refused to register this host: The token was already used.',
    );
    await site.untilOnline(host.id);
    expect(await site.events(host.id)).toEqual(['host.created', 'host.registered', 'host.registration_refused']);
    const winner = machines.find((machine) => machine !== loser);
    expect((await site.host(host.id)).credentials).toMatchObject({ state: 'WORKING' });
    await winner?.agent.stop();
  });

  /** A person waits ten seconds for a first join; where control takes longer to come back, they type it again. */
  async function untilJoined(machine: Awaited<ReturnType<Site['machine']>>, token: string, said: RegExp) {
    await machine.agent.waitForOutput(said, 30_000).catch(async () => {
      machine.join(token);
      await machine.agent.waitForOutput(said, 30_000);
    });
  }
});
