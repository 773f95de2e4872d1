import type { Caller } from '@rookery/wire/caller.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import { bearerToken } from '@rookery/wire/http.ts';
import { sha256 } from '@rookery/wire/secrets.ts';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import proxyAddr from 'proxy-addr';

/** The longest user agent that is passed on; browsers stay far below it. */
const MAX_USER_AGENT = 255;

/** Headers between our processes begin like this; nobody else may send one. */
const INTERNAL_PREFIX = 'x-rookery-';

export interface CallersOptions {
  /** Name of the cookie that holds a browser's session, out of reach of scripts. Cookies know no ports: two Rookeries on one machine need two names. */
  readonly cookieName: string;
  /** Proxies whose `X-Forwarded-For` is believed: CIDRs, addresses, `loopback`, `linklocal`, `uniquelocal`. */
  readonly trustedProxies: readonly string[];
}

/** What of a request says who sends it. */
type Request = Pick<IncomingMessage, 'headers' | 'socket'>;

/** Tells who sends a request: by which credentials, from which address, with which program. */
export class Callers {
  readonly #cookieName: string;
  readonly #isTrusted: (address: string, hop: number) => boolean;

  constructor({ cookieName, trustedProxies }: CallersOptions) {
    this.#cookieName = cookieName;
    this.#isTrusted = trustedProxies.length > 0 ? proxyAddr.compile([...trustedProxies]) : () => false;
  }

  /** The sender of a request: `Authorization: Bearer`, else `X-API-Key`, else the session's cookie. */
  of(request: Request): Caller {
    const { headers } = request;
    const token = bearerToken(headers.authorization) ?? apiKey(headers['x-api-key']);
    const credential = token === undefined ? { session: cookie(headers.cookie, this.#cookieName) } : { token };
    return { ...this.origin(request), ...credential };
  }

  /** The same without credentials: for who is about to sign in. */
  origin(request: Request): Caller {
    return {
      address: this.#address(request),
      userAgent: request.headers['user-agent']?.slice(0, MAX_USER_AGENT),
    };
  }

  /**
   * Who is at the other end of a WebSocket. Browsers cannot set headers on one, so credentials may
   * also come with its first message: `authorization`, `x-api-key` or `apiKey`.
   */
  ofSocket(request: Request, connectionParams: unknown): Caller {
    const given = (
      typeof connectionParams === 'object' && connectionParams !== null ? connectionParams : {}
    ) as Readonly<Record<string, unknown>>;
    const { authorization } = given;
    const token =
      bearerToken(typeof authorization === 'string' ? authorization : undefined) ??
      apiKey(given['x-api-key']) ??
      apiKey(given['apiKey']);
    return token === undefined ? this.of(request) : { ...this.origin(request), token };
  }

  #address(request: Request): string | undefined {
    const direct = request.socket.remoteAddress;
    if (direct === undefined) return undefined;
    const claimed = proxyAddr(request as IncomingMessage, this.#isTrusted);
    // What a proxy passed on may be anything; an address is one.
    return plain(isIP(claimed) ? claimed : direct);
  }
}

/**
 * Refuses requests that carry a header of ours: it would be an attempt to speak as the gateway.
 *
 * @throws {RookeryError} `BAD_USER_INPUT`
 */
export function refuseInternalHeaders({ headers }: Pick<IncomingMessage, 'headers'>): void {
  if (Object.keys(headers).some((name) => name.startsWith(INTERNAL_PREFIX)))
    throw new RookeryError('BAD_USER_INPUT', 'Headers that begin with x-rookery- are not for clients.');
}

/** Names a caller's credential without being it; undefined when there is none. */
export function credentialOf({ token, session }: Caller): string | undefined {
  const credential = token ?? session;
  return credential === undefined ? undefined : sha256(credential);
}

/** IPv4 as IPv4, also where the listener is IPv6. */
const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '');

function apiKey(value: unknown): string | undefined {
  return typeof value === 'string' && /^[\w.~+/=-]+$/.test(value.trim()) ? value.trim() : undefined;
}

/** The value of a cookie. */
export function cookie(header: string | undefined, name: string): string | undefined {
  for (const pair of header?.split(';') ?? []) {
    const [key, value] = pair.split('=', 2);
    if (key?.trim() === name && value) return value.trim();
  }
  return undefined;
}
