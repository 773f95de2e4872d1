/** Where the processes meet: paths, subprotocols and the private names of headers. */
export const AgentEndpoint = {
  /** Agent channel: HTTP POST and `graphql-transport-ws`. */
  channel: '/agent/graphql',
  /** Reverse tunnel: the agent dials, control is the GraphQL client. */
  tunnel: '/agent/tunnel',
  /** The agent as a single file, so that joining needs nothing but Node. */
  bundle: '/agent/rookery-agent.mjs',
} as const;

/**
 * Header of the tunnel's upgrade request in which the agent says which process on which machine it is, as a
 * query string: `instance` (made anew at every start, never on disk), `boot` and, where there is one, `machine`.
 */
export const AGENT_IDENTITY_HEADER = 'x-rookery-agent';

/** Subprotocol of the reverse tunnel: the messages of `graphql-transport-ws`, roles swapped. */
export const TUNNEL_SUBPROTOCOL = 'rookery-tunnel.v1';

/** Where a control process answers for one subgraph (HTTP POST and `graphql-transport-ws`). */
export const subgraphPath = (name: string): string => `/subgraphs/${name}`;

/** Header by which a gateway proves to control that it is one. */
export const GATEWAY_SECRET_HEADER = 'x-rookery-gateway-secret';
