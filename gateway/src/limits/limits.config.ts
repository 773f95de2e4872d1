import { z } from 'zod';

/** A whole number from `min` on. */
const count = (fallback: number, min: number) =>
  z.coerce.number('must be a number').int('must be a whole number').min(min).default(fallback);

/**
 * How much one client may ask for, by environment variable. Where 0 is allowed it means "no limit".
 *
 * The defaults are far above what the dashboard and a busy automation do, and below what hurts the others.
 */
export const limitSettings = {
  /** Levels of fields in an operation; the dashboard's deepest has seven. */
  ROOKERY_MAX_QUERY_DEPTH: count(12, 1),
  /** Fields that an operation may ask for, counting those of a list once for each item it may have. */
  ROOKERY_MAX_QUERY_COST: count(100_000, 1),
  /** Fields as they are written, fragments counted at each use. Comparing them with each other takes its square. */
  ROOKERY_MAX_QUERY_FIELDS: count(1_000, 1),
  ROOKERY_MAX_QUERY_ALIASES: count(30, 0),
  /** Root fields of an operation: each is a request of its own to somebody. */
  ROOKERY_MAX_ROOT_FIELDS: count(30, 1),
  /** Of an HTTP request or a WebSocket message. */
  ROOKERY_MAX_BODY_BYTES: count(2 * 1024 * 1024, 1_024),
  /** Requests and operations in 10 s with one session, token or API key. */
  ROOKERY_REQUESTS_PER_VIEWER: count(3_000, 0),
  /** The same from one address, whoever they are; an office shares one. */
  ROOKERY_REQUESTS_PER_ADDRESS: count(6_000, 0),
  /** WebSockets at once with one session, token or API key. */
  ROOKERY_SOCKETS_PER_VIEWER: count(200, 0),
  ROOKERY_SOCKETS_PER_ADDRESS: count(1_000, 0),
  /** Operations that one WebSocket may have open at once. */
  ROOKERY_OPERATIONS_PER_SOCKET: count(100, 1),
};

const schema = z.object(limitSettings);

export type LimitSettings = z.output<typeof schema>;

/** The defaults, for tests and tools. */
export const defaultLimits = (): LimitSettings => schema.parse({});
