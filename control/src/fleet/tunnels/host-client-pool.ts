import { CloseCode } from '@rookery/wire/close-codes.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { createClient, type Client } from 'graphql-ws';
import type { WebSocket } from 'ws';
import type { Inventory } from '../sandboxes/sandbox.report.ts';
import { HostClient } from './host-client.ts';
import type { PeerTunnels } from './peer-tunnels.ts';

/** How long an agent may take for the round trip that proves its tunnel, in ms. */
const PROOF_DEADLINE_MS = 10_000;

/** How often control pings through a quiet tunnel, in ms; an agent that misses one is cut. */
const TUNNEL_PING_MS = 15_000;

/** How long an agent may take to answer a ping, in ms. */
const TUNNEL_PONG_MS = 10_000;

interface Tunnel {
  readonly generation: number;
  readonly client: Client;
  readonly host: HostClient;
  readonly socket: WebSocket;
  /** Whether it has made a round trip. */
  proven: boolean;
}

export interface HostClientPoolDeps {
  readonly log: Logger;
  /** A tunnel has made its first round trip. The host is placeable once this has resolved; false when there is no such host. */
  readonly onReady: (hostId: string, inventory: Inventory) => Promise<boolean>;
  /** The current tunnel of a host is gone. */
  readonly onLost: (hostId: string) => Promise<void>;
  /** The hosts whose tunnels other replicas hold. */
  readonly peers: Pick<PeerTunnels, 'find' | 'evict'>;
}

/**
 * The agents that this process can talk to, by host id: those whose tunnel it holds itself and, by
 * way of them, those of the other replicas.
 *
 * Agents dial in, because they may sit behind NAT and because control must never dial an address
 * that an agent supplied. On the accepted socket the roles are reversed: control is the graphql-ws
 * client. There is one tunnel per host; a newer one replaces an older, told apart by generation.
 */
export class HostClientPool implements AsyncDisposable {
  readonly #deps: HostClientPoolDeps;
  readonly #tunnels = new Map<string, Tunnel>();
  #generation = 0;

  constructor(deps: HostClientPoolDeps) {
    this.#deps = deps;
  }

  /** The client of a host whose tunnel this process holds; undefined when it does not. */
  get(hostId: string): HostClient | undefined {
    return this.#tunnels.get(hostId)?.host;
  }

  /** The client of a host, through whichever replica holds its tunnel; undefined when none does. */
  async find(hostId: string): Promise<HostClient | undefined> {
    return this.get(hostId) ?? this.#deps.peers.find(hostId);
  }

  /** A tunnel that this process holds, for another replica to use. */
  held(hostId: string): { readonly client: Client; readonly socket: WebSocket } | undefined {
    return this.#tunnels.get(hostId);
  }

  /** The hosts that this process has made a round trip to. */
  get provenHostIds(): string[] {
    return [...this.#tunnels].filter(([, { proven }]) => proven).map(([hostId]) => hostId);
  }

  /** Takes over a socket that a host's agent has dialled and proven itself on. */
  adopt(hostId: string, socket: WebSocket): void {
    const log = this.#deps.log.child({ hostId });
    const generation = ++this.#generation;
    const previous = this.#tunnels.get(hostId);
    const client = reverseClient(socket);
    const tunnel: Tunnel = { generation, client, socket, proven: false, host: new HostClient(client) };
    this.#tunnels.set(hostId, tunnel);
    if (previous) {
      log.warn('a second tunnel of this host replaces the first');
      previous.socket.close(CloseCode.TunnelSuperseded, 'superseded');
      dispose(previous.client);
    }

    socket.once('close', () => {
      dispose(client);
      if (this.#tunnels.get(hostId)?.generation !== generation) return;
      this.#tunnels.delete(hostId);
      log.info('tunnel closed');
      this.#deps.onLost(hostId).catch((err: unknown) => log.error({ err }, 'a closed tunnel could not be recorded'));
    });

    void this.#prove(hostId, tunnel, log);
  }

  /** Closes a host's tunnel, for good or until it dials again, as the code says. */
  evict(hostId: string, code: CloseCode, reason: string): void {
    this.#deps.peers.evict(hostId);
    this.#tunnels.get(hostId)?.socket.close(code, reason);
  }

  async #prove(hostId: string, tunnel: Tunnel, log: Logger): Promise<void> {
    try {
      const inventory = await tunnel.host.inventory(PROOF_DEADLINE_MS);
      if (this.#tunnels.get(hostId) !== tunnel) return;
      tunnel.proven = true;
      if (!(await this.#deps.onReady(hostId, inventory)))
        return tunnel.socket.close(CloseCode.HostDeleted, 'host deleted');
      log.info({ sandboxes: inventory.sandboxes.length }, 'tunnel ready');
      // It may have closed while this was being written down, and the loss recorded first.
      if (this.#tunnels.get(hostId) !== tunnel && !this.#tunnels.has(hostId)) await this.#deps.onLost(hostId);
    } catch (err) {
      if (tunnel.socket.readyState !== tunnel.socket.OPEN) return;
      log.warn({ err }, 'the tunnel does not work; closing it so that the agent dials again');
      tunnel.socket.close(CloseCode.ServiceRestart, 'tunnel check failed');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const hostIds = [...this.#tunnels.keys()];
    for (const { client, socket } of this.#tunnels.values()) {
      dispose(client);
      socket.close(CloseCode.ServiceRestart, 'control restarts');
    }
    this.#tunnels.clear();
    for (const hostId of hostIds) await this.#deps.onLost(hostId);
  }
}

/** A graphql-ws client on a socket that is already open. */
function reverseClient(socket: WebSocket): Client {
  let pong: NodeJS.Timeout | undefined;
  return createClient({
    url: 'ws://tunnel',
    webSocketImpl: adoptedSocket(socket),
    // Connected as long as the socket is; never dialled again from this side.
    lazy: false,
    retryAttempts: 0,
    // An agent that takes the tunnel and then says nothing is found out.
    connectionAckWaitTimeout: 10_000,
    onNonLazyError: () => {},
    keepAlive: TUNNEL_PING_MS,
    on: {
      ping: (received) => {
        if (!received) pong = setTimeout(() => socket.terminate(), TUNNEL_PONG_MS);
      },
      pong: (received) => {
        if (received) clearTimeout(pong);
      },
      closed: () => clearTimeout(pong),
    },
  });
}

/** What graphql-ws takes for a `WebSocket` class: "constructing" one hands out the open socket. */
function adoptedSocket(socket: WebSocket): unknown {
  let used = false;
  const AdoptedSocket = function (): WebSocket {
    // For an operation that comes after the end graphql-ws "dials" again. It must not throw here: that
    // would be a rejection that nobody handles, and leave the operation waiting for ever.
    if (used) return closedSocket();
    used = true;
    // The client sets its handlers right after construction; the socket has long been open.
    queueMicrotask(() => socket.onopen?.({ type: 'open', target: socket } as never));
    return socket;
  };
  return Object.assign(AdoptedSocket, { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 });
}

/** A socket of which graphql-ws learns only that it has been closed. */
function closedSocket(): WebSocket {
  const socket = { readyState: 3, send() {}, close() {} } as unknown as WebSocket;
  const event = { code: 1006, reason: 'the tunnel is closed', wasClean: false, type: 'close', target: socket };
  queueMicrotask(() => socket.onclose?.(event as never));
  return socket;
}

/** `dispose` rejects when it comes while the client is connecting; nobody waits for that. */
function dispose(client: Client): void {
  Promise.resolve(client.dispose()).catch(() => {});
}
