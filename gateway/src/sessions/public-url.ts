import type { IncomingMessage } from 'node:http';

/** Where a path is sent that is not one of ours. */
const HOME = '/';

/** Any origin; a path resolved against it must stay with it. */
const SOMEWHERE = 'http://gateway.invalid';

/**
 * A path of the dashboard's out of what a client sent; home for everything that could lead elsewhere.
 *
 * Browsers read `\` as `/` and drop tabs and line ends, so `/\evil` and `/<tab>/evil` are links to
 * another host: it is parsed as they do, and what comes out is used, not what went in.
 */
export function localPath(value: string | null | undefined): string {
  if (!value?.startsWith('/') || !URL.canParse(value, SOMEWHERE)) return HOME;
  const url = new URL(value, SOMEWHERE);
  if (url.origin !== SOMEWHERE) return HOME;
  const path = `${url.pathname}${url.search}${url.hash}`;
  // `/.//evil` is tidied up into `//evil`.
  return path.startsWith('//') ? HOME : path;
}

export interface PublicUrlSettings {
  /** As configured; wins. */
  readonly publicUrl: string | undefined;
  /** Origins from which browsers may use the API. */
  readonly allowedOrigins: readonly string[];
  /** What the listener is bound to. */
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
}

/**
 * The origin under which a browser reached the gateway: as configured, or else its `Host` when that is
 * one of the gateway's own names. A name that anybody could have written is none.
 *
 * @returns undefined when it is not known; `ROOKERY_PUBLIC_URL` then has to say it.
 */
export function publicOrigin(
  { publicUrl, allowedOrigins, host, port, secure }: PublicUrlSettings,
  { headers }: Pick<IncomingMessage, 'headers'>,
): string | undefined {
  if (publicUrl !== undefined) return publicUrl.replace(/\/+$/, '');
  const asked = headers.host;
  if (asked === undefined) return undefined;
  const allowed = allowedOrigins.find((origin) => URL.canParse(origin) && new URL(origin).host === asked);
  if (allowed !== undefined) return new URL(allowed).origin;
  const ownNames = ['localhost', '127.0.0.1', '[::1]', host.includes(':') ? `[${host}]` : host];
  const own = ownNames.some((name) => asked === `${name}:${port}`);
  return own ? `${secure ? 'https' : 'http'}://${asked}` : undefined;
}
