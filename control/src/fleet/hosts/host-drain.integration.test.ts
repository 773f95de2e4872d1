import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { rejection, TestFleet } from '../../../test/fleet-fixture.ts';
import { createTestDatabase } from '../../../test/harness.ts';
import { running, type ScriptedAgent } from '../../../test/scripted-agent.ts';
import { hostConditions } from './host.state.ts';

let fleet: TestFleet;
let agent: ScriptedAgent;
let databaseUrl: string;

beforeEach(async () => {
  databaseUrl = await createTestDatabase();
  fleet = await TestFleet.start({}, databaseUrl);
  agent = await fleet.newAgent();
});
afterEach(() => fleet[Symbol.asyncDispose]());

const drain = (input: object = {}) => fleet.services.drains.drain(fleet.admin, agent.hostId, input);
const latest = async () => (await fleet.services.drains.latest([agent.hostId]))[0];
const progresses = (expected: object) =>
  vi.waitFor(async () => expect(await latest()).toMatchObject(expected), { timeout: 15_000 });

describe('draining a host', () => {
  test('pauses its sandboxes and keeps them, and says how far it has come', async () => {
    const sandboxes = [await fleet.createRunning(), await fleet.createRunning(), await fleet.createRunning()];
    const held = Promise.withResolvers<void>();
    const [slow] = sandboxes;
    agent.onApply = async (spec, generation) => {
      if (spec.id === slow?.id) await held.promise;
      return { ...running(spec.id, generation), status: spec.desiredState };
    };
    const { host } = await drain();
    expect(hostConditions(host).map(({ type }) => type)).toEqual(['DRAINING', 'CORDONED']);
    await progresses({ state: 'RUNNING', policy: 'PAUSE', total: 3, done: 2, failed: 0, finishedAt: null });
    held.resolve();
    await progresses({ state: 'COMPLETED', total: 3, done: 3, failed: 0, finishedAt: expect.any(Date) as Date });
    for (const { id } of sandboxes) {
      expect(await fleet.sandbox(id)).toMatchObject({
        status: 'PAUSED',
        statusReason: 'Paused because its host was drained.',
        holdsReservation: true,
      });
    }
    // It stays cordoned, and what it has paused can be resumed there.
    expect(hostConditions(await fleet.host(agent.hostId)).map(({ type }) => type)).toEqual(['CORDONED']);
    await fleet.services.sandboxOperations.resume(fleet.admin, slow?.id ?? '');
    await fleet.becomes(slow?.id ?? '', { status: 'RUNNING' });
    const events = await fleet.events(agent.hostId);
    expect(events.filter((type) => type.startsWith('host.drain'))).toEqual([
      'host.drain_started',
      ...events.filter((type) => type === 'host.drain_progressed'),
      'host.drain_completed',
    ]);
    expect(events).toContain('host.drain_progressed');
  });

  test('by the policy DESTROY destroys them', async () => {
    const { id } = await fleet.createRunning();
    await drain({ policy: 'DESTROY' });
    await progresses({ state: 'COMPLETED', total: 1, done: 1 });
    expect(await fleet.sandbox(id)).toMatchObject({ status: 'STOPPED', deletedAt: expect.any(Date) as Date });
    expect(agent.removed.map((removed) => removed.id)).toEqual([id]);
  });

  test('without sandboxes is done at once, and asking again begins another', async () => {
    await drain();
    await progresses({ state: 'COMPLETED', total: 0 });
    const first = await latest();
    await drain();
    await vi.waitFor(async () => expect((await latest())?.id).not.toBe(first?.id));
  });

  test('twice at once is one drain; another policy meanwhile is refused', async () => {
    const { id } = await fleet.createRunning();
    agent.onApply = (spec, generation) => running(spec.id, generation);
    await Promise.all([drain(), drain()]);
    const rows = await fleet.database.query.selectFrom('HostDrain').selectAll().execute();
    expect(rows).toHaveLength(1);
    expect(await rejection(drain({ policy: 'DESTROY' }))).toMatchObject({ code: 'DRAIN_IN_PROGRESS' });
    await fleet.becomes(id, { desiredState: 'PAUSED' });
    expect(await rejection(fleet.services.sandboxOperations.resume(fleet.admin, id))).toMatchObject({
      code: 'SANDBOX_NOT_RESUMABLE',
      message: /being drained/,
    });
  });

  test('whose deadline comes before its end has failed, and says how many are left', async () => {
    const [stuck, quick] = [await fleet.createRunning(), await fleet.createRunning()];
    agent.onApply = (spec, generation) => ({
      ...running(spec.id, generation),
      status: spec.id === stuck.id ? 'RUNNING' : spec.desiredState,
    });
    await drain({ deadlineSeconds: 1 });
    await progresses({ state: 'FAILED', total: 2, done: 1, failed: 1 });
    expect((await fleet.sandbox(quick.id)).status).toBe('PAUSED');
    expect((await fleet.host(agent.hostId)).drainingSince).toBeNull();
  });

  test('is cancelled by uncordoning; what is paused stays paused', async () => {
    const [stuck, quick] = [await fleet.createRunning(), await fleet.createRunning()];
    agent.onApply = (spec, generation) => ({
      ...running(spec.id, generation),
      status: spec.id === stuck.id ? 'RUNNING' : spec.desiredState,
    });
    await drain();
    await fleet.becomes(quick.id, { status: 'PAUSED' });
    const { host } = await fleet.services.hostOperations.uncordon(fleet.admin, agent.hostId);
    expect(hostConditions(host)).toEqual([]);
    expect(await latest()).toMatchObject({ state: 'CANCELLED', finishedAt: expect.any(Date) as Date });
    await fleet.services.drains.run();
    expect(await latest()).toMatchObject({ state: 'CANCELLED' });
    expect((await fleet.sandbox(quick.id)).status).toBe('PAUSED');
  });

  test('of a host that is away goes on when it returns, also across a restart of control', async () => {
    const { id } = await fleet.createRunning();
    await fleet.hangUp(agent);
    await drain();
    await progresses({ state: 'RUNNING', total: 1, done: 0 });
    await fleet.control[Symbol.asyncDispose]();

    const port = Number(new URL(fleet.control.agentUrl).port);
    fleet = await TestFleet.start({ ROOKERY_AGENT_PORT: port }, databaseUrl);
    await progresses({ state: 'RUNNING', total: 1, done: 0 });
    await fleet.dial(agent);
    await fleet.becomes(id, { status: 'PAUSED' });
    await progresses({ state: 'COMPLETED', total: 1, done: 1 });
  });

  test('of a host that is deleted ends with it', async () => {
    await fleet.createRunning();
    agent.onApply = (spec, generation) => running(spec.id, generation);
    await drain();
    const { previewDigest } = await fleet.services.deletion.preview(agent.hostId);
    await fleet.services.deletion.delete(fleet.admin, agent.hostId, true, previewDigest);
    await progresses({ state: 'CANCELLED' });
  });
});
