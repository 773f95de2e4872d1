import type { Caller } from '@rookery/wire/caller.ts';
import { CloseCode } from '@rookery/wire/close-codes.ts';
import type { WebSocket } from 'ws';
import { credentialOf } from './callers.ts';
import { OpenCounts } from './limits/rates.ts';

/** Whether somebody is signed in; `unknown` when nobody could be asked. */
export type SignedInCheck = (caller: Caller) => Promise<'yes' | 'no' | 'unknown'>;

/**
 * How often credentials of quiet sockets are looked at again, in ms. Control watches those that have
 * a stream open, every 4 s as well; with both, a tab that is signed out is told within 5 s.
 */
const RECHECK_MS = 4_000;

/** Checks that run at the same time in one pass. */
const CHECKS_AT_ONCE = 4;

interface Credential {
  readonly caller: Caller;
  readonly sockets: Set<WebSocket>;
  /** Streams that are open on its sockets. */
  streams: number;
  checking: boolean;
}

/**
 * The sockets of those who are signed in, by credential: when a session ends, all of its sockets do,
 * so that a tab that is signed out does not go on looking as if it were live.
 */
export class ViewerSockets implements Disposable {
  readonly #credentials = new Map<string, Credential>();
  readonly #isSignedIn: SignedInCheck;
  readonly #counts: OpenCounts;
  readonly #timer: NodeJS.Timeout;

  /** @param maxPerCredential 0 for no limit. */
  constructor(isSignedIn: SignedInCheck, maxPerCredential: number) {
    this.#isSignedIn = isSignedIn;
    this.#counts = new OpenCounts(maxPerCredential);
    this.#timer = setInterval(() => {
      // Who has a stream open is watched where the stream comes from; asking twice would cost twice.
      void this.#recheckMany([...this.#credentials].flatMap(([key, { streams }]) => (streams === 0 ? [key] : [])));
    }, RECHECK_MS);
    this.#timer.unref();
  }

  /** Takes in a socket until it closes; false when there are too many with this credential. */
  add(caller: Caller, socket: WebSocket): boolean {
    const key = credentialOf(caller);
    if (key === undefined || !this.#counts.take(key)) return false;
    let credential = this.#credentials.get(key);
    if (!credential) {
      credential = { caller, sockets: new Set(), streams: 0, checking: false };
      this.#credentials.set(key, credential);
    }
    const { sockets } = credential;
    sockets.add(socket);
    socket.once('close', () => {
      this.#counts.release(key);
      sockets.delete(socket);
      if (sockets.size === 0) this.#credentials.delete(key);
    });
    return true;
  }

  /** A stream was opened with this credential. Call what it returns when it has ended. */
  streamOpened(caller: Caller): () => void {
    const credential = this.#credentials.get(credentialOf(caller) ?? '');
    if (!credential) return () => {};
    credential.streams += 1;
    return () => {
      credential.streams -= 1;
    };
  }

  /** Something says that this credential may be worth nothing any more: finds out, and closes its sockets if so. */
  async recheck(caller: Caller): Promise<void> {
    const key = credentialOf(caller);
    if (key !== undefined) await this.#recheck(key);
  }

  /** The same for everybody: somebody ended sessions, and whose they were is not known here. */
  async recheckAll(): Promise<void> {
    await this.#recheckMany([...this.#credentials.keys()]);
  }

  async #recheckMany(keys: string[]): Promise<void> {
    const work = async (): Promise<void> => {
      for (let key = keys.pop(); key !== undefined; key = keys.pop()) await this.#recheck(key);
    };
    await Promise.all(Array.from({ length: CHECKS_AT_ONCE }, work));
  }

  async #recheck(key: string): Promise<void> {
    const credential = this.#credentials.get(key);
    if (!credential || credential.checking) return;
    credential.checking = true;
    try {
      // Could not tell: that signs nobody out, and the next check may.
      if ((await this.#isSignedIn(credential.caller)) !== 'no') return;
      for (const socket of credential.sockets) closeSignedOut(socket, credential.caller);
    } finally {
      credential.checking = false;
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/**
 * Closes a socket whose credential is worth nothing: with 4401, on which clients give up, or with
 * 4403 when it is an access token that has simply expired, on which they come back with a new one.
 */
export function closeSignedOut(socket: WebSocket, { token }: Caller): void {
  if (token !== undefined && hasExpired(token)) socket.close(CloseCode.Forbidden, 'the token has expired');
  else socket.close(CloseCode.Unauthorized, 'sign in first');
}

/** Whether a token says of itself that it has expired. What it says is not verified, and need not be: it is refused either way. */
function hasExpired(token: string): boolean {
  try {
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as {
      exp?: unknown;
    };
    return typeof claims.exp === 'number' && claims.exp * 1_000 <= Date.now();
  } catch {
    return false;
  }
}
