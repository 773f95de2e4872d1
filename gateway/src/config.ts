import { configField } from '@rookery/wire/config.ts';
import { z } from 'zod';

/** Settings of a gateway process, by environment variable. */
export const gatewayConfigSchema = z.object({
  /** Address that the gateway binds to. */
  ROOKERY_HOST: z.string().default('127.0.0.1'),
  /** Port of the dashboard and the public API. */
  ROOKERY_PORT: configField.port(4000),
  /** Origins besides the gateway's own from which browsers may use the API, separated by commas. */
  ROOKERY_ALLOWED_ORIGINS: z
    .string()
    .default('')
    .transform((list) =>
      list
        .split(',')
        .map((origin) => origin.trim())
        .filter(Boolean),
    ),
  /** Set when people reach the gateway by https: session cookies then travel by https only. */
  ROOKERY_SECURE_COOKIES: configField.flag(false),
  /** Name of the session cookie; two Rookeries that browsers reach under one host name need two. */
  ROOKERY_COOKIE_NAME: z
    .string()
    .regex(/^[\w-]+$/, 'may hold letters, digits, "_" and "-"')
    .default('rookery_session'),
  /** Whether the schema may be asked for. */
  ROOKERY_INTROSPECTION: configField.flag(true),
  /** Where control serves the subgraphs (split mode). */
  ROOKERY_CONTROL_URL: z
    .url({ protocol: /^https?$/, error: 'must be an http(s) URL' })
    .default('http://127.0.0.1:4002'),
  /** What control wants to hear before it answers (split mode). */
  ROOKERY_GATEWAY_SECRET: z.string().min(16, 'must have at least 16 characters').optional(),
  ROOKERY_LOG_LEVEL: configField.logLevel(),
});

export type GatewayConfig = z.output<typeof gatewayConfigSchema>;
