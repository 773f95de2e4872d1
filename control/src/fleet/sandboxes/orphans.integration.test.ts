import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { newAdmin, startTestControl } from '../../../test/harness.ts';
import { running, ScriptedAgent } from '../../../test/scripted-agent.ts';
import type { Control } from '../../app.ts';

const MIN_AGE_MS = 1_500;
const DEADLINE = { timeout: 20_000, interval: 50 };

let control: Control;
let agent: ScriptedAgent;
let sql: pg.Client;

beforeEach(async () => {
  control = await startTestControl({ ROOKERY_ORPHAN_MIN_AGE_MS: MIN_AGE_MS });
  sql = new pg.Client({ connectionString: control.database.url });
  await sql.connect();
  const { registrationToken } = await control.fleet.services.hosts.createLocal('scripted');
  agent = await ScriptedAgent.join(control.agentUrl, registrationToken);
  await connected();
});
afterEach(async () => {
  await agent[Symbol.asyncDispose]();
  await sql.end();
  await control[Symbol.asyncDispose]();
});

const connected = () =>
  vi.waitFor(
    async () =>
      expect(await control.fleet.services.hosts.findForControl(agent.hostId)).toMatchObject({
        tunnelReplica: control.replicaId,
      }),
    DEADLINE,
  );

async function created(): Promise<string> {
  const { rows } = await sql.query<{ id: string }>('select id from teams limit 1');
  const { sandbox } = await control.fleet.services.sandboxes.create(newAdmin(), { teamId: rows[0]?.id });
  await vi.waitFor(async () => expect(await statusOf(sandbox.id)).toBe('RUNNING'), DEADLINE);
  return sandbox.id;
}

const statusOf = async (id: string) =>
  (await sql.query<{ status: string }>('select status from sandboxes where id = $1', [id])).rows[0]?.status;

const orphans = async () =>
  (await sql.query<{ sandbox_id: string; readings: number }>('select sandbox_id, readings from orphans')).rows;

test('a sandbox that nobody knows is watched, and removed when a second look after the minimum age says the same', async () => {
  const kept = await created();
  const stranger = randomUUID();
  agent.sandboxes.set(stranger, running(stranger, 3));
  const seenAt = performance.now();
  await agent.report(true);
  expect(await orphans()).toEqual([{ sandbox_id: stranger, readings: 1 }]);
  await agent.report(true);
  expect(agent.removed).toEqual([]);
  await vi.waitFor(() => expect(agent.removed).toEqual([{ id: stranger, generation: 3 }]), DEADLINE);
  expect(performance.now() - seenAt).toBeGreaterThanOrEqual(MIN_AGE_MS);
  // The next look finds that it is gone.
  await agent.report(true);
  expect(await orphans()).toEqual([]);
  expect([...agent.sandboxes.keys()]).toEqual([kept]);
});

test('a sandbox that has ended in our books and still runs is removed only after the minimum age', async () => {
  const id = await created();
  await agent.report(false, [{ ...running(id, 1), status: 'STOPPED' }]);
  expect(await statusOf(id)).toBe('STOPPED');
  await agent.report(true, [running(id, 1)]);
  expect(await orphans()).toEqual([{ sandbox_id: id, readings: 1 }]);
  expect(agent.removed).toEqual([]);
  await vi.waitFor(() => expect(agent.removed).toEqual([{ id, generation: 1 }]), DEADLINE);
  expect(await statusOf(id)).toBe('STOPPED');
});

test('an orphan that the books want again before its time is not removed', async () => {
  const id = await created();
  // As after the books were restored from a backup that did not know it yet.
  const { rows } = await sql.query(`delete from sandboxes where id = $1 returning *`, [id]);
  await agent.report(true);
  expect(await orphans()).toEqual([{ sandbox_id: id, readings: 1 }]);
  await sql.query(`insert into sandboxes select * from jsonb_populate_record(null::sandboxes, $1::jsonb)`, [
    JSON.stringify(rows[0]),
  ]);
  await vi.waitFor(async () => expect(await orphans()).toEqual([]), DEADLINE);
  expect(agent.removed).toEqual([]);
  expect(await statusOf(id)).toBe('RUNNING');
});

test('many sandboxes that went missing with their host are back by one inventory, each with one event', async () => {
  const ids = [await created(), await created(), await created()];
  await sql.query(`update sandboxes set status = 'MISSING', status_before_missing = 'RUNNING'`);
  const lost = ids[0] as string;
  agent.sandboxes.delete(lost);
  const before = Number((await sql.query('select count(*) from events')).rows[0].count);
  await agent.report(true);
  expect([
    await statusOf(ids[0] as string),
    await statusOf(ids[1] as string),
    await statusOf(ids[2] as string),
  ]).toEqual(['STOPPED', 'RUNNING', 'RUNNING']);
  const types = (await sql.query(`select type from events order by id offset ${before}`)).rows.map(({ type }) => type);
  expect(types.sort()).toEqual(['host.reservation_released', 'sandbox.running', 'sandbox.running', 'sandbox.stopped']);
  expect(await control.fleet.services.hosts.findForControl(agent.hostId)).toMatchObject({ allocatedSandboxes: 2 });
});

test('the number of orphans is in the health of the fleet', async () => {
  agent.sandboxes.set('a', running(randomUUID(), 1));
  await agent.report(true);
  expect(await control.fleet.services.health.orphans(newAdmin())).toBe(1);
});
