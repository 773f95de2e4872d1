import { PushIterator } from '@rookery/wire/push-iterator.ts';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { createTestDatabase, newAdmin, startTestControl } from '../../../test/harness.ts';
import { exit, output, ScriptedAgent, type ScriptedExecEvent } from '../../../test/scripted-agent.ts';
import type { Control } from '../../app.ts';
import { SigningKeys } from '../../kernel/signing-keys.ts';
import type { ExecStreamItem } from '../sandboxes/exec.service.ts';
import type { FleetTables } from '../tables.ts';
import { PEER_PATH, PEER_TOKEN } from './peer-server.ts';

/** Two control processes on one database; the host's agent is connected to the first. */
describe('replicas that reach hosts through each other', () => {
  const admin = newAdmin();
  let databaseUrl: string;
  let owner: Control;
  let other: Control;
  let agent: ScriptedAgent;
  let sandboxId: string;

  const startReplica = () => startTestControl({}, databaseUrl, true);
  const tables = () => other.database.as<FleetTables & { Team: { id: string } }>().query;

  beforeAll(async () => {
    databaseUrl = await createTestDatabase();
    other = await startReplica();
  });
  afterAll(async () => {
    await other[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    owner = await startReplica();
    const { registrationToken } = await owner.fleet.services.hosts.createLocal(`scripted-${owner.replicaId}`);
    agent = await ScriptedAgent.join(owner.agentUrl, registrationToken);
    await tunnelIs(owner.replicaId);
    const { id: teamId } = await tables().selectFrom('Team').select('id').executeTakeFirstOrThrow();
    // Asked of the replica that does not hold the tunnel.
    const { sandbox } = await other.fleet.services.sandboxes.create(admin, { teamId, hostId: agent.hostId });
    sandboxId = sandbox.id;
    // Sooner than the next pass of the one that is connected.
    await vi.waitFor(async () => expect(await statusOf(sandboxId)).toBe('RUNNING'), 8_000);
  });
  afterEach(async () => {
    await agent[Symbol.asyncDispose]();
    await owner[Symbol.asyncDispose]();
  });

  const statusOf = async (id: string) =>
    (await tables().selectFrom('Sandbox').select('status').where('id', '=', id).executeTakeFirst())?.status;

  async function tunnelIs(tunnelReplica: string | null): Promise<void> {
    await vi.waitFor(
      async () =>
        expect(await other.fleet.services.hosts.findForControl(agent.hostId)).toMatchObject({ tunnelReplica }),
      10_000,
    );
  }

  const run = (control = other) => control.fleet.services.exec.run(admin, sandboxId, { command: ['it'] });
  const stream = () => other.fleet.services.exec.stream(admin, sandboxId, { command: ['it'] });
  const prints = (...events: ScriptedExecEvent[]): void => {
    agent.onExec = () => events.values() as never;
  };

  it('start a sandbox at once by way of the one that is connected, without waiting for its next pass', async () => {
    expect(agent.applied).toMatchObject([{ spec: { id: sandboxId } }]);
    expect(other.fleet.tunnels.get(agent.hostId)).toBeUndefined();
    expect(other.fleet.tunnels.provenHostIds).toEqual([]);
  });

  it('run and stream commands, fail as the host fails, and remove sandboxes', async () => {
    prints(output('through'), exit(0));
    expect(await run()).toMatchObject({ stdout: 'through', exitCode: 0 });
    expect(await run(owner)).toMatchObject({ stdout: 'through', exitCode: 0 });
    const big = Buffer.alloc(1_000_000, 'x');
    const pieces = Array.from({ length: 40 }, () => output(big.subarray(0, 25_000)));
    prints(...pieces, exit(0));
    let received = 0;
    for await (const item of await stream()) {
      if ('data' in item) received += item.data.length;
    }
    expect(received).toBe(1_000_000);
    await other.fleet.services.sandboxes.destroy(admin, sandboxId);
    await vi.waitFor(() => expect(agent.removed).toMatchObject([{ id: sandboxId }]), 10_000);
  });

  it('kill a command whose reader leaves', async () => {
    let cancelled = false;
    const events = new PushIterator<ScriptedExecEvent>(() => void (cancelled = true));
    events.push(output('up'));
    agent.onExec = () => events;
    const reading = await stream();
    await reading.next();
    await reading.return?.();
    await vi.waitFor(() => expect(cancelled).toBe(true), 10_000);
  });

  it('pass acknowledgements on, so that a slow reader slows the command down here too', async () => {
    let sent = 0;
    agent.onExec = () => ({
      next: async () => {
        sent += 8_192;
        if (sent > 200_000) await new Promise(() => {});
        return { done: false, value: output(Buffer.alloc(8_192)) };
      },
    });
    const reading = await stream();
    for (let read = 0; read < 20; read++) await reading.next();
    await vi.waitFor(
      () => expect(agent.acknowledged.at(-1)?.consumedBytes).toBeGreaterThan(20 * 8_192 - 128 * 1024),
      10_000,
    );
    await reading.return?.();
  });

  it.each([
    ['stops', () => owner[Symbol.asyncDispose]()],
    ['loses the tunnel', async () => agent.hangUp()],
  ])('say that the host was lost when the replica in between %s, and hang on nothing', async (_how, lose) => {
    const events = new PushIterator<ScriptedExecEvent>();
    events.push(output('up'));
    agent.onExec = () => events;
    const reading = await stream();
    expect(await reading.next()).toMatchObject({ value: { kind: 'STDOUT' } });
    const collecting = run().catch((error: unknown) => error);
    await lose();
    const items: ExecStreamItem[] = [];
    for await (const item of reading) items.push(item);
    expect(items).toMatchObject([{ code: 'HOST_UNAVAILABLE' }]);
    expect(await collecting).toMatchObject({ code: 'HOST_UNAVAILABLE' });
    await tunnelIs(null);
    await expect(run()).rejects.toMatchObject({ code: 'HOST_UNAVAILABLE' });
  });

  it('go on through the next replica that the agent dials', async () => {
    prints(output('one'), exit(0));
    await run();
    agent.hangUp();
    await tunnelIs(null);
    const third = await startReplica();
    try {
      await agent.dial(third.agentUrl);
      await tunnelIs(third.replicaId);
      prints(output('two'), exit(0));
      expect(await vi.waitFor(() => run(), 10_000)).toMatchObject({ stdout: 'two' });
      expect(await vi.waitFor(() => run(owner), 10_000)).toMatchObject({ stdout: 'two' });
    } finally {
      agent.hangUp();
      await third[Symbol.asyncDispose]();
    }
  });

  it('give up on a replica that takes connections and says nothing', async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    const replica = '00000000-0000-7000-8000-000000000001';
    const values = { id: replica, address: `http://127.0.0.1:${port}`, startedAt: new Date(), seenAt: new Date() };
    await tables()
      .insertInto('Replica')
      .values(values as never)
      .execute();
    agent.hangUp();
    await tunnelIs(null);
    await tables().updateTable('Host').set({ tunnelReplica: replica }).where('id', '=', agent.hostId).execute();
    try {
      await expect(run()).rejects.toMatchObject({ code: 'HOST_UNAVAILABLE' });
    } finally {
      for (const socket of sockets) socket.destroy();
      silent.close();
    }
  });

  it('let go of a host that another one deletes', async () => {
    prints(exit(0));
    await run();
    const socket = await agent.dial();
    const closed = new Promise<number>((resolve) => socket.once('close', resolve));
    const { previewDigest } = await other.fleet.services.deletion.preview(agent.hostId);
    await other.fleet.services.deletion.delete(admin, agent.hostId, true, previewDigest);
    expect(await closed).toBe(4410);
    await vi.waitFor(() => expect(owner.fleet.tunnels.get(agent.hostId)).toBeUndefined(), 10_000);
    expect(await other.fleet.tunnels.find(agent.hostId)).toBeUndefined();
  });

  it('let nobody in but each other', async () => {
    const url = `ws://127.0.0.1:${owner.subgraphPort}${PEER_PATH}`;
    const keys = new SigningKeys(other.database);
    const sign = (replicaId: string) =>
      keys.sign('HOST', PEER_TOKEN.type, PEER_TOKEN.audience(replicaId), 60, { sub: other.replicaId });
    expect(await upgradeStatus(`${url}${agent.hostId}`)).toBe(401);
    expect(await upgradeStatus(`${url}${agent.hostId}`, 'garbage')).toBe(401);
    // A host's own token is signed with the same key.
    expect(await upgradeStatus(`${url}${agent.hostId}`, agent.accessToken)).toBe(401);
    expect(await upgradeStatus(`${url}${agent.hostId}`, await sign(other.replicaId))).toBe(401);
    expect(await upgradeStatus(`${url}${agent.hostId}`, await sign(owner.replicaId))).toBe(101);
    expect(await upgradeStatus(`${url}00000000-0000-0000-0000-000000000001`, await sign(owner.replicaId))).toBe(404);
    expect(await upgradeStatus(`${url}not-an-id`, await sign(owner.replicaId))).toBe(404);
  });
});

/** HTTP status with which an upgrade is answered. */
async function upgradeStatus(url: string, token?: string): Promise<number> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const socket = new WebSocket(url, 'graphql-transport-ws', { headers });
  return new Promise((resolve, reject) => {
    socket.once('open', () => {
      socket.close();
      resolve(101);
    });
    socket.once('unexpected-response', (request, response) => {
      request.destroy();
      resolve(response.statusCode ?? 0);
    });
    socket.on('error', reject);
  });
}
