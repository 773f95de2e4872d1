import { Client, fetchExchange, type AnyVariables, type CombinedError, type TypedDocumentNode } from '@urql/core';
import { ApiError, isUsable } from './errors.ts';

/**
 * Queries and mutations. There is no document cache on purpose: what is shown lives in the live collections, and a
 * second, older copy of it could only disagree.
 */
const client = new Client({
  url: '/graphql',
  exchanges: [fetchExchange],
  requestPolicy: 'network-only',
  preferGetMethod: false,
  fetchOptions: { credentials: 'same-origin' },
});

/**
 * Runs one query.
 *
 * @throws ApiError when there is no answer or the answer has errors.
 */
export async function query<TData, TVariables extends AnyVariables>(
  document: TypedDocumentNode<TData, TVariables>,
  variables: TVariables,
): Promise<TData> {
  return unwrap(await client.query(document, variables).toPromise());
}

/**
 * Runs one mutation. Expected refusals are members of its result union and returned, not thrown.
 *
 * @throws ApiError when there is no answer or the answer has errors; the outcome is unknown then.
 */
export async function mutate<TData, TVariables extends AnyVariables>(
  document: TypedDocumentNode<TData, TVariables>,
  variables: TVariables,
): Promise<TData> {
  return unwrap(await client.mutation(document, variables).toPromise());
}

interface Outcome<TData> {
  readonly data?: TData | undefined;
  readonly error?: CombinedError | undefined;
}

function unwrap<TData>({ data, error }: Outcome<TData>): TData {
  if (error?.networkError || (error && !error.graphQLErrors.length)) throw networkFailure(error);
  const errors = error?.graphQLErrors ?? [];
  if (errors.length && !isUsable(data, errors)) throw ApiError.fromGraphQL(errors);
  if (data === undefined || data === null) throw new ApiError('INTERNAL', 'The server answered with nothing.');
  return data;
}

function networkFailure(error: CombinedError): ApiError {
  const status = error.response instanceof Response ? error.response.status : undefined;
  if (status === 401) return new ApiError('UNAUTHENTICATED', 'Please sign in.', { cause: error });
  if (status === 429) return new ApiError('RATE_LIMITED', 'Too many requests.', { cause: error });
  if (status !== undefined && status >= 500) return new ApiError('UNAVAILABLE', 'The server failed.', { cause: error });
  return new ApiError('NETWORK', 'The server cannot be reached.', { cause: error });
}
