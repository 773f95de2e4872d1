import { execute, getOperationAST, type FormattedExecutionResult } from 'graphql';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ERROR_STATUS, RookeryError } from './errors.ts';
import {
  prepareOperation,
  publicError,
  resultStatus,
  type DocumentCache,
  type OperationRequest,
} from './graphql-operation.ts';
import { readJsonBody, sendJson } from './http.ts';
import type { Logger } from './log.ts';

export interface GraphQLHttpOptions {
  readonly documents: DocumentCache;
  /** Makes the context of one request; a {@link RookeryError} thrown here is the answer. */
  readonly context: (request: IncomingMessage, operation: OperationRequest) => object | Promise<object>;
  readonly log: Logger;
}

/**
 * A private GraphQL endpoint over HTTP POST: bounded bodies, masked errors, and a status that
 * agrees with `extensions.code` so that a caller without a GraphQL client can tell 401 from 503.
 */
export function graphqlHttpHandler(
  options: GraphQLHttpOptions,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  return async (request, response) => {
    const result = await answer(request, options);
    sendJson(response, resultStatus(result), result);
  };
}

async function answer(
  request: IncomingMessage,
  { documents, context, log }: GraphQLHttpOptions,
): Promise<FormattedExecutionResult> {
  try {
    if (request.method !== 'POST') throw new RookeryError('BAD_USER_INPUT', 'Send GraphQL requests with POST.');
    const body = await readJsonBody(request);
    if (typeof body !== 'object' || body === null || Array.isArray(body)) {
      throw new RookeryError('BAD_USER_INPUT', 'The request must be one GraphQL request object.');
    }
    const operation = body as OperationRequest;
    const args = prepareOperation(documents, operation);
    if (!('document' in args)) return { errors: args.map((error) => publicError(error, log)) };
    if (getOperationAST(args.document, args.operationName)?.operation === 'subscription') {
      throw new RookeryError('BAD_USER_INPUT', 'Subscriptions are served over WebSocket.');
    }
    const result = await execute({ ...args, contextValue: await context(request, operation) });
    return {
      ...(result.data === undefined ? {} : { data: result.data as Record<string, unknown> | null }),
      ...(result.errors ? { errors: result.errors.map((error) => publicError(error, log)) } : {}),
    };
  } catch (error) {
    if (error instanceof RookeryError)
      return { errors: [{ message: error.message, extensions: { ...error.extensions } }] };
    log.error({ err: error }, 'a GraphQL request failed outside its resolvers');
    return {
      errors: [
        {
          message: 'Something went wrong on our side.',
          extensions: { code: 'INTERNAL', status: ERROR_STATUS.INTERNAL },
        },
      ],
    };
  }
}
