/** Error codes that may appear in `extensions.code`, with the HTTP status that goes with each. */
export const ERROR_STATUS = {
  BAD_USER_INPUT: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  CONFLICT: 409,
  RATE_LIMITED: 429,
  INTERNAL: 500,
  UNAVAILABLE: 503,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUS;

export interface RookeryErrorOptions {
  /** A finer machine-readable reason under the code, for example `TOKEN_USED`. */
  reason?: string;
  /** Whether the same call may succeed later without a change; default: for `UNAVAILABLE` and `RATE_LIMITED`. */
  retryable?: boolean;
  /** Further members of `extensions`, for a caller that can do something with them. */
  details?: Readonly<Record<string, unknown>>;
  cause?: unknown;
}

/**
 * An error whose message may be shown to the caller. Everything else that is thrown is a fault of
 * ours: its text stays in the log and the caller gets an incident id.
 */
export class RookeryError extends Error {
  override readonly name = 'RookeryError';
  readonly code: ErrorCode;
  readonly reason: string | undefined;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, publicMessage: string, options: RookeryErrorOptions = {}) {
    super(publicMessage, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.reason = options.reason;
    this.retryable = options.retryable ?? (code === 'UNAVAILABLE' || code === 'RATE_LIMITED');
    this.details = options.details ?? {};
  }

  /** What GraphQL puts into `extensions`. */
  get extensions(): { code: ErrorCode; reason?: string; retryable: boolean; [detail: string]: unknown } {
    return {
      ...this.details,
      code: this.code,
      retryable: this.retryable,
      ...(this.reason === undefined ? {} : { reason: this.reason }),
    };
  }
}

/**
 * A reason not to start, told to the operator in one sentence. `main.ts` files print it without a
 * stack and exit with 1.
 */
export class StartupError extends Error {
  override readonly name = 'StartupError';
}
