import type { Client } from 'graphql-ws';
import { createContext } from 'svelte';
import { query } from '#lib/gql/client.ts';
import { HealthWatch } from '#lib/health/health-watch.svelte.ts';
import { HostChangedSubscription, HostReadingsQuery, HostsQuery } from '#lib/hosts/host.operations.ts';
import type { Host } from '#lib/hosts/host.ts';
import { connect, connectOnce, type ConnectionState } from '#lib/live/connection.ts';
import { LiveCollection } from '#lib/live/live-collection.ts';
import { follow, type FeedSource } from '#lib/live/live-feed.ts';
import type { LiveNode } from '#lib/live/live-collection.ts';
import { TeamCursorQuery } from '#lib/teams/team.operations.ts';
import { watchTeams } from '#lib/teams/team-watch.ts';
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

/** Everything the signed-in pages show live: one socket, and what is followed through it. */
export class Fleet {
  readonly hosts: LiveList<Host>;
  readonly sandboxes: LiveList<Sandbox>;
  readonly health = new HealthWatch(() => this.#connection.phase === 'live');
  /** For what must happen once: commands. A lost connection ends them, and nothing runs again by itself. */
  readonly commands: Client;
  #connection = $state.raw<ConnectionState>({ phase: 'connecting', since: Date.now(), lastContactAt: null });
  readonly #abort = new AbortController();
  readonly #socket: Client;
  readonly #onUnauthorized: () => void;
  readonly #endings: (() => void)[] = [];
  // Nothing is drawn from it.
  // eslint-disable-next-line svelte/prefer-svelte-reactivity
  readonly #teamListeners = new Set<(teamId: string | null) => void>();
  #watched: () => readonly string[] = () => [];

  /**
   * @param onUnauthorized  the session is over; called at least once.
   * @param onRightsChanged what the viewer belongs to or may do is another thing now, or may be.
   */
  constructor(onUnauthorized: () => void, onRightsChanged: () => Promise<unknown>) {
    this.#onUnauthorized = onUnauthorized;
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const { client, dispose } = connect({
      url: `${scheme}://${location.host}/graphql`,
      onState: (state) => (this.#connection = state),
      onUnauthorized,
    });
    this.#socket = client;
    const once = connectOnce({ url: `${scheme}://${location.host}/graphql`, onUnauthorized });
    this.commands = once.client;
    this.hosts = this.follow(hostSource, this.#abort.signal);
    this.sandboxes = this.follow(sandboxSource, this.#abort.signal);
    this.health.follow(client, this.#abort.signal);
    const onTeam = (teamId: string | null) => this.#teamListeners.forEach((listener) => listener(teamId));
    const readCursor = async () => (await query(TeamCursorQuery, {})).teams.eventCursor;
    void watchTeams({ socket: client, readCursor, onTeam, onRightsChanged, onUnauthorized }, this.#abort.signal);
    const timer = setInterval(() => void this.#readHosts(), READINGS_EVERY_MS);
    this.#endings.push(
      () => this.#abort.abort(),
      dispose,
      once.dispose,
      () => clearInterval(timer),
    );
  }

  /** Follows one more list through the same socket, until the signal aborts. */
  follow<T extends LiveNode, TChange>(source: FeedSource<T, TChange>, signal: AbortSignal): LiveList<T> {
    const list = new LiveList(new LiveCollection<T>());
    void follow(
      {
        collection: list.collection,
        source,
        socket: this.#socket,
        onProblem: (problem) => (list.problem = problem),
        onUnauthorized: this.#onUnauthorized,
      },
      AbortSignal.any([signal, this.#abort.signal]),
    );
    return list;
  }

  /**
   * Hears of changes of teams, their members, invitations and keys.
   *
   * @param listener gets the team's id, or null when any of them may have changed.
   * @returns the function that ends it.
   */
  onTeamChange(listener: (teamId: string | null) => void): () => void {
    this.#teamListeners.add(listener);
    return () => this.#teamListeners.delete(listener);
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
