/** The codes the server puts into `extensions.code`, plus what can happen on the way there. */
export type ApiErrorCode =
  | 'UNAUTHENTICATED'
  | 'FORBIDDEN'
  | 'NOT_FOUND'
  | 'BAD_USER_INPUT'
  | 'CONFLICT'
  | 'RATE_LIMITED'
  | 'UNAVAILABLE'
  | 'INTERNAL'
  /** No answer at all. */
  | 'NETWORK';

export interface WireError {
  readonly message: string;
  readonly extensions?: Readonly<Record<string, unknown>> | undefined;
}

const retryable: ReadonlySet<ApiErrorCode> = new Set(['NETWORK', 'UNAVAILABLE', 'RATE_LIMITED', 'INTERNAL']);

/** A failure that is not part of the schema; the expected ones are members of the result unions. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ApiErrorCode;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;

  constructor(code: ApiErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.retryable = retryable.has(code);
  }

  /** The first error stands for all: the server lists the cause first. */
  static fromGraphQL(errors: readonly WireError[]): ApiError {
    const signedOut = errors.find((error) => error.extensions?.['code'] === 'UNAUTHENTICATED');
    const first = signedOut ?? errors[0];
    const code = first?.extensions?.['code'];
    return new ApiError(
      typeof code === 'string' ? (code as ApiErrorCode) : 'INTERNAL',
      first?.message ?? 'The server answered with an error.',
    );
  }
}

export function isUnauthenticated(error: unknown): boolean {
  return error instanceof ApiError && error.code === 'UNAUTHENTICATED';
}

/**
 * Whether an answer with errors still answers the question. A field that joins another subsystem may be null because
 * that one is down; the rest of the row is true and worth showing.
 */
export function isUsable(data: unknown, errors: readonly WireError[]): boolean {
  if (typeof data !== 'object' || data === null) return false;
  if (errors.some((error) => error.extensions?.['code'] === 'UNAUTHENTICATED')) return false;
  return Object.values(data).every((root) => root !== null && root !== undefined);
}

/** What to tell a person about any thrown value. */
export function describeError(error: unknown): string {
  if (!(error instanceof ApiError)) return 'Something unexpected went wrong. Please try again.';
  switch (error.code) {
    case 'NETWORK':
      return 'The server cannot be reached.';
    case 'UNAVAILABLE':
      return 'The server is not ready right now.';
    case 'RATE_LIMITED':
      return 'Too many requests; please wait a moment.';
    case 'FORBIDDEN':
      return 'You are not permitted to do this.';
    default:
      return error.message;
  }
}
