import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { rejection, TestFleet } from '../../../test/fleet-fixture.ts';
import { createTestDatabase } from '../../../test/harness.ts';
import { running, type ScriptedAgent } from '../../../test/scripted-agent.ts';
import { ClaimKind } from '../claims.ts';
import type { HostDrainRow } from '../tables.ts';
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

/** Sessions of this database that wait for somebody's lock. */
async function waiters(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    "select count(*)::int as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  );
  return rows[0]?.count ?? 0;
}

async function drainsAtWork(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    `select count(*)::int as count from pg_locks where locktype = 'advisory' and classid = $1
     and database = (select oid from pg_database where datname = current_database())`,
    [ClaimKind.drain],
  );
  return rows[0]?.count ?? 0;
}

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
      code: 'HOST_DRAINING',
    });
  });

  test('whose deadline comes before its end has failed, and says how many are left', async () => {
    const [stuck, quick] = [await fleet.createRunning(), await fleet.createRunning()];
    agent.onApply = (spec, generation) => ({
      ...running(spec.id, generation),
      status: spec.id === stuck.id ? 'RUNNING' : spec.desiredState,
    });
    await drain({ deadlineSeconds: 5 });
    await progresses({ state: 'FAILED', total: 2, done: 1, failed: 1 });
    expect(await fleet.services.drains.remaining((await latest()) as HostDrainRow)).toEqual([stuck.id]);
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

  test('that is cancelled while it is at it touches not one sandbox more', async () => {
    const sandboxes = [await fleet.createRunning(), await fleet.createRunning(), await fleet.createRunning()];
    const first = sandboxes.map(({ id }) => id).sort()[0] ?? '';
    const somebody = new pg.Client({ connectionString: databaseUrl });
    await somebody.connect();
    await somebody.query('begin');
    await somebody.query('select from sandboxes where id = $1 for update', [first]);
    await drain();
    // The drain has read what is to be done and waits for the first sandbox.
    await vi.waitFor(async () => expect(await waiters(somebody)).toBeGreaterThan(0), { timeout: 15_000 });
    await fleet.services.hostOperations.uncordon(fleet.admin, agent.hostId);
    await somebody.query('rollback');
    await vi.waitFor(async () => expect(await drainsAtWork(somebody)).toBe(0), { timeout: 15_000 });
    for (const { id } of sandboxes) expect(await fleet.sandbox(id)).toMatchObject({ desiredState: 'RUNNING' });
    await somebody.end();
  });

  test('leaves its host cordoned, whatever its end was, until somebody uncordons it', async () => {
    const { id } = await fleet.createRunning();
    agent.onApply = (spec, generation) => running(spec.id, generation);
    await drain({ deadlineSeconds: 1 });
    await progresses({ state: 'FAILED' });
    expect(await rejection(fleet.create())).toMatchObject({ code: 'NO_HOST_FITS' });
    await fleet.services.sandboxOperations.resume(fleet.admin, id);
    await fleet.services.hostOperations.uncordon(fleet.admin, agent.hostId);
    await fleet.createRunning();
  });

  test('takes along what is being placed in the same moment, or turns it away', async () => {
    const created: Promise<unknown>[] = [];
    for (let n = 0; n < 30; n++) {
      created.push(
        fleet.create().then(
          ({ id }) => id,
          (error: unknown) => error,
        ),
      );
      if (n === 10) created.push(drain());
    }
    await Promise.all(created);
    await progresses({ state: 'COMPLETED' });
    const rows = await fleet.database.query.selectFrom('Sandbox').select(['status', 'desiredState']).execute();
    expect(rows.filter(({ desiredState }) => desiredState !== 'PAUSED')).toEqual([]);
    expect((await latest())?.total).toBe(rows.length);
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
