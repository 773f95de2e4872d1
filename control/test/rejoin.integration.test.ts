import { createAgent, type Agent } from '@rookery/agent/app.ts';
import { readAgentConfig } from '@rookery/agent/config.ts';
import { fixedRuntime } from '@rookery/agent/runtime/runtime-finder.ts';
import { SimulatedRuntime } from '@rookery/agent/runtime/simulated-runtime.ts';
import type { Control } from '@rookery/control/app.ts';
import type { ExecStreamItem } from '@rookery/control/fleet/sandboxes/exec.service.ts';
import type { FleetTables } from '@rookery/control/fleet/tables.ts';
import { CloseCode } from '@rookery/wire/close-codes.ts';
import { AGENT_IDENTITY_HEADER, AgentEndpoint, TUNNEL_SUBPROTOCOL } from '@rookery/wire/endpoints.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { newAdmin, startTestControl } from './harness.ts';

const ROUNDS = 12;
const DEADLINE_MS = 20_000;

/** Until a command has begun or it is said why not; more than control allows, for a busy machine. */
const ANSWERED_MS = 25_000;

const admin = newAdmin();
const runtime = new SimulatedRuntime();
let control: Control;
let directory: string;

beforeAll(async () => {
  control = await startTestControl({ ROOKERY_HEARTBEAT_MS: 300 });
  directory = await mkdtemp(join(tmpdir(), 'rookery-rejoin-'));
});
afterAll(async () => {
  await control[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

/** The real agent on the state directory, registering anew. */
async function joined(token: string): Promise<Agent> {
  const agent = await createAgent({
    config: readAgentConfig({}, directory),
    log: silentLogger(),
    say: () => {},
    join: { controlUrl: control.agentUrl, token },
    finder: fixedRuntime(runtime),
  });
  await agent.online;
  return agent;
}

/** A copy of the state directory dials. @returns the code that its tunnel is closed with. */
async function copyDials(): Promise<number> {
  const { accessToken } = JSON.parse(await readFile(join(directory, 'credentials.json'), 'utf8')) as {
    accessToken: string;
  };
  const socket = new WebSocket(control.agentUrl.replace(/^http/, 'ws') + AgentEndpoint.tunnel, TUNNEL_SUBPROTOCOL, {
    headers: { authorization: `Bearer ${accessToken}`, [AGENT_IDENTITY_HEADER]: 'instance=copy&boot=copy' },
  });
  const [code] = (await once(socket, 'close')) as [number];
  return code;
}

async function streamed(sandboxId: string): Promise<ExecStreamItem[]> {
  const items: ExecStreamItem[] = [];
  for await (const item of await control.fleet.services.exec.stream(admin, sandboxId, { command: ['echo', 'hi'] }))
    items.push(item);
  return items;
}

it(
  'has an agent that re-joins after a quarantine run commands at once, however often that happens',
  { timeout: 180_000 },
  async () => {
    const { host, registrationToken } = await control.fleet.services.hosts.createLocal('nest');
    let agent = await joined(registrationToken);
    try {
      const { query } = control.database.as<FleetTables & { Team: { id: string } }>();
      const { id: teamId } = await query.selectFrom('Team').select('id').executeTakeFirstOrThrow();
      const create = () => control.fleet.services.sandboxes.create(admin, { teamId, hostId: host.id });
      const { sandbox } = await vi.waitFor(create, DEADLINE_MS);
      await vi.waitFor(
        async () =>
          expect(await control.fleet.services.sandboxes.find(admin, sandbox.id)).toMatchObject({ status: 'RUNNING' }),
        DEADLINE_MS,
      );
      for (let round = 0; round < ROUNDS; round++) {
        // One that is under way goes with the tunnel.
        const sleeping = await control.fleet.services.exec.stream(admin, sandbox.id, { command: ['sleep', '600'] });
        expect(await copyDials()).toBe(CloseCode.SecondAgent);
        expect((await sleeping.next()).value).toMatchObject({ code: 'HOST_UNAVAILABLE' });
        await agent[Symbol.asyncDispose]();
        const { registrationToken: token } = await control.fleet.services.hostTokens.regenerate(admin, {
          hostId: host.id,
          replaceCredentials: false,
          resolveQuarantine: true,
        });
        agent = await joined(token);
        const startedAt = performance.now();
        // It is online by its own account, so it has been asked something; control may still be writing that down.
        expect(await streamed(sandbox.id)).toMatchObject([{ kind: 'STDOUT' }, { kind: 'EXIT', exitCode: 0 }]);
        expect(performance.now() - startedAt).toBeLessThan(ANSWERED_MS);
        expect(await control.fleet.services.sandboxes.find(admin, sandbox.id)).toMatchObject({ status: 'RUNNING' });
      }
      expect(await control.fleet.services.hosts.findForControl(host.id)).toMatchObject({ quarantinedAt: null });
    } finally {
      await agent[Symbol.asyncDispose]();
    }
  },
);
