import { createContext } from 'svelte';
import { query } from '#lib/gql/client.ts';
import { HostChangedSubscription, HostReadingsQuery, HostsQuery } from '#lib/hosts/host.operations.ts';
import type { Host } from '#lib/hosts/host.ts';
import { connect, type ConnectionState } from '#lib/live/connection.ts';
import { LiveCollection } from '#lib/live/live-collection.ts';
import { follow, type FeedSource } from '#lib/live/live-feed.ts';
import { LiveList } from '#lib/live/live-list.svelte.ts';
import { SandboxChangedSubscription, SandboxesQuery } from '#lib/sandboxes/sandbox.operations.ts';
import type { Sandbox } from '#lib/sandboxes/sandbox.ts';
import type { HostChangedSubscription as HostChanged } from '#lib/gql/generated/graphql.ts';
import type { SandboxChangedSubscription as SandboxChanged } from '#lib/gql/generated/graphql.ts';

/** Milliseconds between readings of what is not an event: heartbeat ages, load, allocation. */
const READINGS_EVERY_MS = 10_000;
/** As many hosts are read at once; more than fit on a screen, few enough for one request. */
const READINGS_AT_MOST = 100;

const hostSource: FeedSource<Host, HostChanged> = {
  subscription: HostChangedSubscription,
  toEvent: ({ hostChanged: { kind, cursor, hostId, host } }) => ({ kind, cursor, id: hostId, node: host }),
  async page(after) {
    const { hosts } = await query(HostsQuery, { after });
    return { nodes: hosts.edges.map((edge) => edge.node), ...hosts.pageInfo, eventCursor: hosts.eventCursor };
  },
};

const sandboxSource: FeedSource<Sandbox, SandboxChanged> = {
  subscription: SandboxChangedSubscription,
  toEvent: ({ sandboxChanged: { kind, cursor, sandboxId, sandbox } }) => ({
    kind,
    cursor,
    id: sandboxId,
    node: sandbox,
  }),
  async page(after) {
    const { sandboxes } = await query(SandboxesQuery, { after });
    return {
      nodes: sandboxes.edges.map((edge) => edge.node),
      ...sandboxes.pageInfo,
      eventCursor: sandboxes.eventCursor,
    };
  },
};

/** Everything the signed-in pages show live: one socket, the hosts and the sandboxes. */
export class Fleet {
  readonly hosts = new LiveList(new LiveCollection<Host>());
  readonly sandboxes = new LiveList(new LiveCollection<Sandbox>());
  #connection = $state.raw<ConnectionState>({ phase: 'connecting', since: Date.now(), lastContactAt: null });
  readonly #endings: (() => void)[] = [];
  #watched: () => readonly string[] = () => [];

  /** @param onUnauthorized the session is over; called at least once. */
  constructor(onUnauthorized: () => void) {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const { client, dispose } = connect({
      url: `${scheme}://${location.host}/graphql`,
      onState: (state) => (this.#connection = state),
      onUnauthorized,
    });
    const abort = new AbortController();
    const shared = { socket: client, onUnauthorized };
    const { hosts, sandboxes } = this;
    void follow(
      {
        ...shared,
        collection: hosts.collection,
        source: hostSource,
        onProblem: (problem) => (hosts.problem = problem),
      },
      abort.signal,
    );
    void follow(
      {
        ...shared,
        collection: sandboxes.collection,
        source: sandboxSource,
        onProblem: (problem) => (sandboxes.problem = problem),
      },
      abort.signal,
    );
    const timer = setInterval(() => void this.#readHosts(), READINGS_EVERY_MS);
    this.#endings.push(
      () => abort.abort(),
      dispose,
      () => clearInterval(timer),
    );
  }

  get connection(): ConnectionState {
    return this.#connection;
  }

  /**
   * Names the hosts on the screen, whose readings are kept fresh.
   *
   * @returns the function that ends it.
   */
  watchReadings(ids: () => readonly string[]): () => void {
    this.#watched = ids;
    return () => {
      if (this.#watched === ids) this.#watched = () => [];
    };
  }

  dispose(): void {
    for (const end of this.#endings.splice(0)) end();
  }

  async #readHosts(): Promise<void> {
    const ids = this.#watched().slice(0, READINGS_AT_MOST);
    if (document.hidden || ids.length === 0 || this.#connection.phase !== 'live') return;
    try {
      const { nodes } = await query(HostReadingsQuery, { ids: [...ids] });
      this.hosts.collection.refresh(nodes.filter((node) => node?.__typename === 'Host'));
    } catch {
      // The next reading comes in a moment, and the connection indicator tells of larger trouble.
    }
  }
}

export const [getFleet, setFleet] = createContext<Fleet>();
