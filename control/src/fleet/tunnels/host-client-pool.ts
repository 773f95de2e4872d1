import { CloseCode } from '@rookery/wire/close-codes.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { createClient, type Client } from 'graphql-ws';
import type { WebSocket } from 'ws';
import type { Inventory } from '../sandboxes/sandbox.report.ts';
import type { Admission, Answer, Newcomer } from './admission.ts';
import { HostClient } from './host-client.ts';
import type { PeerTunnels } from './peer-tunnels.ts';
import type { OvertakenTunnel, TunnelBooks } from './tunnel.books.ts';

/** How long an agent may take for the round trip that proves its tunnel, in ms. */
const PROOF_DEADLINE_MS = 10_000;

/** How often control pings through a quiet tunnel, in ms; an agent that misses one is cut. */
const TUNNEL_PING_MS = 15_000;

/** How long an agent may take to answer a ping, in ms. */
const TUNNEL_PONG_MS = 10_000;

/** How long the agent of a connected host may take to say that it is there when another one dials, in ms. */
const ASK_DEADLINE_MS = 10_000;

/** For how long a tunnel that was compared with the books is used without looking again, in ms; the periodic pass does it more often. */
const CHECKED_FOR_MS = 6_000;

/** Losses that are written down at a time. */
const LOSSES_TOGETHER = 200;

/** How long an agent may take to answer our close frame before its socket is cut, in ms. */
const CLOSE_DEADLINE_MS = 1_000;

interface Tunnel {
  readonly generation: number;
  readonly client: Client;
  readonly host: HostClient;
  readonly socket: WebSocket;
  /** Whether it has made a round trip. */
  proven: boolean;
  /** When it was last known to be the host's, in ms of `performance.now()`. */
  checkedAt: number;
}

export interface HostClientPoolDeps {
  readonly log: Logger;
  readonly replicaId: string;
  /** Decides whether an agent's tunnel becomes its host's; `ask` asks the one that is there. */
  readonly admit: (hostId: string, newcomer: Newcomer, ask: (holder: string) => Promise<Answer>) => Promise<Admission>;
  /** A tunnel has made its first round trip. The host is placeable once this has resolved with `READY`. */
  readonly onReady: (
    hostId: string,
    generation: number,
    inventory: Inventory,
  ) => Promise<'READY' | 'OVERTAKEN' | 'GONE'>;
  /** The tunnel of this generation is gone. */
  readonly onLost: (hostId: string, generation: number) => Promise<void>;
  /** Compares tunnels with the books; see `TunnelBooks.check`. */
  readonly check: TunnelBooks['check'];
  /** The hosts whose tunnels other replicas hold. */
  readonly peers: Pick<PeerTunnels, 'find' | 'ask' | 'evict'>;
  /** Default {@link ASK_DEADLINE_MS}. */
  readonly askDeadlineMs?: number;
}

/**
 * The agents that this process can talk to, by host id: those whose tunnel it holds itself and, by
 * way of them, those of the other replicas.
 *
 * Agents dial in, because they may sit behind NAT and because control must never dial an address
 * that an agent supplied. On the accepted socket the roles are reversed: control is the graphql-ws
 * client. There is one tunnel per host, over all replicas; see `admission.ts` and `tunnel.books.ts`.
 */
export class HostClientPool implements AsyncDisposable {
  readonly #deps: HostClientPoolDeps;
  readonly #tunnels = new Map<string, Tunnel>();
  /** Admissions that are being decided here; those of one host one after the other. */
  readonly #admissions = new Map<string, Promise<void>>();
  /** Losses that could not be written down, each the newest of its host; the books have these tunnels still. */
  readonly #losses = new Map<string, number>();
  #disposed = false;

  constructor(deps: HostClientPoolDeps) {
    this.#deps = deps;
  }

  /** The client of a host whose tunnel this process holds; undefined when it does not. */
  get(hostId: string): HostClient | undefined {
    return this.#tunnels.get(hostId)?.host;
  }

  /**
   * The client of a host, through whichever replica holds its tunnel; undefined when none does. A
   * process that has slept looks first whether its tunnel is still the host's.
   */
  async find(hostId: string): Promise<HostClient | undefined> {
    const tunnel = this.#tunnels.get(hostId);
    if (tunnel && performance.now() - tunnel.checkedAt > CHECKED_FOR_MS) await this.#check([[hostId, tunnel]]);
    return this.get(hostId) ?? this.#deps.peers.find(hostId);
  }

  /** A tunnel that this process holds, for another replica to use. */
  held(hostId: string): { readonly client: Client; readonly socket: WebSocket } | undefined {
    return this.#tunnels.get(hostId);
  }

  /** The same; one whose admission is being decided here is waited for. */
  async heldSoon(hostId: string): Promise<ReturnType<HostClientPool['held']>> {
    if (!this.held(hostId)) await this.#admissions.get(hostId);
    return this.held(hostId);
  }

  /** The hosts that this process has made a round trip to. */
  get provenHostIds(): string[] {
    return [...this.#tunnels].filter(([, { proven }]) => proven).map(([hostId]) => hostId);
  }

  /** Takes over a socket that a host's agent has dialled and proven itself on, if the agent is admitted. */
  adopt(hostId: string, socket: WebSocket, newcomer: Newcomer): void {
    const log = this.#deps.log.child({ hostId });
    // At once, because an agent gives up on a control that does not begin to speak.
    const client = reverseClient(socket);
    socket.once('close', () => dispose(client));
    const before = this.#admissions.get(hostId);
    const mine = Promise.resolve(before)
      .then(() => this.#admit(hostId, socket, client, newcomer, log))
      .catch((err: unknown) => {
        log.warn({ err }, 'it could not be decided whether to admit a tunnel');
        end(socket, client, CloseCode.TryAgainLater, 'try again later');
      })
      .finally(() => {
        if (this.#admissions.get(hostId) === mine) this.#admissions.delete(hostId);
      });
    this.#admissions.set(hostId, mine);
  }

  /** Closes a host's tunnel, for good or until it dials again, as the code says. */
  evict(hostId: string, code: CloseCode, reason: string): void {
    this.#deps.peers.evict(hostId);
    const tunnel = this.#tunnels.get(hostId);
    if (tunnel) this.#close(hostId, tunnel, code, reason);
  }

  /**
   * Compares the tunnels here with the books, after which this process uses none that was overtaken. What
   * could not be written down before is written first.
   *
   * @returns how many were not as the books had it.
   */
  async check(): Promise<number> {
    const written = await this.#writeLosses();
    return written + (await this.#check([...this.#tunnels]));
  }

  async #check(tunnels: readonly [string, Tunnel][]): Promise<number> {
    const startedAt = performance.now();
    const held = tunnels.map(([hostId, { generation, proven }]) => ({ hostId, generation, proven }));
    const { corrected, overtaken } = await this.#deps.check(held);
    for (const [hostId, tunnel] of tunnels) {
      tunnel.checkedAt = startedAt;
      // It may have been written down as ready once more, after its loss.
      if (this.#tunnels.get(hostId) !== tunnel) void this.#lose(hostId, tunnel.generation);
    }
    for (const { hostId, generation, by } of overtaken) {
      const tunnel = this.#tunnels.get(hostId);
      if (tunnel?.generation !== generation) continue;
      this.#deps.log.warn({ hostId, by }, 'a tunnel here is not its host’s any more');
      this.#close(hostId, tunnel, ...OVERTAKEN[by]);
    }
    return corrected + overtaken.length;
  }

  async #admit(hostId: string, socket: WebSocket, client: Client, newcomer: Newcomer, log: Logger): Promise<void> {
    const admission = await this.#deps.admit(hostId, newcomer, (holder) => this.#ask(hostId, holder));
    if (admission.kind !== 'ADMITTED') {
      end(socket, client, ...NOT_ADMITTED[admission.kind]);
      // Two of them: the other one as well, if it is connected here.
      if (admission.kind === 'SECOND_AGENT') this.evict(hostId, ...NOT_ADMITTED.SECOND_AGENT);
      return;
    }
    const { generation } = admission;
    if (this.#disposed) end(socket, client, CloseCode.ServiceRestart, 'control restarts');
    if (socket.readyState !== socket.OPEN) return void (await this.#lose(hostId, generation));
    const previous = this.#tunnels.get(hostId);
    const checkedAt = performance.now();
    const tunnel: Tunnel = { generation, client, socket, proven: false, checkedAt, host: new HostClient(client) };
    this.#tunnels.set(hostId, tunnel);
    if (previous) {
      log.info('a new tunnel of this host replaces an older one');
      end(previous.socket, previous.client, CloseCode.TunnelSuperseded, 'superseded');
    }
    socket.once('close', () => this.#drop(hostId, tunnel));
    void this.#prove(hostId, tunnel, log);
  }

  async #ask(hostId: string, holder: string): Promise<Answer> {
    const { replicaId, peers, askDeadlineMs = ASK_DEADLINE_MS } = this.#deps;
    if (holder !== replicaId) return peers.ask(hostId, holder, askDeadlineMs);
    const identity = await this.get(hostId)
      ?.identity(askDeadlineMs)
      .catch(() => undefined);
    return identity ? { kind: 'ANSWERED', ...identity } : { kind: 'SILENT' };
  }

  #close(hostId: string, tunnel: Tunnel, code: CloseCode, reason: string): void {
    this.#drop(hostId, tunnel);
    end(tunnel.socket, tunnel.client, code, reason);
  }

  /** From here on nothing is asked through it. */
  #drop(hostId: string, { generation }: Tunnel): void {
    if (this.#tunnels.get(hostId)?.generation !== generation) return;
    this.#tunnels.delete(hostId);
    this.#deps.log.info({ hostId }, 'tunnel closed');
    void this.#lose(hostId, generation);
  }

  /** Writes down that a tunnel is gone, sooner or later: its host would count as reachable until its agent dials again. */
  async #lose(hostId: string, generation: number): Promise<boolean> {
    try {
      await this.#deps.onLost(hostId, generation);
      return true;
    } catch (err) {
      this.#deps.log.error({ hostId, err }, 'a closed tunnel could not be recorded; it is tried again');
      // The books heed none but the newest, so that one that comes late says nothing of a tunnel that came after it.
      this.#losses.set(hostId, Math.max(generation, this.#losses.get(hostId) ?? 0));
      return false;
    }
  }

  /** Up to where it fails again; the rest waits for the next time: an outage is not asked about host by host. */
  async #writeLosses(): Promise<number> {
    let written = 0;
    const losses = [...this.#losses];
    for (let start = 0; start < losses.length; start += LOSSES_TOGETHER) {
      // A newer one may have come meanwhile; it has its turn the next time.
      const batch = losses
        .slice(start, start + LOSSES_TOGETHER)
        .filter(([hostId, generation]) => this.#losses.get(hostId) === generation);
      for (const [hostId] of batch) this.#losses.delete(hostId);
      const outcomes = await Promise.all(batch.map(([hostId, generation]) => this.#lose(hostId, generation)));
      written += outcomes.filter(Boolean).length;
      if (outcomes.includes(false)) break;
    }
    return written;
  }

  async #prove(hostId: string, tunnel: Tunnel, log: Logger): Promise<void> {
    const isCurrent = (): boolean => this.#tunnels.get(hostId) === tunnel;
    try {
      const inventory = await tunnel.host.inventory(PROOF_DEADLINE_MS);
      if (!isCurrent()) return;
      tunnel.proven = true;
      const outcome = await this.#deps.onReady(hostId, tunnel.generation, inventory);
      if (outcome === 'GONE') return this.#close(hostId, tunnel, CloseCode.HostDeleted, 'host deleted');
      if (outcome === 'OVERTAKEN') return void (await this.#check([[hostId, tunnel]]));
      log.info({ sandboxes: inventory.sandboxes.length }, 'tunnel ready');
      // It is said to whoever sits before the agent; nothing waits for it.
      tunnel.host
        .welcome(PROOF_DEADLINE_MS)
        .catch((err: unknown) => log.info({ err }, 'a welcome did not get through'));
      // It may have closed while this was being written down, and the loss recorded first.
      if (!isCurrent()) await this.#lose(hostId, tunnel.generation);
    } catch (err) {
      // It may have been written down as ready all the same, after its loss.
      if (!isCurrent()) return void (tunnel.proven && (await this.#lose(hostId, tunnel.generation)));
      log.warn({ err }, 'the tunnel does not work; closing it so that the agent dials again');
      this.#close(hostId, tunnel, CloseCode.ServiceRestart, 'tunnel check failed');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    const tunnels = [...this.#tunnels];
    this.#tunnels.clear();
    for (const [, { client, socket }] of tunnels) end(socket, client, CloseCode.ServiceRestart, 'control restarts');
    for (const [hostId, { generation }] of tunnels) this.#losses.set(hostId, generation);
    await this.#writeLosses();
    await Promise.all(this.#admissions.values());
    // What cannot be written now either is left to whoever clears up after dead processes.
    await this.#writeLosses();
  }
}

type Ending = [code: CloseCode, reason: string];

const NOT_ADMITTED: Record<Exclude<Admission['kind'], 'ADMITTED'>, Ending> = {
  SECOND_AGENT: [CloseCode.SecondAgent, 'two agents say that they are this host'],
  QUARANTINED: [CloseCode.SecondAgent, 'two agents say that they are this host'],
  GONE: [CloseCode.HostDeleted, 'host deleted'],
  WAIT: [CloseCode.TryAgainLater, 'try again later'],
};

const OVERTAKEN: Record<OvertakenTunnel['by'], Ending> = {
  TUNNEL: [CloseCode.TunnelSuperseded, 'superseded'],
  REGISTRATION: [CloseCode.Unauthorized, 'credentials have ended'],
  QUARANTINE: [CloseCode.SecondAgent, 'two agents say that they are this host'],
};

/** Closes a socket. Whatever is under way on it fails now and not when the agent has answered, which it may never do. */
function end(socket: WebSocket, client: Client, code: CloseCode, reason: string): void {
  socket.close(code, reason);
  client.terminate();
  const deadline = setTimeout(() => socket.terminate(), CLOSE_DEADLINE_MS);
  socket.once('close', () => clearTimeout(deadline));
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
