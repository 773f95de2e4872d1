import { configField } from '@rookery/wire/config.ts';
import { z } from 'zod';
import { oidcConfigFields } from './accounts/oidc/oidc.config.ts';

const STRATEGIES = { 'round-robin': 'ROUND_ROBIN', 'least-loaded': 'LEAST_LOADED', 'bin-pack': 'BIN_PACK' } as const;

/** Settings of a control process, by environment variable. */
export const controlConfigSchema = z.object({
  /** External PostgreSQL. */
  DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: 'must look like postgres://user:password@host:5432/database' })
    .optional(),
  /** Address that listeners bind to. */
  ROOKERY_HOST: z.string().default('127.0.0.1'),
  /** Port on which agents reach control. */
  ROOKERY_AGENT_PORT: configField.port(4001),
  /** How agents reach that port from where they are; goes into join commands. */
  ROOKERY_AGENT_URL: z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).optional(),
  /** Port on which gateways reach the subgraphs (split mode). */
  ROOKERY_SUBGRAPH_PORT: configField.port(4002),
  /** How other control processes on the same database reach that port; default: this machine's own address. */
  ROOKERY_PEER_URL: z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).optional(),
  /** What a gateway must know to be answered (split mode). */
  ROOKERY_GATEWAY_SECRET: z.string().min(16, 'must have at least 16 characters').optional(),
  /** Heartbeat interval that agents are told. */
  ROOKERY_HEARTBEAT_MS: configField.milliseconds(15_000),
  /** Silence after which a host counts as unreachable. */
  ROOKERY_UNREACHABLE_AFTER_MS: configField.milliseconds(90_000),
  /** How long a sandbox that a host runs and nobody wants must have been one before it is removed. */
  ROOKERY_ORPHAN_MIN_AGE_MS: configField.milliseconds(5 * 60_000),
  /** How long a registration token can be spent. Longer is kinder to slow hands and to whoever finds it. */
  ROOKERY_REGISTRATION_TOKEN_SECONDS: configField.seconds(60 * 60),
  /** Life of a host's access token; it renews after two thirds of it. */
  ROOKERY_HOST_TOKEN_SECONDS: configField.seconds(7 * 24 * 60 * 60),
  /** Life of a host's refresh token: how long a host may be switched off and still come back by itself. */
  ROOKERY_HOST_REFRESH_TOKEN_SECONDS: configField.seconds(60 * 24 * 60 * 60),
  /** Virtual CPUs that may be promised for each core. */
  ROOKERY_CPU_OVERCOMMIT: z.coerce.number().min(0.1).max(64).default(1),
  /** Which of the hosts that fit gets a sandbox. */
  ROOKERY_PLACEMENT_STRATEGY: z
    .enum(['round-robin', 'least-loaded', 'bin-pack'], 'must be round-robin, least-loaded or bin-pack')
    .default('round-robin')
    .transform((name) => STRATEGIES[name]),
  /** For how long events are kept, destroyed sandboxes and ended drains too: how far back a subscription can be resumed. */
  ROOKERY_EVENT_RETENTION_DAYS: z.coerce.number().min(1).max(36_500).default(30),
  /** For how long the audit trail is kept. */
  ROOKERY_AUDIT_RETENTION_DAYS: z.coerce.number().min(1).max(36_500).default(365),
  /** First platform admin; a password is made up when none is given. */
  ROOKERY_ADMIN_EMAIL: z.email('must be an e-mail address').optional(),
  ROOKERY_ADMIN_PASSWORD: z.string().min(8, 'must have at least 8 characters').optional(),
  /** Life of an access token, in seconds. */
  ROOKERY_ACCESS_TOKEN_SECONDS: z.coerce.number().int().min(10).max(86_400).default(900),
  /** Life of a sign-in, in seconds. */
  ROOKERY_SESSION_SECONDS: z.coerce.number().int().min(60).max(31_536_000).default(604_800),
  ...oidcConfigFields,
  ROOKERY_LOG_LEVEL: configField.logLevel(),
});

export type ControlConfig = z.output<typeof controlConfigSchema>;
