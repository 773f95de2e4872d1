import type { SignedIn } from './session.operations.ts';

export interface CookieSettings {
  readonly name: string;
  /** Whether it travels by https only. */
  readonly secure: boolean;
}

/** The `Set-Cookie` of a browser's session, out of reach of scripts and of other sites. */
export function sessionCookie(settings: CookieSettings, { refreshToken, refreshTokenExpiresAt }: SignedIn): string {
  const left = Math.floor((Date.parse(refreshTokenExpiresAt) - Date.now()) / 1_000);
  return format(settings, refreshToken, Math.max(0, left));
}

export const clearedSessionCookie = (settings: CookieSettings): string => format(settings, '', 0);

const format = ({ name, secure }: CookieSettings, value: string, maxAgeSeconds: number): string =>
  `${name}=${value}; HttpOnly; SameSite=Strict; Path=/; Max-Age=${maxAgeSeconds}${secure ? '; Secure' : ''}`;

/** Where the flow cookie is sent, and nowhere else. */
export const OIDC_PATH = '/session/oidc';

/** How long somebody may take to sign in elsewhere, in seconds. */
const FLOW_SECONDS = 600;

/** What a browser keeps while its person signs in elsewhere. */
export interface OidcFlow {
  readonly flow: string;
  readonly returnTo: string;
}

export const flowCookieName = ({ name }: CookieSettings): string => `${name}_oidc`;

/** `SameSite=Lax`, because the way back from the provider begins on another site. */
export function flowCookie(settings: CookieSettings, flow: OidcFlow | null): string {
  const value = flow ? Buffer.from(JSON.stringify(flow)).toString('base64url') : '';
  const secure = settings.secure ? '; Secure' : '';
  return `${flowCookieName(settings)}=${value}; HttpOnly; SameSite=Lax; Path=${OIDC_PATH}; Max-Age=${flow ? FLOW_SECONDS : 0}${secure}`;
}

/** The flow in a cookie's value; undefined for anything else. */
export function readFlow(value: string | undefined): OidcFlow | undefined {
  try {
    const { flow, returnTo } = JSON.parse(Buffer.from(value ?? '', 'base64url').toString('utf8')) as Partial<OidcFlow>;
    return typeof flow === 'string' && typeof returnTo === 'string' ? { flow, returnTo } : undefined;
  } catch {
    return undefined;
  }
}
