/** Who sends an operation, as the gateway saw it. Travels with each operation; control decides what it is worth. */
export interface Caller {
  /** What came as `Authorization: Bearer` or `X-API-Key`: an access token or an API key. */
  readonly token?: string | undefined;
  /** The secret of a browser's session, out of the gateway's cookie. Never taken from a header that a client may set. */
  readonly session?: string | undefined;
  /** The client's network address. */
  readonly address?: string | undefined;
  readonly userAgent?: string | undefined;
}

/** The longest user agent that is passed on; browsers stay far below it. */
const MAX_USER_AGENT = 255;

/** Reads a {@link Caller} that came over the network; what is not one is nobody. */
export function parseCaller(value: unknown): Caller {
  const given = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const text = (key: keyof Caller): string | undefined => {
    const field = given[key];
    return typeof field === 'string' && field !== '' ? field : undefined;
  };
  return {
    token: text('token'),
    session: text('session'),
    address: text('address'),
    userAgent: text('userAgent')?.slice(0, MAX_USER_AGENT),
  };
}
