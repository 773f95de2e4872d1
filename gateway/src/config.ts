import { configField } from '@rookery/wire/config.ts';
import proxyAddr from 'proxy-addr';
import { z } from 'zod';
import { limitSettings } from './limits/limits.config.ts';

/** Texts separated by commas. */
const list = () =>
  z
    .string()
    .default('')
    .transform((text) =>
      text
        .split(',')
        .map((item) => item.trim())
        .filter(Boolean),
    );

/** Settings of a gateway process, by environment variable. */
export const gatewayConfigSchema = z.object({
  /** Address that the gateway binds to. */
  ROOKERY_HOST: z.string().default('127.0.0.1'),
  /** Port of the dashboard and the public API. */
  ROOKERY_PORT: configField.port(4000),
  /** Origins besides the gateway's own from which browsers may use the API, separated by commas. */
  ROOKERY_ALLOWED_ORIGINS: list(),
  /** How browsers reach the gateway, `https://rookery.example.com`; needed for signing in elsewhere behind a proxy. */
  ROOKERY_PUBLIC_URL: z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).optional(),
  /** Proxies whose X-Forwarded-For is believed: CIDRs, addresses or `loopback`, separated by commas. */
  ROOKERY_TRUSTED_PROXIES: list().refine(
    areProxies,
    'must hold addresses, CIDRs, "loopback", "linklocal" or "uniquelocal", separated by commas',
  ),
  /** Set when people reach the gateway by https: session cookies then travel by https only. */
  ROOKERY_SECURE_COOKIES: configField.flag(false),
  /** Name of the session cookie; two Rookeries that browsers reach under one host name need two. */
  ROOKERY_COOKIE_NAME: z
    .string()
    .regex(/^[\w-]+$/, 'may hold letters, digits, "_" and "-"')
    .default('rookery_session'),
  /** Whether the schema may be asked for; `npm start` allows it unless told otherwise. */
  ROOKERY_INTROSPECTION: configField.flag(false),
  /** Where control serves the subgraphs (split mode). */
  ROOKERY_CONTROL_URL: z
    .url({ protocol: /^https?$/, error: 'must be an http(s) URL' })
    .default('http://127.0.0.1:4002'),
  /** What control wants to hear before it answers (split mode). */
  ROOKERY_GATEWAY_SECRET: z.string().min(16, 'must have at least 16 characters').optional(),
  ROOKERY_LOG_LEVEL: configField.logLevel(),
  ...limitSettings,
});

function areProxies(proxies: string[]): boolean {
  try {
    if (proxies.length > 0) proxyAddr.compile(proxies);
    return true;
  } catch {
    return false;
  }
}

export type GatewayConfig = z.output<typeof gatewayConfigSchema>;
