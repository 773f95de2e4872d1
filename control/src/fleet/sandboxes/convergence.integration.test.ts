import { inventoryDigest } from '@rookery/wire/inventory-digest.ts';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { newAdmin, startTestControl } from '../../../test/harness.ts';
import { callChannel, heartbeat, running, ScriptedAgent } from '../../../test/scripted-agent.ts';
import type { Control } from '../../app.ts';
import type { SandboxRow } from '../tables.ts';

let control: Control;
let agent: ScriptedAgent;
const admin = newAdmin();

beforeEach(async () => {
  control = await startTestControl();
  const { registrationToken } = await control.fleet.services.hosts.createLocal('scripted');
  agent = await ScriptedAgent.join(control.agentUrl, registrationToken);
  await hostIs({ status: 'ONLINE', tunnelReplica: expect.any(String) as string });
});
afterEach(async () => {
  await agent[Symbol.asyncDispose]();
  await control[Symbol.asyncDispose]();
});

async function hostIs(expected: object): Promise<void> {
  await vi.waitFor(
    async () => expect(await control.fleet.services.hosts.findForControl(agent.hostId)).toMatchObject(expected),
    { timeout: 5_000 },
  );
}

async function teamId(): Promise<string> {
  const { rows } = await query('select id from teams limit 1');
  return (rows[0] as { id: string }).id;
}

async function query(sql: string) {
  const client = new pg.Client({ connectionString: control.database.url });
  await client.connect();
  try {
    return await client.query(sql);
  } finally {
    await client.end();
  }
}

async function create(input: object = {}): Promise<SandboxRow> {
  return (await control.fleet.services.sandboxes.create(admin, { teamId: await teamId(), ...input })).sandbox;
}

/** The row whatever became of it. */
async function rowOf(id: string) {
  const { rows } = await query(
    `select status, status_reason, generation, observed_generation, holds_reservation, deleted_at from sandboxes where id = '${id}'`,
  );
  return rows[0] as {
    status: string;
    status_reason: string | null;
    generation: number;
    holds_reservation: boolean;
    deleted_at: Date | null;
  };
}

async function becomes(id: string, expected: object): Promise<void> {
  await vi.waitFor(async () => expect(await rowOf(id)).toMatchObject(expected), { timeout: 5_000 });
}

async function created(): Promise<SandboxRow> {
  const sandbox = await create();
  await becomes(sandbox.id, { status: 'RUNNING' });
  return sandbox;
}

async function reconnect(): Promise<void> {
  agent.hangUp();
  await hostIs({ tunnelReplica: null });
  await agent.dial();
  await hostIs({ tunnelReplica: expect.any(String) as string });
}

describe('a sandbox that was created', () => {
  test('is applied with its spec and runs', async () => {
    const sandbox = await create({ vcpus: 0.5, memoryMb: 64, diskMb: 128, name: 'box' });
    await becomes(sandbox.id, { status: 'RUNNING', holds_reservation: true });
    expect(agent.applied).toEqual([
      {
        spec: {
          id: sandbox.id,
          name: 'box',
          template: 'host',
          vcpus: 0.5,
          memoryMb: 64,
          diskMb: 128,
          timeoutSeconds: null,
          desiredState: 'RUNNING',
        },
        generation: 1,
      },
    ]);
    await hostIs({ allocatedSandboxes: 1, allocatedMilliVcpus: 500, allocatedMemoryMb: 64, allocatedDiskMb: 128 });
  });

  test('and fails on its host is in ERROR with the host’s words, and gives its reservation back', async () => {
    agent.onApply = (spec, generation) => ({
      ...running(spec.id, generation),
      status: 'ERROR',
      statusReason: 'The disk is full.',
    });
    const sandbox = await create();
    await becomes(sandbox.id, { status: 'ERROR', status_reason: 'The disk is full.', holds_reservation: false });
    await hostIs({ allocatedSandboxes: 0, allocatedMemoryMb: 0 });
  });

  test('while the tunnel breaks is applied when the host is back', async () => {
    agent.onApply = () => {
      agent.hangUp();
      return new Promise(() => {});
    };
    const sandbox = await create();
    await hostIs({ tunnelReplica: null });
    agent.onApply = (spec, generation) => running(spec.id, generation);
    await agent.dial();
    await becomes(sandbox.id, { status: 'RUNNING' });
    expect(agent.applied.map(({ generation }) => generation)).toEqual([1, 1]);
  });

  test('twice with one idempotency key is one sandbox', async () => {
    const [one, two] = await Promise.all([create({ idempotencyKey: 'k' }), create({ idempotencyKey: 'k' })]);
    expect(two.id).toBe(one.id);
    await becomes(one.id, { status: 'RUNNING' });
    await hostIs({ allocatedSandboxes: 1 });
    await expect(create({ idempotencyKey: 'k', memoryMb: 1_024 })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_KEY_REUSED',
    });
  });
});

describe('a sandbox that was destroyed', () => {
  test('is removed from its host, then from the list, and its place is free', async () => {
    const { id } = await created();
    await control.fleet.services.sandboxes.destroy(admin, id);
    await becomes(id, { status: 'STOPPED', holds_reservation: false, deleted_at: expect.any(Date) as Date });
    expect(agent.removed).toEqual([{ id, generation: 2 }]);
    expect(agent.sandboxes.size).toBe(0);
    expect(await control.fleet.services.sandboxes.find(admin, id)).toBeNull();
    await hostIs({ allocatedSandboxes: 0, allocatedMilliVcpus: 0, allocatedMemoryMb: 0, allocatedDiskMb: 0 });
  });

  test('while its host is away is removed when it returns', async () => {
    const { id } = await created();
    agent.hangUp();
    await hostIs({ tunnelReplica: null });
    await control.fleet.services.sandboxes.destroy(admin, id);
    expect(await rowOf(id)).toMatchObject({ status: 'STOPPING', deleted_at: null, holds_reservation: true });
    await agent.dial();
    await becomes(id, { status: 'STOPPED', deleted_at: expect.any(Date) as Date });
    expect(agent.sandboxes.size).toBe(0);
  });

  test('does not come back through a late report of the host', async () => {
    const { id } = await created();
    await control.fleet.services.sandboxes.destroy(admin, id);
    await becomes(id, { deleted_at: expect.any(Date) as Date });
    await agent.report(false, [running(id, 1)]);
    expect(await rowOf(id)).toMatchObject({ status: 'STOPPED' });
  });
});

describe('when a host returns', () => {
  test('a sandbox that it still runs goes on', async () => {
    const { id } = await created();
    await reconnect();
    expect(await rowOf(id)).toMatchObject({ status: 'RUNNING', generation: 1 });
    expect(agent.applied).toHaveLength(1);
  });

  test('a sandbox that it lost is stopped with a reason, and its place is free', async () => {
    const { id } = await created();
    agent.sandboxes.clear();
    await reconnect();
    await becomes(id, { status: 'STOPPED', status_reason: 'Its host no longer has it.', holds_reservation: false });
    await hostIs({ allocatedSandboxes: 0 });
  });

  test('a sandbox that is paused there and should run is pushed', async () => {
    const { id } = await created();
    agent.sandboxes.set(id, { ...running(id, 1), status: 'PAUSED' });
    await reconnect();
    await becomes(id, { status: 'RUNNING' });
    expect(agent.applied).toHaveLength(2);
  });

  test('a sandbox that was deleted meanwhile is removed there, and a stranger’s is left alone', async () => {
    const { id } = await created();
    await control.fleet.services.sandboxes.destroy(admin, id);
    await becomes(id, { deleted_at: expect.any(Date) as Date });
    const stranger = crypto.randomUUID();
    agent.sandboxes.set(id, running(id, 1)).set(stranger, running(stranger, 1));
    await reconnect();
    await vi.waitFor(() => expect([...agent.sandboxes.keys()]).toEqual([stranger]));
  });
});

describe('what a host says', () => {
  test('of another host’s sandbox changes nothing', async () => {
    const { id } = await created();
    const other = await ScriptedAgent.join(
      control.agentUrl,
      (await control.fleet.services.hosts.createLocal('other')).registrationToken,
    );
    await using _other = other;
    await other.report(false, [{ ...running(id, 1), status: 'STOPPED' }]);
    await other.report(true, []);
    expect(await rowOf(id)).toMatchObject({ status: 'RUNNING' });
  });

  test('in an inventory that was overtaken by a newer one changes nothing', async () => {
    const { id } = await created();
    await agent.report(true, [running(id, 1)], 100);
    await agent.report(true, [], 99);
    expect(await rowOf(id)).toMatchObject({ status: 'RUNNING' });
  });

  test('with an epoch of before, because its state directory is an older copy, is answered with the newest one', async () => {
    const { id } = await created();
    agent.epoch += 1_000;
    const newest = agent.epoch;
    const epochOf = async (...args: Parameters<typeof agent.report>): Promise<unknown> =>
      ((await agent.report(...args)).result.data as { reportSandboxes?: { epoch: number } } | undefined)
        ?.reportSandboxes?.epoch;
    expect(await epochOf(true, [running(id, 1)], newest)).toBe(newest);
    expect(await epochOf(true, [running(id, 1)], 5)).toBe(newest);
    // Of one sandbox, with a higher epoch than that of the last inventory.
    await agent.report(false, [{ ...running(id, 1), status: 'STOPPED', statusReason: 'ended' }], newest + 10);
    expect(await epochOf(true, [running(id, 1)], newest + 5)).toBe(newest + 10);
    expect(await epochOf(true, [{ ...running(id, 1), status: 'STOPPED' }], newest + 11)).toBe(newest + 11);
  });

  test('of a container that ended by itself is shown with its reason', async () => {
    const { id } = await created();
    await agent.report(false, [{ ...running(id, 1), status: 'STOPPED', statusReason: 'Its process ended.' }]);
    expect(await rowOf(id)).toMatchObject({
      status: 'STOPPED',
      status_reason: 'Its process ended.',
      holds_reservation: false,
    });
  });

  test('is asked for in full when its digest is not the one that is known', async () => {
    const wants = async (digest: string) =>
      ((await agent.beat(digest)).result.data as unknown as { heartbeat: { wantInventory: boolean } }).heartbeat
        .wantInventory;
    expect(await wants('something else')).toBe(true);
    const ofNothing = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
    expect(await wants(ofNothing)).toBe(false);
  });
});

describe('an inventory that was taken before a sandbox was there', () => {
  test('does not end it, although it is not in it', async () => {
    const { id } = await created();
    const { convergence } = control.fleet.agentChannel;
    // Its epoch is above that of the last inventory and below that of the sandbox.
    await convergence.reconcile(agent.hostId, { epoch: agent.epoch - 1, sandboxes: [] });
    expect(await rowOf(id)).toMatchObject({ status: 'RUNNING', holds_reservation: true });
  });
});

test('a host that cannot start a sandbox says why, and is asked again', async () => {
  agent.onApply = () => {
    throw new Error('No OCI runtime found.');
  };
  const sandbox = await create();
  await becomes(sandbox.id, { status: 'STARTING', status_reason: 'No OCI runtime found.' });
  agent.onApply = (spec, generation) => running(spec.id, generation);
  await control.fleet.agentChannel.convergence.converge();
  await becomes(sandbox.id, { status: 'RUNNING', status_reason: null });
});

test('a host that comes back from silence through the same tunnel is placeable, and its sandboxes run again', async () => {
  const { id } = await created();
  await query(
    `update hosts set status = 'UNREACHABLE'; update sandboxes set status = 'MISSING', status_before_missing = 'RUNNING'`,
  );
  const digest = inventoryDigest(agent.sandboxes.values());
  const answer = await agent.beat(digest);
  expect((answer.result.data as unknown as { heartbeat: { wantInventory: boolean } }).heartbeat.wantInventory).toBe(
    true,
  );
  await agent.report(true);
  await hostIs({ status: 'ONLINE', tunnelReplica: expect.any(String) as string });
  await becomes(id, { status: 'RUNNING' });
});

test('one host’s impossible beat costs no other host its lease', async () => {
  await using other = await ScriptedAgent.join(
    control.agentUrl,
    (await control.fleet.services.hosts.createLocal('other')).registrationToken,
  );
  const mad = heartbeat(control.agentUrl, other.accessToken, { cpuCores: 2_147_483_647 });
  const answers = await Promise.all([mad, agent.beat()]);
  expect(answers.map(({ status }) => status)).toEqual([200, 200]);
});

test('a second tunnel of one host replaces the first, which is closed with a code of its own', async () => {
  const first = await agent.dial();
  const closed = new Promise<number>((resolve) => first.once('close', resolve));
  const { id } = await created();
  await agent.dial();
  expect(await closed).toBe(4409);
  await hostIs({ tunnelReplica: expect.any(String) as string });
  expect(await rowOf(id)).toMatchObject({ status: 'RUNNING' });
});

test('an agent that has counted very far, and one whose record of a sandbox was damaged, are understood', async () => {
  const { id } = await create();
  await vi.waitFor(async () => expect((await rowOf(id)).status).toBe('RUNNING'), { timeout: 15_000 });
  // As after a damaged file: beyond 32 bits, and of a generation below all.
  agent.epoch = Date.now() * 1_000;
  agent.sandboxes.set(id, running(id, 0));
  agent.applied.length = 0;
  expect((await agent.report(true)).result.errors).toBeUndefined();
  await vi.waitFor(() => expect(agent.applied).toMatchObject([{ spec: { id }, generation: 1 }]), { timeout: 15_000 });
  agent.hangUp();
  await hostIs({ tunnelReplica: null });
  await agent.dial();
  await hostIs({ tunnelReplica: expect.any(String) as string });
  expect((await rowOf(id)).status).toBe('RUNNING');
});

test('an agent hears which of its sandboxes should run, before it resumes any', async () => {
  const [runs, paused, destroyed] = [await create(), await create(), await create()];
  const ids = [runs.id, paused.id, destroyed.id];
  for (const id of ids)
    await vi.waitFor(async () => expect((await rowOf(id)).status).toBe('RUNNING'), { timeout: 15_000 });
  agent.hangUp();
  await hostIs({ tunnelReplica: null });
  await control.fleet.services.sandboxOperations.pause(admin, paused.id);
  await control.fleet.services.sandboxes.destroy(admin, destroyed.id);
  const { result } = await callChannel(
    control.agentUrl,
    'query ($ids: [ID!]!) { sandboxesToRun(ids: $ids) }',
    { ids: [...ids, 'no-sandbox-of-ours'] },
    agent.accessToken,
  );
  expect(result).toEqual({ data: { sandboxesToRun: [runs.id] } });
});
