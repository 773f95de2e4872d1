import { StartupError } from '@rookery/wire/errors.ts';
import { z } from 'zod';

/** Texts separated by `separator`. */
const list = (separator: RegExp, fallback: string) =>
  z
    .string()
    .default(fallback)
    .transform((text) => text.split(separator).filter(Boolean));

/** Settings of signing in by OpenID Connect, by environment variable; without an issuer there is none. */
export const oidcConfigFields = {
  /** The provider, as it calls itself: `https://accounts.example.com`. */
  ROOKERY_OIDC_ISSUER: z
    .url({ protocol: /^https?$/, error: 'must be an https URL' })
    .refine(isSafe, 'must be an https URL; plain http is for providers on this machine')
    .optional(),
  ROOKERY_OIDC_CLIENT_ID: z.string().optional(),
  /** None for a public client: the flow is protected by PKCE either way. */
  ROOKERY_OIDC_CLIENT_SECRET: z.string().optional(),
  /** What the button says: "Sign in with NAME". */
  ROOKERY_OIDC_NAME: z.string().max(50, 'must have at most 50 characters').default('single sign-on'),
  /** Domains of e-mail addresses that may make an account by signing in, separated by commas; empty for all. */
  ROOKERY_OIDC_ALLOWED_DOMAINS: list(/[\s,]+/, '').transform((domains) =>
    domains.map((domain) => domain.toLowerCase().replace(/^@/, '')),
  ),
  /** Separated by spaces. */
  ROOKERY_OIDC_SCOPES: list(/\s+/, 'openid email profile').refine(
    (scopes) => scopes.includes('openid'),
    'must hold "openid"',
  ),
};

const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];

/** Whether what is said to the provider cannot be overheard. */
function isSafe(issuer: string): boolean {
  const { protocol, hostname } = new URL(issuer);
  return protocol === 'https:' || LOOPBACK.includes(hostname);
}

/** How people sign in at the identity provider. */
export interface OidcSettings {
  readonly issuer: URL;
  readonly clientId: string;
  readonly clientSecret: string | undefined;
  readonly name: string;
  readonly allowedDomains: readonly string[];
  readonly scopes: readonly string[];
}

/**
 * The settings in a configuration; undefined when nobody signs in elsewhere.
 *
 * @throws {StartupError} when half of them is missing.
 */
export function oidcSettings(config: z.output<z.ZodObject<typeof oidcConfigFields>>): OidcSettings | undefined {
  const { ROOKERY_OIDC_ISSUER: issuer, ROOKERY_OIDC_CLIENT_ID: clientId } = config;
  if (issuer === undefined && clientId === undefined) return undefined;
  if (issuer === undefined || clientId === undefined)
    throw new StartupError('ROOKERY_OIDC_ISSUER and ROOKERY_OIDC_CLIENT_ID belong together; one of them is not set.');
  return {
    issuer: new URL(issuer),
    clientId,
    clientSecret: config.ROOKERY_OIDC_CLIENT_SECRET,
    name: config.ROOKERY_OIDC_NAME,
    allowedDomains: config.ROOKERY_OIDC_ALLOWED_DOMAINS,
    scopes: config.ROOKERY_OIDC_SCOPES,
  };
}
