import { CloseCode } from '@rookery/wire/close-codes.ts';
import { AGENT_IDENTITY_HEADER, AgentEndpoint, TUNNEL_SUBPROTOCOL } from '@rookery/wire/endpoints.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { decodeJwt } from 'jose';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { startTestControl } from '../test/harness.ts';
import { ScriptedAgent } from '../test/scripted-agent.ts';
import { AgentSockets, startAgentServer } from './agent-server.ts';
import type { Control } from './app.ts';

/** Life of access tokens, in ms; no test waits for its end. */
const LIFE_MS = 3_600_000;

let control: Control;
beforeAll(async () => {
  control = await startTestControl({ ROOKERY_HOST_TOKEN_SECONDS: LIFE_MS / 1_000 });
});
afterAll(() => control[Symbol.asyncDispose]());

const newHost = async (agentUrl = control.agentUrl): Promise<ScriptedAgent> =>
  ScriptedAgent.join(agentUrl, (await control.fleet.services.hosts.createLocal(randomUUID())).registrationToken);

/** Opens the channel as an agent does. */
async function openChannel(agentUrl: string, accessToken: string): Promise<WebSocket> {
  const socket = new WebSocket(agentUrl.replace(/^http/, 'ws') + AgentEndpoint.channel, 'graphql-transport-ws');
  await once(socket, 'open');
  socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${accessToken}` } }));
  return socket;
}

test('a channel and a tunnel end with the access token that opened them, and so that agents dial again', async () => {
  const { fleet } = control;
  const parts = { channel: fleet.agentChannel, tunnels: fleet.tunnels, isReady: async () => true, log: silentLogger() };
  // As if the whole life of a token were over a moment after it was made.
  const sockets = new AgentSockets({ expirySkewMs: 1_000 - LIFE_MS });
  await using server = await startAgentServer({ ...parts, host: '127.0.0.1', port: 0, sockets });
  const agentUrl = `http://127.0.0.1:${server.port}`;
  await using agent = await newHost();
  for (const open of [() => agent.dial(agentUrl), () => openChannel(agentUrl, agent.accessToken)]) {
    const [code, reason] = (await once(await open(), 'close')) as [number, Buffer];
    expect([code, String(reason)]).toEqual([CloseCode.Forbidden, 'access token expired']);
  }
  await vi.waitFor(() => expect(sockets.hosts).toBe(0), 10_000);
});

test('and not before, however long that is', async () => {
  await using agent = await newHost();
  const { until } = (await control.fleet.agentChannel.enrolment.authenticate(agent.accessToken)) ?? {};
  expect(until).toBe((decodeJwt(agent.accessToken).exp as number) * 1_000);

  const channel = await openChannel(control.agentUrl, agent.accessToken);
  const [first] = (await once(channel, 'message')) as [Buffer];
  expect(JSON.parse(String(first))).toMatchObject({ type: 'connection_ack' });
  const lasting = await agent.dial();
  const identity = { hostId: agent.hostId, familyId: 'family', machineId: null };
  new AgentSockets().add({ ...identity, until: Date.now() + 2 ** 40 }, lasting);
  // A timer that is too long for Node would fire at once.
  lasting.ping();
  await once(lasting, 'pong');
  expect([channel.readyState, lasting.readyState]).toEqual([WebSocket.OPEN, WebSocket.OPEN]);
  channel.terminate();
});

test.each([
  ['nothing', undefined],
  ['no instance', 'boot=b'],
  ['an instance that no text column takes', 'instance=a%00b&boot=b'],
  ['an instance without end', `instance=${'a'.repeat(65)}&boot=b`],
  ['no boot', 'instance=a'],
])('an agent that says %s of itself gets no tunnel, and is told that it is its own fault', async (_case, said) => {
  await using agent = await newHost();
  const headers = {
    authorization: `Bearer ${agent.accessToken}`,
    ...(said === undefined ? {} : { [AGENT_IDENTITY_HEADER]: said }),
  };
  const url = control.agentUrl.replace(/^http/, 'ws') + AgentEndpoint.tunnel;
  const socket = new WebSocket(url, TUNNEL_SUBPROTOCOL, { headers });
  socket.on('error', () => {});
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
  expect(response.statusCode).toBe(400);
  socket.terminate();
});
