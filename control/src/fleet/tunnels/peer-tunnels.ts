import { ClientSocket } from '@rookery/wire/client-socket.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { MAX_MESSAGE_BYTES } from '@rookery/wire/graphql-socket.ts';
import { createClient, type Client } from 'graphql-ws';
import { sql } from 'kysely';
import { REPLICA_DEAD_AFTER_MS } from '../../kernel/replica.ts';
import type { SigningKeys } from '../../kernel/signing-keys.ts';
import type { FleetDatabase } from '../tables.ts';
import type { Answer } from './admission.ts';
import { HostClient } from './host-client.ts';
import { PEER_PATH, PEER_TOKEN } from './peer-server.ts';

/** How long a replica may take to accept a connection, in ms: it is near, or dead. */
const DIAL_DEADLINE_MS = 3_000;

/** How often a replica is pinged while something is asked of it, in ms, and how long it may take to answer. */
const PING_MS = 5_000;
const PONG_MS = 5_000;

/** How long a connection that nothing is asked through is kept, in ms. */
const IDLE_MS = 30_000;

/** Life of the token that a connection is opened with, in seconds; more than replicas' clocks differ. */
const TOKEN_SECONDS = 300;

export interface PeerTunnelsDeps {
  readonly database: FleetDatabase;
  readonly keys: SigningKeys;
  readonly replicaId: string;
  readonly log: Logger;
}

interface Link {
  readonly client: Client;
  readonly host: HostClient;
}

/**
 * The hosts whose tunnels other replicas hold, reached through those: one connection for each host
 * that something is asked of, closed when it is idle. Addresses are those that replicas have written
 * down for each other, never an agent's.
 */
export class PeerTunnels implements AsyncDisposable {
  readonly #deps: PeerTunnelsDeps;
  readonly #links = new Map<string, Link>();

  constructor(deps: PeerTunnelsDeps) {
    this.#deps = deps;
  }

  /** The client of a host that another replica is connected to; undefined when none that lives is. */
  async find(hostId: string): Promise<HostClient | undefined> {
    const known = this.#links.get(hostId);
    if (known) return known.host;
    const owner = await this.#ownerOf(hostId);
    if (!owner) return undefined;
    const token = await this.#tokenFor(owner.id);
    // Somebody else may have been faster.
    return (this.#links.get(hostId) ?? this.#link(hostId, owner.address, token)).host;
  }

  /** Asks the agent behind the tunnel that another replica holds who it is; on a connection of its own, so that it is this tunnel's. */
  async ask(hostId: string, replicaId: string, deadlineMs: number): Promise<Answer> {
    const address = await this.#addressOf(replicaId);
    if (!address) return { kind: 'SILENT' };
    const { client, host } = this.#dial(hostId, address, await this.#tokenFor(replicaId), () => {});
    const startedAt = performance.now();
    try {
      return { kind: 'ANSWERED', ...(await host.identity(deadlineMs)) };
    } catch (error) {
      const { cause } = error as Error;
      // An error of GraphQL's comes from beyond the replica, and with 404 it says itself that it has no such tunnel.
      // Any other of the connection says something of the replica only; it may be dead, which shows in its row soon.
      const isAnswer = Array.isArray(cause) || /response: 404\b/.test((cause as Error | undefined)?.message ?? '');
      const isLate = performance.now() - startedAt >= deadlineMs;
      return { kind: isAnswer || isLate || !(await this.#addressOf(replicaId)) ? 'SILENT' : 'UNTOLD' };
    } finally {
      client.terminate();
    }
  }

  /** Forgets a host that was deleted. */
  evict(hostId: string): void {
    const link = this.#links.get(hostId);
    this.#links.delete(hostId);
    link?.client.terminate();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const hostId of [...this.#links.keys()]) this.evict(hostId);
  }

  async #ownerOf(hostId: string): Promise<{ id: string; address: string } | undefined> {
    const host = await this.#deps.database.query
      .selectFrom('Host')
      .select('tunnelHolder as id')
      .where('id', '=', hostId)
      .where('deletedAt', 'is', null)
      .executeTakeFirst();
    if (!host?.id || host.id === this.#deps.replicaId) return undefined;
    const address = await this.#addressOf(host.id);
    return address ? { id: host.id, address } : undefined;
  }

  /** Where a replica that lives is reached. */
  async #addressOf(replicaId: string): Promise<string | undefined> {
    const replica = await this.#deps.database.query
      .selectFrom('Replica')
      .select('address')
      .where('id', '=', replicaId)
      .where('seenAt', '>', sql<Date>`now() - ${REPLICA_DEAD_AFTER_MS} * interval '1 ms'`)
      .executeTakeFirst();
    return replica?.address ?? undefined;
  }

  #tokenFor(replicaId: string): Promise<string> {
    const audience = PEER_TOKEN.audience(replicaId);
    return this.#deps.keys.sign('HOST', PEER_TOKEN.type, audience, TOKEN_SECONDS, { sub: this.#deps.replicaId });
  }

  #link(hostId: string, address: string, token: string): Link {
    const link = this.#dial(hostId, address, token, () => {
      if (this.#links.get(hostId) === link) this.#links.delete(hostId);
    });
    this.#links.set(hostId, link);
    this.#deps.log.debug({ hostId, address }, 'reaching a host through another replica');
    return link;
  }

  #dial(hostId: string, address: string, token: string, onClosed: () => void): Link {
    class PeerSocket extends ClientSocket {
      constructor(url: string, protocols: string) {
        const headers = { authorization: `Bearer ${token}` };
        const bounds = { maxPayload: MAX_MESSAGE_BYTES, perMessageDeflate: false, handshakeTimeout: DIAL_DEADLINE_MS };
        super(url, protocols, { headers, ...bounds });
      }
    }
    let pong: NodeJS.Timeout | undefined;
    const forget = (): void => {
      clearTimeout(pong);
      onClosed();
    };
    const client: Client = createClient({
      url: `${address.replace(/^http/, 'ws').replace(/\/+$/, '')}${PEER_PATH}${hostId}`,
      webSocketImpl: PeerSocket,
      lazy: true,
      lazyCloseTimeout: IDLE_MS,
      retryAttempts: 0,
      connectionAckWaitTimeout: DIAL_DEADLINE_MS,
      keepAlive: PING_MS,
      on: {
        ping: (received) => {
          if (!received) pong = setTimeout(() => client.terminate(), PONG_MS);
        },
        pong: (received) => {
          if (received) clearTimeout(pong);
        },
        // Whatever comes next looks for the tunnel again.
        closed: forget,
        error: forget,
      },
    });
    return { client, host: new HostClient(client) };
  }
}
