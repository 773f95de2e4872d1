import type { IncomingMessage } from 'node:http';
import { CloseCode } from '@rookery/wire/close-codes.ts';
import { AGENT_IDENTITY_HEADER, AgentEndpoint, TUNNEL_SUBPROTOCOL } from '@rookery/wire/endpoints.ts';
import { MAX_MESSAGE_BYTES } from '@rookery/wire/graphql-socket.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { GRAPHQL_TRANSPORT_WS_PROTOCOL, type Server } from 'graphql-ws';
import { WebSocket, type RawData } from 'ws';
import { pause } from '../backoff.ts';
import { Reconnect, type ReconnectSpread } from '../channel/reconnect.ts';
import type { CredentialService } from '../enrolment/credential.service.ts';
import type { TunnelExtra } from './agent.schema.ts';

/** After another agent took over, in ms: two of them with the same identity must not evict each other in a loop. */
const SUPERSEDED_RETRY_MS = 60_000;

const HANDSHAKE_TIMEOUT_MS = 10_000;

/** After how much silence the agent pings, in ms: control pings every 15 s, so there is hardly ever need to. */
export const PING_AFTER_MS = 17_000;

/** How long control may take to answer, in ms. */
export const PONG_DEADLINE_MS = 10_000;

/** After control found a second agent with the identity of this host, in ms: until its owner has decided, control lets neither in. */
const SECOND_AGENT_RETRY_MS = 60_000;

/** How one dial ended. */
type TunnelEnd = {
  readonly kind: 'unauthenticated' | 'second-agent' | 'superseded' | 'restart' | 'lost';
  readonly reason: string;
};

export interface TunnelDeps {
  readonly credentials: CredentialService;
  /** The graphql-ws server of the private schema. */
  readonly server: Server<TunnelExtra>;
  /** Which process on which machine this is. */
  readonly identity: { readonly instance: string; readonly bootId: string; readonly machineId: string | null };
  readonly spread: ReconnectSpread;
  readonly log: Logger;
}

/**
 * The reverse tunnel: dials control, and then is the graphql-ws *server* on that socket. Hosts
 * behind NAT need no open port this way, and control never dials an address a host has named.
 */
export class Tunnel implements AsyncDisposable {
  readonly #deps: TunnelDeps;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #socket: WebSocket | undefined;

  constructor(deps: TunnelDeps) {
    this.#deps = deps;
    this.#running = this.#run();
  }

  /** Drops the connection, which is dialled anew as soon as there are credentials that may be used. */
  hangUp(): void {
    this.#socket?.terminate();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { credentials, log } = this.#deps;
    const { signal } = this.#stop;
    const reconnect = new Reconnect(this.#deps.spread);
    while (!signal.aborted) {
      const authorization = await credentials.usable(signal);
      if (signal.aborted) return;
      const end = await this.#dial(authorization, reconnect);
      if (signal.aborted) return;
      switch (end.kind) {
        case 'superseded':
          log.error(
            'another agent with the identity of this host has taken over its tunnel; was the state directory copied?',
          );
          // If that was its owner's will, control says so to whoever asks to renew.
          await credentials.refreshAfter(authorization, signal);
          await pause(SUPERSEDED_RETRY_MS, signal);
          break;
        case 'second-agent':
          log.error(
            'a second agent with the identity of this host is connected, and control lets neither in; make a new token for the host, and join with it on the machine that is to be it',
          );
          // What control says of the credentials goes into `status`; another one may come of it at any time.
          await credentials.refreshAfter(authorization, signal);
          await credentials.otherThan(authorization, SECOND_AGENT_RETRY_MS, signal);
          break;
        case 'unauthenticated':
          log.warn({ reason: end.reason }, 'the tunnel was refused');
          await credentials.refreshAfter(authorization, signal);
          await pause(reconnect.nextMs(), signal);
          break;
        case 'restart':
        case 'lost':
          log.warn({ reason: end.reason }, 'the tunnel is down');
          await pause(reconnect.nextMs(), signal);
      }
    }
  }

  /** One connection, from dialling to its end. Never rejects. */
  #dial(authorization: string, reconnect: Reconnect): Promise<TunnelEnd> {
    const { credentials, server, identity, log } = this.#deps;
    const socket = new WebSocket(
      credentials.current.controlUrl.replace(/^http/, 'ws') + AgentEndpoint.tunnel,
      TUNNEL_SUBPROTOCOL,
      {
        headers: { authorization, [AGENT_IDENTITY_HEADER]: asQuery(identity) },
        maxPayload: MAX_MESSAGE_BYTES,
        perMessageDeflate: false,
        handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      },
    );
    this.#socket = socket;
    const onStop = (): void => closeOrTerminate(socket);
    this.#stop.signal.addEventListener('abort', onStop, { once: true });

    return new Promise<TunnelEnd>((resolve) => {
      let problem = '';
      let status: number | undefined;
      let handle: ((message: string) => Promise<void>) | undefined;
      let closed: ((code: number, reason: string) => Promise<void>) | undefined;
      let stopPinging = (): void => {};

      // Attached before `open` can fire: the first frame may come with the upgrade's own bytes.
      socket.on('message', (data: RawData) => {
        handle?.(data.toString()).catch((err: unknown) => {
          // A socket that broke under an answer says so itself.
          if ((err as NodeJS.ErrnoException).syscall === 'write') return;
          log.error({ err }, 'a message from the tunnel could not be handled');
          socket.close(1011, 'Internal error');
        });
      });
      socket.on('unexpected-response', (request, response: IncomingMessage) => {
        status = response.statusCode;
        problem = `control answered the upgrade with HTTP ${status}`;
        response.resume();
        request.destroy();
        socket.terminate();
      });
      socket.on('error', (error) => (problem ||= error.message));
      socket.once('open', () => {
        closed = server.opened(
          {
            protocol: GRAPHQL_TRANSPORT_WS_PROTOCOL,
            // Resolves when the bytes are written: this is what holds a command back whose output nobody reads.
            send: (data) =>
              new Promise((sent, failed) => {
                // What an operation still has to say when the tunnel is closed is for nobody.
                if (socket.readyState !== WebSocket.OPEN) return sent();
                socket.send(data, (error) => (error ? failed(error) : sent()));
              }),
            close: (code, reason) => socket.close(code, reason),
            onMessage: (listener) => (handle = listener),
          },
          // Open is not admitted: one that is closed before it was asked anything is dialled again with backoff.
          { onAsked: () => reconnect.stands() } satisfies TunnelExtra,
        );
        stopPinging = keepAlive(socket);
        log.info('the tunnel is up');
      });
      socket.once('close', (code, reason) => {
        stopPinging();
        this.#stop.signal.removeEventListener('abort', onStop);
        void Promise.resolve(closed?.(code, reason.toString())).catch((err: unknown) =>
          log.warn({ err }, 'the end of a tunnel was not clean'),
        );
        resolve(endOf(code, status, problem || reason.toString() || `closed with ${code}`));
      });
    });
  }
}

function asQuery({ instance, bootId, machineId }: TunnelDeps['identity']): string {
  const query = new URLSearchParams({ instance, boot: bootId });
  if (machineId !== null) query.set('machine', machineId);
  return query.toString();
}

/** Pings a control that has said nothing for a while, and drops one that does not answer in time. @returns what stops it. */
export function keepAlive(socket: Pick<WebSocket, 'on' | 'ping' | 'terminate'>): () => void {
  let deadline: NodeJS.Timeout | undefined;
  const silence = setTimeout(() => {
    socket.ping();
    deadline = setTimeout(() => socket.terminate(), PONG_DEADLINE_MS);
  }, PING_AFTER_MS);
  const heard = (): void => {
    clearTimeout(deadline);
    // Begins anew, also when it has run out.
    silence.refresh();
  };
  socket.on('message', heard);
  socket.on('pong', heard);
  return () => {
    clearTimeout(silence);
    clearTimeout(deadline);
  };
}

function endOf(code: number, status: number | undefined, reason: string): TunnelEnd {
  if (status === 401 || status === 403 || code === CloseCode.Unauthorized || code === CloseCode.Forbidden)
    return { kind: 'unauthenticated', reason };
  if (code === CloseCode.SecondAgent) return { kind: 'second-agent', reason };
  if (code === CloseCode.TunnelSuperseded) return { kind: 'superseded', reason };
  return { kind: code === CloseCode.ServiceRestart ? 'restart' : 'lost', reason };
}

/** How long control may take to answer our close frame before the socket is cut, in ms. */
const CLOSE_WAIT_MS = 1_000;

function closeOrTerminate(socket: WebSocket): void {
  if (socket.readyState !== WebSocket.OPEN) return socket.terminate();
  socket.close(1001, 'The agent is stopping');
  const deadline = setTimeout(() => socket.terminate(), CLOSE_WAIT_MS);
  socket.once('close', () => clearTimeout(deadline));
}
