import { CloseCode } from '@rookery/wire/close-codes.ts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createTestDatabase, newAdmin, startTestControl } from '../../../test/harness.ts';
import { exit, output, ScriptedAgent } from '../../../test/scripted-agent.ts';
import type { Control } from '../../app.ts';
import type { FleetTables } from '../tables.ts';

const DEADLINE_MS = 20_000;

/** Two control processes on one database, and agents that dial either. */
describe('a second agent of a host', () => {
  const admin = newAdmin();
  const agents: ScriptedAgent[] = [];
  let here: Control;
  let there: Control;
  let original: ScriptedAgent;
  let sandboxId: string;

  const using = <T extends ScriptedAgent>(agent: T): T => {
    agents.push(agent);
    return agent;
  };
  const tables = () => here.database.as<FleetTables & { Team: { id: string } }>().query;
  const host = async () =>
    tables().selectFrom('Host').selectAll().where('id', '=', original.hostId).executeTakeFirstOrThrow();
  const status = async () =>
    (await tables().selectFrom('Sandbox').select('status').where('id', '=', sandboxId).executeTakeFirstOrThrow())
      .status;
  const until = (condition: () => Promise<void>) => vi.waitFor(condition, { timeout: DEADLINE_MS, interval: 50 });
  const tunnelIsUp = () => until(async () => expect((await host()).tunnelReplica).not.toBeNull());

  beforeAll(async () => {
    const databaseUrl = await createTestDatabase();
    here = await startTestControl({}, databaseUrl, true);
    there = await startTestControl({}, databaseUrl, true);
  });
  afterAll(async () => {
    await here[Symbol.asyncDispose]();
    await there[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    const { registrationToken } = await here.fleet.services.hosts.createLocal(`scripted-${agents.length}`);
    original = using(await ScriptedAgent.join(here.agentUrl, registrationToken));
    await tunnelIsUp();
    const { id: teamId } = await tables().selectFrom('Team').select('id').executeTakeFirstOrThrow();
    const { sandbox } = await here.fleet.services.sandboxes.create(admin, { teamId, hostId: original.hostId });
    sandboxId = sandbox.id;
    await until(async () => expect(await status()).toBe('RUNNING'));
  });
  afterEach(async () => {
    for (const agent of agents) agent.hangUp();
  });

  it.each([
    ['the replica that the first is connected to', () => here],
    ['another replica', () => there],
  ])('that dials %s gets no tunnel while the first one is there, and nor does that one then', async (_where, where) => {
    const closed = original.closed();
    const copy = using(original.copy());
    await copy.dial(where().agentUrl);
    expect(await Promise.all([copy.closed(), closed])).toEqual([CloseCode.SecondAgent, CloseCode.SecondAgent]);
    expect(await host()).toMatchObject({ tunnelReplica: null, quarantinedAt: expect.any(Date) });
    const [view] = await here.fleet.services.hostTokens.views(admin, [await host()]);
    const holder = { address: expect.stringContaining('127.0.0.1'), bootId: 'boot-1' };
    expect(view).toMatchObject({ state: 'CLONED', quarantineCause: 'SECOND_AGENT', holders: [holder, holder] });

    for (const agent of [original, copy]) {
      await expect(agent.dial()).rejects.toThrow('403');
      // Its lease goes on; of sandboxes it is not asked, and not believed.
      expect((await agent.beat('other')).result.data).toMatchObject({ heartbeat: { wantInventory: false } });
      expect((await agent.report(true, [])).result.errors).toMatchObject([{ extensions: { code: 'CONFLICT' } }]);
    }
    expect(await status()).toBe('RUNNING');

    const { registrationToken } = await here.fleet.services.hostTokens.regenerate(admin, {
      hostId: original.hostId,
      replaceCredentials: false,
      resolveQuarantine: true,
    });
    const rejoined = using(await original.rejoin(registrationToken));
    rejoined.onExec = () => [output('well'), exit(0)].values() as never;
    await rejoined.beat();
    await rejoined.dial();
    await tunnelIsUp();
    expect(await status()).toBe('RUNNING');
    expect(await there.fleet.services.exec.run(admin, sandboxId, { command: ['it'] })).toMatchObject({
      stdout: 'well',
    });
    await expect(copy.dial()).rejects.toThrow('401');
  });

  it('is not believed of sandboxes while the first one is connected, before it has dialled anything', async () => {
    const copy = original.copy();
    copy.epoch = 1_000_000;
    expect((await copy.beat('other')).result.data).toMatchObject({ heartbeat: { wantInventory: false } });
    expect((await copy.report(true, [])).result.errors).toMatchObject([{ extensions: { code: 'CONFLICT' } }]);
    expect(await status()).toBe('RUNNING');
    expect((await original.report(true)).result.errors).toBeUndefined();
  });

  it('takes the place of one whose process has ended, at once and on any replica', async () => {
    original.hangUp();
    const restarted = using(original.copy());
    restarted.sandboxes.set(sandboxId, original.sandboxes.get(sandboxId) as never);
    await restarted.dial(there.agentUrl);
    await until(async () => expect((await host()).tunnelReplica).toBe(there.replicaId));
    expect((await host()).quarantinedAt).toBeNull();
    // The same process on another replica: it need not be asked whether it is there.
    await restarted.dial(here.agentUrl);
    await until(async () => expect((await host()).tunnelReplica).toBe(here.replicaId));
    await until(async () => expect(there.fleet.tunnels.get(original.hostId)).toBeUndefined());
    expect(await host()).toMatchObject({ quarantinedAt: null, tunnelReplica: here.replicaId });
    expect(await status()).toBe('RUNNING');
  });

  it('is not needed to keep sandboxes away from a host whose socket has closed', async () => {
    const { id: teamId } = await tables().selectFrom('Team').select('id').executeTakeFirstOrThrow();
    // On the other replica, and with no periodic pass that would find it out: this one lives.
    const create = () => there.fleet.services.sandboxes.create(admin, { teamId, hostId: original.hostId });
    await expect(create()).resolves.toMatchObject({ sandbox: { hostId: original.hostId } });
    original.hangUp();
    await until(() => expect(create()).rejects.toThrow(/tunnel down/));
    await original.dial();
    await tunnelIsUp();
    await expect(create()).resolves.toMatchObject({ sandbox: { hostId: original.hostId } });
  });

  it('is the host when its owner has said so by a token, although the first is still connected elsewhere', async () => {
    const { registrationToken } = await here.fleet.services.hostTokens.regenerate(admin, {
      hostId: original.hostId,
      replaceCredentials: true,
      resolveQuarantine: false,
    });
    const closed = original.closed();
    // The replica that is asked to register it does not hold the tunnel of the first.
    const recovered = using(await original.rejoin(registrationToken, there.agentUrl));
    await recovered.dial(there.agentUrl);
    await until(async () => expect((await host()).tunnelReplica).toBe(there.replicaId));
    // By the registration or by the new tunnel, whichever its replica sees first.
    expect([CloseCode.Unauthorized, CloseCode.TunnelSuperseded]).toContain(await closed);
    expect(await host()).toMatchObject({ quarantinedAt: null, tunnelReplica: there.replicaId });
  });
});
