import { sha256 } from '@rookery/wire/secrets.ts';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { newAdmin, startTestControl } from '../../../test/harness.ts';
import { callChannel, heartbeat, refresh, register, ScriptedAgent } from '../../../test/scripted-agent.ts';
import type { Control } from '../../app.ts';
import type { AuditTables } from '../../kernel/audit/audit.entity.ts';
import { hostSpecsSchema } from '../hosts/host.specs.ts';
import { hostConditions } from '../hosts/host.state.ts';
import type { FleetTables } from '../tables.ts';

describe('a host that leaves by its operator’s wish', () => {
  const admin = newAdmin();
  let control: Control;
  let agent: ScriptedAgent;
  let other: ScriptedAgent;
  let token: string;
  let sandboxId: string;

  beforeAll(async () => {
    // No monitor in between: what the goodbye does is seen by itself.
    control = await startTestControl({ ROOKERY_UNREACHABLE_AFTER_MS: 3_600_000 });
    const { hosts, sandboxes } = control.fleet.services;
    token = (await hosts.createLocal('leaving')).registrationToken;
    agent = await ScriptedAgent.join(control.agentUrl, token);
    other = await ScriptedAgent.join(control.agentUrl, (await hosts.createLocal('staying')).registrationToken);
    await vi.waitFor(async () => expect((await host()).tunnelReplica).not.toBeNull(), 10_000);
    const tables = control.database.as<FleetTables & { Team: { id: string } }>().query;
    const { id: teamId } = await tables.selectFrom('Team').select('id').executeTakeFirstOrThrow();
    sandboxId = (await sandboxes.create(admin, { teamId, hostId: agent.hostId })).sandbox.id;
    await vi.waitFor(async () => expect((await sandboxes.find(admin, sandboxId))?.status).toBe('RUNNING'), 10_000);
  });
  afterAll(async () => {
    await agent[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
    await control[Symbol.asyncDispose]();
  });

  async function host() {
    const row = await control.fleet.services.hosts.findForControl(agent.hostId);
    if (!row) throw new Error('the host is gone');
    return row;
  }

  const trail = () =>
    control.database
      .as<AuditTables>()
      .query.selectFrom('AuditEvent')
      .select(['action', 'actorKind', 'outcome', 'code'])
      .where('resourceId', '=', agent.hostId)
      .where('action', '=', 'host.leave')
      .execute();

  const leave = async (accessToken: string, proof: string) =>
    callChannel(control.agentUrl, 'mutation ($input: LeaveFleetInput!) { leaveFleet(input: $input) }', {
      input: { accessToken, proof },
    });

  it('is not sent away by whoever has found its token, nor by another host', async () => {
    const attempts = [
      await leave(agent.accessToken, 'garbage'),
      await leave(agent.accessToken, await agent.key.prove('refresh', agent.accessToken)),
      await leave(agent.accessToken, await other.key.prove('leave', agent.accessToken)),
      await leave(agent.accessToken, await agent.key.prove('leave', sha256('another token'))),
      await leave('garbage', await agent.key.prove('leave', 'garbage')),
    ];
    expect(attempts.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401]);
    expect(await host()).toMatchObject({ status: 'ONLINE', leftAt: null });
  });

  it('is unreachable at once, with the reason said, and its credentials are worth nothing', async () => {
    const { status, result } = await leave(agent.accessToken, await agent.key.prove('leave', agent.accessToken));
    expect({ status, result }).toEqual({ status: 200, result: { data: { leaveFleet: agent.hostId } } });
    const row = await host();
    expect(row).toMatchObject({ status: 'UNREACHABLE', tunnelReplica: null, leftAt: expect.any(Date) });
    expect(hostConditions(row)).toMatchObject([{ type: 'LEFT', blocksPlacement: true }]);
    expect(await trail()).toContainEqual({ action: 'host.leave', actorKind: 'HOST', outcome: 'SUCCEEDED', code: null });
    expect((await agent.beat()).status).toBe(401);
    expect((await refresh(control.agentUrl, agent.refreshToken, agent.key)).status).toBe(401);
    expect((await other.beat()).status).toBe(200);
  });

  it('may say it again, because the answer may have been lost, and nobody else may', async () => {
    const { revision } = await host();
    const again = await leave(agent.accessToken, await agent.key.prove('leave', agent.accessToken));
    expect(again).toMatchObject({ status: 200, result: { data: { leaveFleet: agent.hostId } } });
    expect((await leave(agent.accessToken, await other.key.prove('leave', agent.accessToken))).status).toBe(401);
    expect((await host()).revision).toBe(revision);
    expect((await trail()).filter(({ outcome }) => outcome === 'SUCCEEDED')).toHaveLength(1);
  });

  it('is not brought back by a heartbeat that was on its way', async () => {
    const { heartbeats } = control.fleet.agentChannel;
    const specs = hostSpecsSchema.parse(SPECS);
    const { familyId } = await control.database
      .as<FleetTables>()
      .query.selectFrom('HostIdentity')
      .select('familyId')
      .where('hostId', '=', agent.hostId)
      .executeTakeFirstOrThrow();
    const usage = { instance: 'agent', familyId, load1: 0, memoryUsedMb: 0, diskUsedMb: 0 };
    await expect(heartbeats.beat({ hostId: agent.hostId, ...usage }, specs)).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
    expect(await host()).toMatchObject({ status: 'UNREACHABLE', leftAt: expect.any(Date) });
  });

  it('keeps its place in the books, and its sandboxes theirs, as missing', async () => {
    const { sandboxes } = control.fleet.services;
    expect(await sandboxes.find(admin, sandboxId)).toMatchObject({
      status: 'MISSING',
      statusBeforeMissing: 'RUNNING',
      statusReason: 'Its host has left the fleet.',
    });
    expect((await control.fleet.services.deletion.preview(agent.hostId)).affectedSandboxes).toMatchObject([
      { id: sandboxId },
    ]);
  });

  it('does not come back with the token that it was made a host by', async () => {
    expect((await register(control.agentUrl, token, agent.key)).status).toBe(401);
    expect(await host()).toMatchObject({ status: 'UNREACHABLE', leftAt: expect.any(Date) });
  });

  it('comes back as the same host with a new token, and then has not left', async () => {
    const request = { hostId: agent.hostId, replaceCredentials: false, resolveQuarantine: false };
    const { registrationToken } = await control.fleet.services.hostTokens.regenerate(admin, request);
    const { status, result } = await register(control.agentUrl, registrationToken, agent.key);
    expect(status).toBe(200);
    const { accessToken } = (result.data as unknown as { registerHost: { accessToken: string } }).registerHost;
    expect((await heartbeat(control.agentUrl, accessToken)).status).toBe(200);
    expect(await host()).toMatchObject({ status: 'ONLINE' });
    expect(await host()).toMatchObject({ leftAt: null });
    expect(hostConditions(await host()).map(({ type }) => type)).not.toContain('LEFT');
  });

  it('does not leave in a quarantine: it could be the copy', async () => {
    const key = { hostId: other.hostId, replaceCredentials: true, resolveQuarantine: false };
    const { registrationToken } = await control.fleet.services.hostTokens.regenerate(admin, key);
    const { result } = await register(control.agentUrl, registrationToken, other.key, { machineId: 'machine-1' });
    const { accessToken } = (result.data as unknown as { registerHost: { accessToken: string } }).registerHost;
    await heartbeat(control.agentUrl, accessToken, { machineId: 'machine-2' });
    const refused = await leave(accessToken, await other.key.prove('leave', accessToken));
    expect(refused.status).toBe(409);
    expect(refused.result.errors?.[0]).toMatchObject({
      message: expect.stringContaining('its owner must decide'),
      extensions: { code: 'CONFLICT', reason: 'CREDENTIALS_CLONED' },
    });
    expect(await control.fleet.services.hosts.findForControl(other.hostId)).toMatchObject({ leftAt: null });
    expect((await heartbeat(control.agentUrl, accessToken, { machineId: 'machine-1' })).status).toBe(200);
  });
});

const SPECS = {
  ...{ hostname: 'h', arch: 'a', os: 'o', kernel: 'k', cpuCores: 1, memoryMb: 1, diskGb: 1 },
  ...{ agentVersion: '0', bootId: 'b', conditions: [] },
};
