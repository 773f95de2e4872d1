import { CloseCode } from '@rookery/wire/close-codes.ts';
import { AGENT_IDENTITY_HEADER, AgentEndpoint, TUNNEL_SUBPROTOCOL } from '@rookery/wire/endpoints.ts';
import { graphqlHttpHandler } from '@rookery/wire/graphql-http.ts';
import { DocumentCache } from '@rookery/wire/graphql-operation.ts';
import { closeSockets, guardedSocketOptions, MAX_MESSAGE_BYTES } from '@rookery/wire/graphql-socket.ts';
import { bearerToken, listen, refuseUpgrade, sendJson, type ListeningServer } from '@rookery/wire/http.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { GraphQLError } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { WebSocketServer, type WebSocket } from 'ws';
import { AGENT_BUNDLE } from './fleet/agent-channel/agent-bundle.ts';
import {
  agentChannelSchema,
  type AgentChannelContext,
  type AgentChannelServices,
} from './fleet/agent-channel/agent-channel.schema.ts';
import type { AuthenticatedHost } from './fleet/enrolment/enrolment.service.ts';
import { machineSchema } from './fleet/hosts/host.specs.ts';
import { instanceSchema } from './fleet/sandboxes/sandbox.report.ts';
import type { Newcomer } from './fleet/tunnels/admission.ts';
import type { HostClientPool } from './fleet/tunnels/host-client-pool.ts';

/** How often control pings on an agent's channel, in ms; an agent that is there beats more often than that. */
const CHANNEL_PING_MS = 60_000;

export interface AgentServerDeps {
  readonly host: string;
  readonly port: number;
  readonly channel: AgentChannelServices;
  readonly tunnels: HostClientPool;
  readonly sockets: AgentSockets;
  readonly isReady: () => Promise<boolean>;
  readonly log: Logger;
}

/** How long a socket may outlive the access token that opened it, in ms: clocks of replicas differ, and agents renew long before. */
const EXPIRY_SKEW_MS = 30_000;

/** `setTimeout` takes no more. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The open sockets of agents, channels and tunnels, so that those whose credentials end can be cut. */
export class AgentSockets {
  readonly #byHost = new Map<string, Map<WebSocket, AuthenticatedHost>>();
  readonly #expirySkewMs: number;

  constructor({ expirySkewMs = EXPIRY_SKEW_MS } = {}) {
    this.#expirySkewMs = expirySkewMs;
  }

  /** How many hosts have one. */
  get hosts(): number {
    return this.#byHost.size;
  }

  add(host: AuthenticatedHost, socket: WebSocket): void {
    const { hostId } = host;
    const sockets = this.#byHost.get(hostId) ?? new Map<WebSocket, AuthenticatedHost>();
    this.#byHost.set(hostId, sockets.set(socket, host));
    this.#cutAt(host.until + this.#expirySkewMs, socket);
    socket.once('close', () => {
      sockets.delete(socket);
      if (sockets.size === 0 && this.#byHost.get(hostId) === sockets) this.#byHost.delete(hostId);
    });
  }

  disconnect(hostId: string, code: CloseCode, reason: string): void {
    for (const socket of this.#byHost.get(hostId)?.keys() ?? []) socket.close(code, reason);
  }

  /** Whoever still has good credentials dials again with newer ones. */
  #cutAt(moment: number, socket: WebSocket): void {
    const left = moment - Date.now();
    const timer = setTimeout(
      () => {
        if (left > LONGEST_TIMER_MS) this.#cutAt(moment, socket);
        else socket.close(CloseCode.Forbidden, 'access token expired');
      },
      Math.min(Math.max(left, 0), LONGEST_TIMER_MS),
    );
    timer.unref();
    socket.once('close', () => clearTimeout(timer));
  }

  /** Cuts the sockets of which `standing` says that their credentials have ended. @returns how many. */
  async cutEnded(standing: (hosts: readonly AuthenticatedHost[]) => Promise<Set<AuthenticatedHost>>): Promise<number> {
    const open = [...this.#byHost.values()].flatMap((sockets) => [...sockets]);
    const good = await standing(open.map(([, host]) => host));
    const ended = open.filter(([, host]) => !good.has(host));
    for (const [socket] of ended) socket.close(CloseCode.Unauthorized, 'credentials have ended');
    return ended.length;
  }
}

/** The listener that agents reach: their channel, their tunnel and the agent itself to download. */
export async function startAgentServer(deps: AgentServerDeps): Promise<ListeningServer> {
  const { channel, tunnels, sockets, log } = deps;
  const documents = new DocumentCache(agentChannelSchema());
  const handleGraphQL = graphqlHttpHandler({
    documents,
    log,
    context: async ({ headers, socket }): Promise<AgentChannelContext> => ({
      services: channel,
      host: await authenticate(channel, bearerToken(headers.authorization)),
      address: socket.remoteAddress ?? null,
    }),
  });

  const listening = await listen(
    (request, response) => {
      route(request, response, handleGraphQL, deps).catch((err: unknown) => {
        log.error({ err }, 'a request from an agent failed');
        sendJson(response, 500, { error: 'internal error' });
      });
    },
    deps.port,
    deps.host,
    'agents',
    'ROOKERY_AGENT_PORT',
  );

  const channelSockets = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES });
  serveChannel(channelSockets, documents, channel, sockets, log);
  const tunnelSockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    handleProtocols: (offered) => (offered.has(TUNNEL_SUBPROTOCOL) ? TUNNEL_SUBPROTOCOL : false),
  });

  listening.server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    const path = pathOf(request);
    if (path === AgentEndpoint.channel)
      channelSockets.handleUpgrade(request, socket, head, (ws) => channelSockets.emit('connection', ws, request));
    else if (path === AgentEndpoint.tunnel) void acceptTunnel(request, socket, head);
    else refuseUpgrade(socket, 404);
  });

  async function acceptTunnel(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    try {
      const host = await authenticate(channel, bearerToken(request.headers.authorization));
      if (!host) return refuseUpgrade(socket, 401);
      const newcomer = newcomerOf(request, host);
      if (!newcomer) return refuseUpgrade(socket, 400);
      await channel.enrolment.sighted(host, newcomer);
      if ((await channel.tunnels.read(host.hostId))?.quarantinedAt) return refuseUpgrade(socket, 403);
      tunnelSockets.handleUpgrade(request, socket, head, (ws) => {
        ws.on('error', () => ws.terminate());
        sockets.add(host, ws);
        tunnels.adopt(host.hostId, ws, newcomer);
      });
    } catch (err) {
      log.warn({ err }, 'a tunnel could not be accepted');
      refuseUpgrade(socket, 503);
    }
  }

  return {
    ...listening,
    async [Symbol.asyncDispose]() {
      // Tunnels first: their loss is written down before anything else stops.
      await tunnels[Symbol.asyncDispose]();
      await Promise.all([
        closeSockets(tunnelSockets, CloseCode.ServiceRestart, 'control restarts'),
        closeSockets(channelSockets, CloseCode.ServiceRestart, 'control restarts'),
      ]);
      await listening[Symbol.asyncDispose]();
    },
  };
}

function serveChannel(
  server: WebSocketServer,
  documents: DocumentCache,
  services: AgentChannelServices,
  sockets: AgentSockets,
  log: Logger,
): void {
  interface Extra {
    readonly socket: WebSocket;
    readonly request: IncomingMessage;
    host?: AuthenticatedHost;
  }
  const guarded = guardedSocketOptions(documents, log, ({ extra }): AgentChannelContext | readonly GraphQLError[] => {
    const { host, request } = extra as Extra;
    return host
      ? { services, host, address: request.socket.remoteAddress ?? null }
      : [new GraphQLError('Unauthenticated.', { extensions: { code: 'UNAUTHENTICATED' } })];
  });
  useServer(
    {
      ...(guarded as object),
      // Errors of ours stay out of close reasons.
      isProd: true,
      onConnect: async (socket) => {
        const extra = socket.extra as unknown as Extra;
        const given = (socket.connectionParams as { authorization?: unknown } | undefined)?.authorization;
        try {
          const host = await authenticate(services, bearerToken(String(given ?? '')));
          if (!host) extra.socket.close(CloseCode.Unauthorized, 'credentials are not valid');
          else {
            extra.host = host;
            sockets.add(host, extra.socket);
          }
          return host !== null;
        } catch (err) {
          // Could not tell: that says nothing about the credentials.
          log.warn({ err }, 'an agent could not be authenticated');
          extra.socket.close(CloseCode.TryAgainLater, 'try again later');
          return false;
        }
      },
    },
    server,
    CHANNEL_PING_MS,
  );
}

/** Which process on which machine dials, as it says itself; undefined when it does not say so. */
function newcomerOf({ headers, socket }: IncomingMessage, { familyId }: AuthenticatedHost): Newcomer | undefined {
  const given = new URLSearchParams(String(headers[AGENT_IDENTITY_HEADER] ?? ''));
  const instance = instanceSchema.safeParse(given.get('instance'));
  const machine = machineSchema.safeParse({ bootId: given.get('boot'), machineId: given.get('machine') });
  if (!instance.success || !machine.success) return undefined;
  return { ...machine.data, instance: instance.data, familyId, address: socket.remoteAddress ?? null };
}

async function authenticate(
  { enrolment }: AgentChannelServices,
  token: string | undefined,
): Promise<AuthenticatedHost | null> {
  return (await enrolment.authenticate(token)) ?? null;
}

async function route(
  request: IncomingMessage,
  response: ServerResponse,
  handleGraphQL: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
  { isReady, log }: AgentServerDeps,
): Promise<void> {
  switch (pathOf(request)) {
    case AgentEndpoint.channel:
      return handleGraphQL(request, response);
    case AgentEndpoint.bundle:
      return sendBundle(response, log);
    case '/healthz':
      return sendJson(response, 200, { status: 'ok' });
    case '/readyz': {
      const ready = await isReady();
      return sendJson(response, ready ? 200 : 503, { status: ready ? 'ready' : 'database unreachable' });
    }
    default:
      return sendJson(response, 404, {
        error: 'There is nothing here. Agents talk to this port; the dashboard is on another one.',
      });
  }
}

async function sendBundle(response: ServerResponse, log: Logger): Promise<void> {
  try {
    const { size } = await stat(AGENT_BUNDLE);
    const bundle = createReadStream(AGENT_BUNDLE);
    response.writeHead(200, { 'content-type': 'text/javascript', 'content-length': size });
    await pipeline(bundle, response);
  } catch (err) {
    // A download that was broken off is nothing to answer.
    if (response.headersSent) return void response.destroy();
    log.error({ err }, 'the agent bundle is missing; build it with "npm run build"');
    sendJson(response, 503, { error: 'The agent has not been built on this control plane.' });
  }
}

const pathOf = (request: IncomingMessage): string => (request.url ?? '/').split('?')[0] ?? '/';
