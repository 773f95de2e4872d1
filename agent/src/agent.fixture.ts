import { generateKeyPairSync, randomUUID, sign, type KeyObject } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { AgentEndpoint, TUNNEL_SUBPROTOCOL } from '@rookery/wire/endpoints.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import { graphqlHttpHandler } from '@rookery/wire/graphql-http.ts';
import { DocumentCache } from '@rookery/wire/graphql-operation.ts';
import { guardedSocketOptions } from '@rookery/wire/graphql-socket.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { buildSchema, execute, subscribe } from 'graphql';
import { createClient, type Client } from 'graphql-ws';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer, type WebSocket } from 'ws';

type Resolver = (args: unknown, context: unknown) => unknown;

/** What the stand-in for control has been told, newest last. */
export interface Heard {
  readonly registrations: Record<string, unknown>[];
  readonly refreshes: Record<string, unknown>[];
  /** `Authorization`s of requests that do nothing but use it. */
  readonly confirmed: string[];
  readonly heartbeats: Record<string, unknown>[];
  readonly reports: Record<string, unknown>[];
  readonly goodbyes: Record<string, unknown>[];
}

/**
 * A small control plane on real sockets that speaks the agent protocol and does as the test says.
 * It keeps no hosts: what is under test is the agent.
 */
export interface TestControl extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly heard: Heard;
  /** Refuses these access tokens. */
  readonly revoked: Set<string>;
  /** Registration tokens that are good. */
  readonly tokens: Set<string>;
  /** Refuses to renew, with these `extensions` beside the code. */
  refuseRefresh: Readonly<Record<string, unknown>> | undefined;
  /** The number that was granted last; undefined: any is. */
  lastSequence: number | undefined;
  refuseGoodbye: boolean;
  /** Refuses reports, as while another agent has the tunnel. */
  refuseReports: boolean;
  /** Of the newest report that it says it has taken. */
  knownEpoch: number;
  /** Refuses registrations of machines that say which host they are, as another control plane does. */
  refuseClaims: boolean;
  /** Signs that a host was deleted; by a key of its own unless one is given. */
  signDeletion(hostId: string, by?: { kid: string; privateKey: KeyObject }): string;
  /** Sandboxes that have been paused or destroyed since. */
  readonly unwanted: Set<string>;
  wantInventory: boolean;
  nextHeartbeatMs: number;
  reconnectSpreadMs: number;
  /** When channels were opened, in ms of `performance.now()`. */
  readonly channelsOpenedAt: number[];
  /** Answers every HTTP request with this instead. */
  outage: { status: number; body: string } | undefined;
  /** How many requests were answered so. */
  readonly outages: number;
  /** The newest tunnel's GraphQL client, once there is one. */
  tunnel(): Promise<Client>;
  /** How many tunnels have been opened. */
  readonly tunnelsOpened: number;
  closeTunnel(code: number): void;
  /** Closes tunnels with this code as soon as they are open, and asks nothing through them. */
  refuseTunnels: number | undefined;
  closeChannels(code: number): void;
  /** Without a word. */
  cutChannels(): void;
  /** Stops listening and cuts everything, keeping the port for {@link start}. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

export async function newTestControl(): Promise<TestControl> {
  const heard: Heard = { registrations: [], refreshes: [], confirmed: [], heartbeats: [], reports: [], goodbyes: [] };
  const log = silentLogger();
  const documents = new DocumentCache(
    buildSchema(readFileSync(new URL('../../control/agent-channel.graphql', import.meta.url), 'utf8')),
  );
  let tunnelSocket: WebSocket | undefined;
  let tunnelClient: Client | undefined;
  let waiting: ((client: Client) => void)[] = [];
  let tunnelsOpened = 0;
  let outages = 0;
  let server = createServer();
  let port = 0;
  const channels = new Set<WebSocket>();

  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const signer = { kid: 'control-1', privateKey };
  const issue = () => ({
    hostId: 'host-1',
    hostName: 'nest',
    accessToken: `access-${randomUUID()}`,
    accessTokenExpiresInSeconds: 3_600,
    refreshToken: `refresh-${randomUUID()}`,
    refreshTokenExpiresInSeconds: 86_400,
    controlKeys: [{ kid: signer.kid, publicKey: publicKey.export({ format: 'jwk' }).x }],
  });
  const authorize = (header: unknown): void => {
    const token = String(header ?? '').replace(/^Bearer /, '');
    if (!token.startsWith('access-') || control.revoked.has(token))
      throw new RookeryError('UNAUTHENTICATED', 'The access token is not known.');
  };
  const takeTurn = (proof: unknown): void => {
    const { lastSequence } = control;
    if (lastSequence === undefined) return;
    const [, payload = ''] = String(proof).split('.');
    const { seq } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { seq: number };
    if (seq !== lastSequence + 1)
      throw new RookeryError('CONFLICT', 'Not its turn.', { reason: 'REQUEST_OUT_OF_TURN', details: { lastSequence } });
    control.lastSequence = seq;
  };
  const root = {
    hostId(_args: unknown, context: { authorization?: unknown }) {
      authorize(context.authorization);
      heard.confirmed.push(String(context.authorization));
      return 'host-1';
    },
    sandboxesToRun({ ids }: { ids: string[] }, context: { authorization?: unknown }) {
      authorize(context.authorization);
      return ids.filter((id) => !control.unwanted.has(id));
    },
    registerHost({ input }: { input: Record<string, unknown> }) {
      heard.registrations.push(input);
      if (!control.tokens.has(String(input['token'])))
        throw new RookeryError('UNAUTHENTICATED', 'The registration token is not known.', { reason: 'TOKEN_UNKNOWN' });
      if (control.refuseClaims && input['hostId'])
        throw new RookeryError('UNAUTHENTICATED', 'The token is another host’s.', { reason: 'TOKEN_OTHER_HOST' });
      return issue();
    },
    refreshHostCredentials({ input }: { input: Record<string, unknown> }) {
      heard.refreshes.push(input);
      takeTurn(input['proof']);
      if (control.refuseRefresh)
        throw new RookeryError('UNAUTHENTICATED', 'The refresh token is not known.', {
          reason: String(control.refuseRefresh['reason'] ?? 'TOKEN_UNKNOWN'),
          details: control.refuseRefresh,
        });
      return issue();
    },
    heartbeat({ input }: { input: Record<string, unknown> }, context: { authorization?: unknown }) {
      authorize(context.authorization);
      heard.heartbeats.push(input);
      return {
        nextHeartbeatMs: control.nextHeartbeatMs,
        wantInventory: control.wantInventory,
        reconnectSpreadMs: control.reconnectSpreadMs,
        controlTime: new Date().toISOString(),
      };
    },
    leaveFleet({ input }: { input: Record<string, unknown> }) {
      if (control.refuseGoodbye) authorize('');
      authorize(`Bearer ${String(input['accessToken'])}`);
      heard.goodbyes.push(input);
      return 'host-1';
    },
    reportSandboxes({ input }: { input: Record<string, unknown> }) {
      heard.reports.push(input);
      if (control.refuseReports) throw new RookeryError('CONFLICT', 'Another agent of this host is connected.');
      return { epoch: Math.max(Number(input['epoch']), control.knownEpoch) };
    },
  };

  const handleHttp = graphqlHttpHandler({
    documents,
    context: (request) => ({ authorization: request.headers.authorization }),
    log,
  });
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    if (control.outage) {
      outages += 1;
      response.writeHead(control.outage.status, { 'content-type': 'text/html' }).end(control.outage.body);
      return;
    }
    void handleHttp(request, response);
  };
  // graphqlHttpHandler has no root value; the test's resolvers hang on the schema itself.
  for (const type of [documents.schema.getQueryType(), documents.schema.getMutationType()]) {
    for (const field of Object.values(type?.getFields() ?? {})) {
      const resolver = root[field.name as keyof typeof root] as unknown;
      field.resolve = (_source: unknown, args: unknown, context: unknown) =>
        typeof resolver === 'function' ? (resolver as Resolver)(args, context) : resolver;
    }
  }

  const attach = (): void => {
    const channelSockets = new WebSocketServer({ noServer: true });
    const tunnelSockets = new WebSocketServer({ noServer: true, handleProtocols: () => TUNNEL_SUBPROTOCOL });
    const guarded = guardedSocketOptions(documents, log, ({ connectionParams }) => connectionParams as object);
    useServer(
      {
        ...guarded,
        execute,
        subscribe,
        onConnect(context: { connectionParams?: Record<string, unknown>; extra: unknown }) {
          try {
            authorize(context.connectionParams?.['authorization']);
            return true;
          } catch {
            (context.extra as { socket: WebSocket }).socket.close(4401, 'Unauthorized');
            return false;
          }
        },
      } as never,
      channelSockets,
    );
    channelSockets.on('connection', (socket) => {
      channels.add(socket);
      control.channelsOpenedAt.push(performance.now());
      socket.once('close', () => channels.delete(socket));
    });
    server.on('upgrade', (request, socket, head) => {
      // A peer that was refused may be gone before it has read why.
      socket.on('error', () => socket.destroy());
      if (request.url === AgentEndpoint.channel) {
        channelSockets.handleUpgrade(request, socket, head, (ws) => channelSockets.emit('connection', ws, request));
        return;
      }
      try {
        authorize(request.headers.authorization);
      } catch {
        socket.end('HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n');
        return;
      }
      tunnelSockets.handleUpgrade(request, socket, head, (ws) => {
        tunnelsOpened += 1;
        if (control.refuseTunnels !== undefined) return ws.close(control.refuseTunnels, 'test');
        tunnelSocket = ws;
        tunnelClient = clientOver(ws);
        // As control does with every tunnel that it admits.
        void ask(tunnelClient, 'mutation { welcome }').catch(() => {});
        for (const resolve of waiting.splice(0)) resolve(tunnelClient);
        ws.once('close', () => {
          if (tunnelSocket === ws) tunnelClient = undefined;
        });
      });
    });
    server.on('request', onRequest);
  };

  const control: TestControl = {
    heard,
    revoked: new Set(),
    unwanted: new Set(),
    tokens: new Set(['good-token']),
    refuseRefresh: undefined,
    lastSequence: undefined,
    refuseGoodbye: false,
    refuseReports: false,
    knownEpoch: 0,
    refuseClaims: false,
    signDeletion: (hostId, by = signer) => {
      const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
      const header = part({ alg: 'EdDSA', kid: by.kid, typ: 'rookery-host-deleted+jws' });
      const signed = `${header}.${part({ iss: 'rookery', aud: 'rookery-agent-channel', sub: hostId })}`;
      return `${signed}.${sign(null, Buffer.from(signed), by.privateKey).toString('base64url')}`;
    },
    wantInventory: false,
    nextHeartbeatMs: 1_000,
    reconnectSpreadMs: 500,
    channelsOpenedAt: [],
    outage: undefined,
    get outages() {
      return outages;
    },
    get url() {
      return `http://127.0.0.1:${port}`;
    },
    get port() {
      return port;
    },
    get tunnelsOpened() {
      return tunnelsOpened;
    },
    tunnel: () => (tunnelClient ? Promise.resolve(tunnelClient) : new Promise((resolve) => waiting.push(resolve))),
    refuseTunnels: undefined,
    closeTunnel: (code) => tunnelSocket?.close(code, 'test'),
    closeChannels: (code) => channels.forEach((socket) => socket.close(code, 'test')),
    cutChannels: () => channels.forEach((socket) => socket.terminate()),
    async stop() {
      for (const socket of channels) socket.terminate();
      tunnelSocket?.terminate();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
    async start() {
      server = createServer();
      attach();
      await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
      port = (server.address() as AddressInfo).port;
    },
    async [Symbol.asyncDispose]() {
      waiting = [];
      if (server.listening) await control.stop();
    },
  };
  await control.start();
  return control;
}

/** A graphql-ws client over a socket that was accepted and not dialled: how control uses the tunnel. */
function clientOver(socket: WebSocket): Client {
  class Adopted {
    static readonly CONNECTING = 0;
    static readonly OPEN = 1;
    static readonly CLOSING = 2;
    static readonly CLOSED = 3;
    constructor() {
      queueMicrotask(() => socket.onopen?.({ type: 'open', target: socket }));
      return Object.defineProperty(socket, 'protocol', { value: 'graphql-transport-ws' }) as unknown as Adopted;
    }
  }
  return createClient({
    url: 'ws://tunnel',
    webSocketImpl: Adopted,
    lazy: false,
    retryAttempts: 0,
    onNonLazyError: () => {},
  });
}

/** One result of an operation, or its error. */
export function ask<T>(client: Client, query: string, variables: Record<string, unknown> = {}): Promise<T> {
  return new Promise((resolve, reject) => {
    client.subscribe<T>(
      { query, variables },
      {
        next: ({ data, errors }) =>
          errors?.[0] ? reject(Object.assign(new Error(errors[0].message), errors[0].extensions)) : resolve(data as T),
        error: (error) => {
          const first = Array.isArray(error) ? (error as { message: string }[])[0] : undefined;
          reject(first ? new Error(first.message) : error);
        },
        complete: () => {},
      },
    );
  });
}

/** An empty directory that is removed when disposed. */
export async function newDirectory(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'rookery-agent-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
