/**
 * WebSocket close codes used between Rookery's processes, in one place. The public gateway keeps to
 * those of `graphql-ws`; what each side does about a code is written in `docs/AGENT-PROTOCOL.md`.
 *
 * The `graphql-ws` client treats 4400, 4401, 4406, 4409, 4429 and 4500 as fatal and retries the rest.
 */
export const CloseCode = {
  /** The process is going away for a restart; come back with jitter. */
  ServiceRestart: 1012,
  /** The server cannot tell who this is at the moment, its database being away for example. */
  TryAgainLater: 1013,
  /** A message that is not of the protocol. */
  BadRequest: 4400,
  /** Credentials are missing, unknown or revoked. */
  Unauthorized: 4401,
  /** Credentials have expired and can be renewed. */
  Forbidden: 4403,
  /** `connection_init` did not come in time. */
  ConnectionInitTimeout: 4408,
  /** A newer tunnel of this host has taken this one's place. */
  TunnelSuperseded: 4409,
  /** The host was deleted. */
  HostDeleted: 4410,
  /** Two agents that are alive say that they are this host: neither has a tunnel until its owner has decided. */
  SecondAgent: 4411,
} as const;

export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode];
