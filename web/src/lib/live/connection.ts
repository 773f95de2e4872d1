import { createClient, type Client } from 'graphql-ws';

/** Milliseconds between pings of an idle socket. Shorter notices a dead link sooner and wakes radios more often. */
export const PING_EVERY_MS = 9_000;
/** Milliseconds a pong may take. With the above, a dead link shows within 15 s. */
export const PONG_WITHIN_MS = 4_000;
/** Longest wait between two attempts, milliseconds: long enough for a gateway to breathe, short enough for a person. */
export const RETRY_AT_MOST_MS = 5_000;
/** Wire code: the session is over, signing in again is the only cure. */
export const CLOSED_UNAUTHORIZED = 4401;

export type ConnectionPhase = 'connecting' | 'live' | 'reconnecting';

export interface ConnectionState {
  readonly phase: ConnectionPhase;
  /** Since when the phase holds, milliseconds. */
  readonly since: number;
  /** When the server was last heard, milliseconds; null when it never was. */
  readonly lastContactAt: number | null;
}

export interface OnceOptions {
  readonly url: string;
  /** The server closed with 4401. */
  readonly onUnauthorized: () => void;
}

export interface ConnectionOptions extends OnceOptions {
  readonly onState: (state: ConnectionState) => void;
}

export interface Connection {
  readonly client: Client;
  /** A method and not `Symbol.dispose`, which some supported browsers do not have yet. */
  readonly dispose: () => void;
}

/** Full jitter with a floor, so that a restarted gateway is not met by every tab at the same instant. */
export function retryDelay(attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(RETRY_AT_MOST_MS, 300 * 2 ** attempt);
  return ceiling / 2 + (random() * ceiling) / 2;
}

/**
 * One socket for every subscription of the page. It reconnects for ever: a dashboard left open overnight must be
 * right in the morning. graphql-ws resubscribes by itself after each reconnect.
 */
export function connect(options: ConnectionOptions): Connection {
  let state: ConnectionState = { phase: 'connecting', since: Date.now(), lastContactAt: null };

  function move(phase: ConnectionPhase): void {
    if (phase === state.phase) return;
    state = { ...state, phase, since: Date.now() };
    options.onState(state);
  }

  function heard(): void {
    state = { ...state, lastContactAt: Date.now() };
    options.onState(state);
  }

  const watchdog = new Watchdog(() => client.terminate());
  const client = createClient({
    ...SOCKET,
    url: options.url,
    lazyCloseTimeout: 3_000,
    retryAttempts: Number.POSITIVE_INFINITY,
    shouldRetry: (reason) => closeCode(reason) !== CLOSED_UNAUTHORIZED,
    retryWait: (attempt) => new Promise((resolve) => setTimeout(resolve, retryDelay(attempt))),
    on: {
      connected: () => {
        heard();
        move('live');
      },
      message: heard,
      ...watchdog.listeners,
      closed: (event) => {
        watchdog.rest();
        if (closeCode(event) === CLOSED_UNAUTHORIZED) options.onUnauthorized();
        else move('reconnecting');
      },
      error: () => move('reconnecting'),
    },
  });

  return closable(client, watchdog);
}

/**
 * A socket that does not come back by itself: what goes through it must not happen twice. It is opened when something
 * is subscribed to; when it is lost, that fails, and the next subscription opens another.
 */
export function connectOnce({ url, onUnauthorized }: OnceOptions): Connection {
  const watchdog = new Watchdog(() => client.terminate());
  const client = createClient({
    ...SOCKET,
    url,
    // Long enough for the next command to find it open.
    lazyCloseTimeout: 30_000,
    retryAttempts: 0,
    on: {
      ...watchdog.listeners,
      closed: (event) => {
        watchdog.rest();
        if (closeCode(event) === CLOSED_UNAUTHORIZED) onUnauthorized();
      },
    },
  });
  return closable(client, watchdog);
}

const SOCKET = { lazy: true, keepAlive: PING_EVERY_MS, connectionAckWaitTimeout: 10_000 } as const;

/** Ends a socket whose other side does not answer pings. */
class Watchdog {
  #pongTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly bite: () => void) {}

  readonly listeners = {
    ping: (received: boolean): void => {
      if (received) return;
      clearTimeout(this.#pongTimer);
      this.#pongTimer = setTimeout(this.bite, PONG_WITHIN_MS);
    },
    pong: (received: boolean): void => {
      if (received) clearTimeout(this.#pongTimer);
    },
  };

  rest(): void {
    clearTimeout(this.#pongTimer);
  }
}

function closable(client: Client & { terminate(): void }, watchdog: Watchdog): Connection {
  // The browser knows of a lost network before a ping does.
  const offline = () => client.terminate();
  globalThis.addEventListener?.('offline', offline);
  return {
    client,
    dispose() {
      globalThis.removeEventListener?.('offline', offline);
      watchdog.rest();
      // Disposing while a retry waits rejects; there is nobody left to tell.
      void Promise.resolve(client.dispose()).catch(() => undefined);
    },
  };
}

/** The close code of a WebSocket close event; undefined for anything else. */
export function closeCode(reason: unknown): number | undefined {
  if (typeof reason !== 'object' || reason === null || !('code' in reason)) return undefined;
  return typeof reason.code === 'number' ? reason.code : undefined;
}
