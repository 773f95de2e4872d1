import { createControl } from '@rookery/control/app.ts';
import { controlConfigSchema } from '@rookery/control/config.ts';
import { startEmbeddedPostgres } from '@rookery/control/database/embedded-postgres.ts';
import { AgentEndpoint } from '@rookery/wire/endpoints.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { buildSchema } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { generateKeyPair, jwtVerify, SignJWT, type CryptoKey } from 'jose';
import { fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { WebSocketServer } from 'ws';
import { newMachineKey, register } from '../control/test/scripted-agent.ts';
import type { BeatCount } from './beating-clients.ts';

/**
 * Durable heartbeats a second of one control process, through the real agent channel on real sockets: each is
 * acknowledged after its commit, and each connection beats again as soon as it is answered. The peer is a server of the
 * same protocol that checks a token and makes one UPDATE for each beat. Both on the same PostgreSQL, in turns.
 *
 *     node bench/heartbeats.ts [--hosts 1000] [--seconds 10]
 */
const { values: options } = parseArgs({
  options: { hosts: { type: 'string', default: '1000' }, seconds: { type: 'string', default: '10' } },
});
const hosts = Number(options.hosts);
const seconds = Number(options.seconds);
const WARM_UP_SECONDS = 3;

interface Outcome {
  readonly name: string;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Processor time of the server's process for each beat, in µs. */
  readonly cpuMicros: number;
}

const directory = await mkdtemp(join(tmpdir(), 'rookery-bench-'));
try {
  await using postgres = await startEmbeddedPostgres(directory, silentLogger());
  await using control = await createControl({
    config: controlConfigSchema.parse({ ROOKERY_AGENT_PORT: '0', ROOKERY_ADMIN_PASSWORD: randomUUID() }),
    databaseUrl: postgres.url,
    serveSubgraphs: false,
    log: silentLogger(),
  });
  const members: { hostId: string; accessToken: string }[] = [];
  for (let n = 0; n < hosts; n++) {
    const { registrationToken } = await control.fleet.services.hosts.createLocal(`bench-${n}`);
    const { result } = await register(control.agentUrl, registrationToken, await newMachineKey());
    const { registerHost } = result.data as unknown as { registerHost: { hostId: string; accessToken: string } };
    members.push(registerHost);
  }
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519' });
  const peer = await startPeer(postgres.url, publicKey);
  try {
    const peerTokens = await Promise.all(members.map(({ hostId }) => peerToken(privateKey, hostId)));
    const tokens = members.map(({ accessToken }) => accessToken);
    const ours = await measure('Rookery', control.agentUrl, tokens);
    const theirs = await measure('verify + one UPDATE', peer.url, peerTokens);
    const again = await measure('Rookery, again', control.agentUrl, tokens);
    console.table([ours, theirs, again]);
    console.log(`ratio to the peer: ${((ours.perSecond + again.perSecond) / 2 / theirs.perSecond).toFixed(1)}`);
  } finally {
    await peer.close();
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}

async function measure(name: string, url: string, tokens: readonly string[]): Promise<Outcome> {
  const clients = fork(join(import.meta.dirname, 'beating-clients.ts'));
  clients.send({ url: url.replace(/^http/, 'ws'), tokens, warmUpSeconds: WARM_UP_SECONDS, seconds });
  const failed = once(clients, 'exit').then(([code]) => {
    throw new Error(`the clients of ${name} ended with ${code}`);
  });
  const answer = Promise.race([once(clients, 'message'), failed]);
  failed.catch(() => {});
  // The shares of warm-up and measurement are alike.
  const cpu = process.cpuUsage();
  const [{ beats, latenciesMs }] = (await answer) as [BeatCount];
  const { user, system } = process.cpuUsage(cpu);
  const at = (share: number): number => Number((latenciesMs[Math.floor(latenciesMs.length * share)] ?? 0).toFixed(1));
  return {
    name,
    perSecond: Math.round(beats / seconds),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    cpuMicros: Math.round((user + system) / (beats * (1 + WARM_UP_SECONDS / seconds))),
  };
}

function peerToken(key: CryptoKey, hostId: string): Promise<string> {
  return new SignJWT().setProtectedHeader({ alg: 'EdDSA' }).setSubject(hostId).setExpirationTime('1h').sign(key);
}

/** The plain way: the token is checked and the lease written for every single beat. */
async function startPeer(databaseUrl: string, key: CryptoKey): Promise<{ url: string; close: () => Promise<void> }> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 10 });
  const schema = buildSchema(await readFile(join(import.meta.dirname, '../control/agent-channel.graphql'), 'utf8'));
  const server: Server = createServer();
  const sockets = new WebSocketServer({ server, path: AgentEndpoint.channel });
  useServer(
    {
      schema,
      context: ({ connectionParams }) => ({
        token: String(connectionParams?.['authorization']).slice('Bearer '.length),
      }),
      roots: {
        mutation: {
          heartbeat: async ({ input }: { input: { load1: number } }, { token }: { token: string }) => {
            const { payload } = await jwtVerify(token, key);
            await pool.query('update host_leases set seen_at = now(), load1 = $2 where host_id = $1', [
              payload.sub,
              input.load1,
            ]);
            return {
              nextHeartbeatMs: 15_000,
              wantInventory: false,
              controlTime: new Date().toISOString(),
              reconnectSpreadMs: 500,
            };
          },
        },
      },
    },
    sockets,
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      for (const socket of sockets.clients) socket.terminate();
      server.close();
      await pool.end();
    },
  };
}
