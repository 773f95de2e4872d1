import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  createTestDatabase,
  insertHost,
  newAdmin,
  newMember,
  newTeam,
  startTestControl,
} from '../../../test/harness.ts';
import { heartbeat, refresh, running, ScriptedAgent } from '../../../test/scripted-agent.ts';
import pg from 'pg';
import type { Control } from '../../app.ts';
import { ClaimKind } from '../claims.ts';
import { LEADER_LOCK } from '../../kernel/leadership.ts';
import type { FleetTables, SandboxRow } from '../tables.ts';
import { HostHasSandboxes } from './host-deletion.service.ts';

let control: Control;
let teamId: string;
const admin = newAdmin();

beforeAll(async () => {
  control = await startTestControl();
  teamId = (await newTeam(control)).team.id;
});
afterAll(() => control[Symbol.asyncDispose]());

async function newHost(): Promise<ScriptedAgent> {
  const { registrationToken } = await control.fleet.services.hosts.createLocal('doomed');
  const agent = await ScriptedAgent.join(control.agentUrl, registrationToken);
  await vi.waitFor(async () =>
    expect((await control.fleet.services.hosts.findForControl(agent.hostId))?.tunnelReplica).not.toBeNull(),
  );
  return agent;
}

async function newSandbox(hostId: string): Promise<SandboxRow> {
  const { sandbox } = await control.fleet.services.sandboxes.create(admin, {
    teamId,
    hostId,
    vcpus: 0.1,
    memoryMb: 32,
    diskMb: 32,
  });
  await vi.waitFor(async () =>
    expect((await control.fleet.services.sandboxes.find(admin, sandbox.id))?.status).toBe('RUNNING'),
  );
  return sandbox;
}

const remove = (hostId: string, force = false, digest: string | null = null) =>
  control.fleet.services.deletion.delete(admin, hostId, force, digest);

async function preview(hostId: string, force = false, digest: string | null = null): Promise<HostHasSandboxes> {
  const error: unknown = await remove(hostId, force, digest).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(HostHasSandboxes);
  return error as HostHasSandboxes;
}

describe('deleting a host', () => {
  test('without sandboxes needs no confirmation', async () => {
    await using agent = await newHost();
    expect(await remove(agent.hostId)).toMatchObject({ hostId: agent.hostId, destroyedSandboxes: [] });
    expect(await control.fleet.services.hosts.find(admin, agent.hostId)).toBeNull();
  });

  test('with sandboxes shows them and deletes nothing, whatever is forced without the preview', async () => {
    await using agent = await newHost();
    const sandbox = await newSandbox(agent.hostId);
    for (const [force, digest] of [
      [false, null],
      [true, null],
      [true, 'made-up'],
    ] as const) {
      expect((await preview(agent.hostId, force, digest)).affectedSandboxes.map(({ id }) => id)).toEqual([sandbox.id]);
    }
    expect(await control.fleet.services.sandboxes.find(admin, sandbox.id)).toMatchObject({ status: 'RUNNING' });
    expect(agent.removed).toEqual([]);
  });

  test('with the preview’s digest destroys what was shown, and the host', async () => {
    await using agent = await newHost();
    const sandbox = await newSandbox(agent.hostId);
    const { previewDigest } = await preview(agent.hostId);
    const { destroyedSandboxes } = await remove(agent.hostId, true, previewDigest);
    expect(destroyedSandboxes).toMatchObject([
      { id: sandbox.id, status: 'STOPPED', statusReason: 'Its host was deleted.', holdsReservation: false },
    ]);
    expect(agent.removed.map(({ id }) => id)).toEqual([sandbox.id]);
    expect(await control.fleet.services.hosts.find(admin, agent.hostId)).toBeNull();
    expect(await control.fleet.services.sandboxes.find(admin, sandbox.id)).toBeNull();
  });

  test('whose sandboxes have become more since the preview shows the new ones instead', async () => {
    await using agent = await newHost();
    const [first] = [await newSandbox(agent.hostId)];
    const { previewDigest } = await preview(agent.hostId);
    const second = await newSandbox(agent.hostId);
    const again = await preview(agent.hostId, true, previewDigest);
    expect(again.affectedSandboxes.map(({ id }) => id).sort()).toEqual([first.id, second.id].sort());
    expect(agent.removed).toEqual([]);
    expect((await remove(agent.hostId, true, again.previewDigest)).destroyedSandboxes).toHaveLength(2);
  });

  test('whose sandboxes have become fewer since the preview goes on', async () => {
    await using agent = await newHost();
    const [gone, stays] = [await newSandbox(agent.hostId), await newSandbox(agent.hostId)];
    const { previewDigest } = await preview(agent.hostId);
    await control.fleet.services.sandboxes.destroy(admin, gone.id);
    await vi.waitFor(async () => expect(await control.fleet.services.sandboxes.find(admin, gone.id)).toBeNull());
    expect((await remove(agent.hostId, true, previewDigest)).destroyedSandboxes.map(({ id }) => id)).toEqual([
      stays.id,
    ]);
  });

  test('that is away deletes it all the same', async () => {
    await using agent = await newHost();
    const sandbox = await newSandbox(agent.hostId);
    agent.hangUp();
    await vi.waitFor(async () =>
      expect((await control.fleet.services.hosts.findForControl(agent.hostId))?.tunnelReplica).toBeNull(),
    );
    const { previewDigest } = await preview(agent.hostId);
    expect((await remove(agent.hostId, true, previewDigest)).destroyedSandboxes).toMatchObject([
      { id: sandbox.id, status: 'STOPPED' },
    ]);
  });

  test('cuts its agent off: neither its token nor its refresh token is worth anything', async () => {
    await using agent = await newHost();
    const socket = await agent.dial();
    const closed = new Promise<number>((resolve) => socket.once('close', resolve));
    await remove(agent.hostId);
    expect(await closed).toBe(4410);
    expect((await heartbeat(control.agentUrl, agent.accessToken)).status).toBe(401);
    expect((await refresh(control.agentUrl, agent.refreshToken, agent.key)).status).toBe(401);
  });

  test('twice at once deletes it once', async () => {
    await using agent = await newHost();
    const outcomes = await Promise.allSettled([remove(agent.hostId), remove(agent.hostId)]);
    expect(outcomes.some(({ status }) => status === 'fulfilled')).toBe(true);
    expect(await control.fleet.services.hosts.find(admin, agent.hostId)).toBeNull();
  });

  test('leaves nothing of it behind that is only about a host that is there', async () => {
    await using agent = await newHost();
    const sandbox = await newSandbox(agent.hostId);
    agent.onApply = (spec, generation) => running(spec.id, generation);
    agent.sandboxes.set(randomUUID(), running(randomUUID(), 1));
    await agent.report(true, [running(sandbox.id, 1), running(randomUUID(), 1)]);
    await control.fleet.services.drains.drain(admin, agent.hostId, {});
    const left = async () => {
      const { query } = control.database.as<FleetTables>();
      const of = agent.hostId;
      return {
        leases: (await query.selectFrom('HostLease').select('hostId').where('hostId', '=', of).execute()).length,
        orphans: (await query.selectFrom('Orphan').select('hostId').where('hostId', '=', of).execute()).length,
        tokens: (await query.selectFrom('RegistrationToken').select('hash').where('hostId', '=', of).execute()).length,
        drains: (await query.selectFrom('HostDrain').select('state').where('hostId', '=', of).execute()).map(
          ({ state }) => state,
        ),
        reserved: (await query.selectFrom('Host').select('allocatedSandboxes').where('id', '=', of).execute())[0]
          ?.allocatedSandboxes,
        sandboxes: (
          await query
            .selectFrom('Sandbox')
            .select('id')
            .where('hostId', '=', of)
            .where('deletedAt', 'is', null)
            .execute()
        ).length,
      };
    };
    expect(await left()).toMatchObject({ leases: 1, orphans: 1, drains: ['RUNNING'], reserved: 1, sandboxes: 1 });
    const { previewDigest } = await preview(agent.hostId);
    await remove(agent.hostId, true, previewDigest);
    expect(await left()).toEqual({
      leases: 0,
      orphans: 0,
      tokens: 0,
      drains: ['CANCELLED'],
      reserved: 0,
      sandboxes: 0,
    });
  });

  test('leaves a sandbox alone that goes to another host in the same moment', async () => {
    await using agent = await newHost();
    await using other = await newHost();
    const moved = await newSandbox(agent.hostId);
    const { previewDigest } = await preview(agent.hostId);
    const somebody = new pg.Client({ connectionString: control.database.url });
    await somebody.connect();
    await somebody.query('begin');
    await somebody.query('select from sandboxes where id = $1 for update', [moved.id]);
    const deleted = remove(agent.hostId, true, previewDigest);
    await vi.waitFor(
      async () =>
        expect(
          (
            await somebody.query(
              "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
            )
          ).rowCount,
        ).toBeGreaterThan(0),
      { timeout: 15_000 },
    );
    // As when it could not be started there.
    await somebody.query('update sandboxes set host_id = $2 where id = $1', [moved.id, other.hostId]);
    await somebody.query('commit');
    await somebody.end();
    expect((await deleted).destroyedSandboxes).toEqual([]);
    expect(await control.fleet.services.sandboxes.find(admin, moved.id)).toMatchObject({ desiredState: 'RUNNING' });
  });

  test('frees its name', async () => {
    const name = `reused-${randomUUID().slice(0, 8)}`;
    const first = await control.fleet.services.hosts.create(admin, { name, kind: 'PLATFORM' });
    await expect(control.fleet.services.hosts.create(admin, { name, kind: 'PLATFORM' })).rejects.toMatchObject({
      code: 'NAME_TAKEN',
    });
    await remove(first.host.id);
    await control.fleet.services.hosts.create(admin, { name, kind: 'PLATFORM' });
  });

  test('is for the managers of its team', async () => {
    const { host } = await control.fleet.services.hosts.create(admin, { name: 'teams-own', kind: 'BYOC', teamId });
    const asViewer = (viewer: Parameters<typeof control.fleet.services.deletion.delete>[0]) =>
      control.fleet.services.deletion.delete(viewer, host.id, false, null);
    await expect(asViewer(null)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    await expect(asViewer(newMember(randomUUID(), 'OWNER'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(asViewer(newMember(teamId, 'MEMBER'))).rejects.toMatchObject({ code: 'NOT_PERMITTED' });
    await asViewer(newMember(teamId, 'ADMIN'));
  });
});

describe('a deletion that was interrupted', () => {
  const isGone = async (hostId: string) =>
    expect(await control.fleet.services.hosts.findForControl(hostId)).toBeUndefined();

  test('is finished as soon as a control process starts, not when some time has passed', async () => {
    const databaseUrl = await createTestDatabase();
    const before = await startTestControl({}, databaseUrl);
    const { id } = await insertHost(before.database, { deletingAt: new Date() });
    await before[Symbol.asyncDispose]();
    // The loop makes no pass here: somebody else leads.
    const leader = new pg.Client({ connectionString: databaseUrl });
    await leader.connect();
    await leader.query('select pg_advisory_lock($1)', [LEADER_LOCK]);
    await using after = await startTestControl({}, databaseUrl);
    await vi.waitFor(async () => expect(await after.fleet.services.hosts.findForControl(id)).toBeUndefined(), {
      timeout: 20_000,
    });
    expect(after.loops().find(({ name }) => name === 'host-deletion')?.runs).toBe(0);
    await leader.end();
  });

  test('is left to the process that is at it, and taken up at once when its connection breaks', async () => {
    const { id } = await insertHost(control.database);
    const other = new pg.Client({ connectionString: control.database.url });
    other.on('error', () => {});
    await other.connect();
    await other.query('select pg_advisory_lock($1, hashtext($2))', [ClaimKind.deletion, id]);
    const { rows } = await other.query<{ pid: number }>('select pg_backend_pid() as pid');
    const killer = new pg.Client({ connectionString: control.database.url });
    await killer.connect();
    try {
      await killer.query('update hosts set deleting_at = now() where id = $1', [id]);
      expect(await control.fleet.services.deletion.resume()).toBe(0);
      expect(await control.fleet.services.hosts.findForControl(id)).toBeDefined();
      await expect(control.fleet.services.deletion.delete(admin, id, false, null, 300)).rejects.toMatchObject({
        code: 'UNAVAILABLE',
      });
      const asked = remove(id);
      await killer.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
      expect(await asked).toMatchObject({ hostId: id });
      await isGone(id);
    } finally {
      await killer.end();
    }
  });

  test('needs no second confirmation', async () => {
    await using agent = await newHost();
    const sandbox = await newSandbox(agent.hostId);
    await control.fleet.services.deletion.preview(agent.hostId);
    const query = new pg.Client({ connectionString: control.database.url });
    await query.connect();
    await query.query('update hosts set deleting_at = now() where id = $1', [agent.hostId]);
    await query.end();
    await remove(agent.hostId);
    await isGone(agent.hostId);
    expect(await control.fleet.services.sandboxes.find(admin, sandbox.id)).toBeNull();
  });
});
