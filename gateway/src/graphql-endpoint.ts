import { ApolloServer, HeaderMap, type ApolloServerPlugin } from '@apollo/server';
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginLandingPageDisabled,
  ApolloServerPluginSchemaReportingDisabled,
  ApolloServerPluginUsageReportingDisabled,
} from '@apollo/server/plugin/disabled';
import type { GatewayExecutionResult, GatewayInterface } from '@apollo/server-gateway-interface';
import { publicError, resultStatus } from '@rookery/wire/graphql-operation.ts';
import { readJsonBody, sendJson } from '@rookery/wire/http.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { GraphQLError, type FormattedExecutionResult, type GraphQLFormattedError } from 'graphql';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Federation, GatewayContext } from './federation.ts';
import type { OperationLimits } from './limits/limits.ts';

/** The public API over HTTP. */
export interface GraphQLEndpoint extends AsyncDisposable {
  handle(request: IncomingMessage, response: ServerResponse, context: GatewayContext): Promise<void>;
}

export interface GraphQLEndpointOptions {
  readonly federation: Federation;
  readonly limits: OperationLimits;
  /** Largest request body, in bytes. */
  readonly maxBodyBytes: number;
  readonly log: Logger;
}

/**
 * Apollo Server in front of the federated executor, and the limits in front of Apollo: what is refused
 * must not have been validated first.
 */
export async function createGraphQLEndpoint({
  federation,
  limits,
  maxBodyBytes,
  log,
}: GraphQLEndpointOptions): Promise<GraphQLEndpoint> {
  const server = new ApolloServer<GatewayContext>({
    gateway: asApolloGateway(federation),
    // The limits decide, for WebSocket operations too.
    introspection: true,
    // They would be documents that the limits have not seen.
    persistedQueries: false,
    includeStacktraceInErrorResponses: false,
    stopOnTerminationSignals: false,
    csrfPrevention: true,
    allowBatchedHttpRequests: false,
    formatError: (formatted) => withOurCode(formatted),
    // Each costs a walk over every query; nothing here uses them.
    plugins: [
      ApolloServerPluginCacheControlDisabled(),
      ApolloServerPluginUsageReportingDisabled(),
      ApolloServerPluginSchemaReportingDisabled(),
      ApolloServerPluginLandingPageDisabled(),
    ] as ApolloServerPlugin<GatewayContext>[],
  });
  await server.start();
  return {
    async handle(request, response, context) {
      const headers = new HeaderMap();
      for (const [name, value] of Object.entries(request.headers)) {
        if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(', ') : value);
      }
      const { search } = new URL(request.url ?? '/', 'http://gateway');
      const body = request.method === 'POST' ? await readJsonBody(request, maxBodyBytes) : undefined;
      const operation = request.method === 'GET' ? fromSearch(search) : asRecord(body);
      // Without a query there is nothing to admit; Apollo says what is wrong.
      const admitted = typeof operation['query'] === 'string' ? limits.admit(operation) : {};
      if (Array.isArray(admitted)) {
        const errors = (admitted as readonly GraphQLError[]).map((error) => publicError(error, log));
        return sendJson(response, resultStatus({ errors }), { errors });
      }
      const answer = await server.executeHTTPGraphQLRequest({
        httpGraphQLRequest: { method: request.method ?? 'GET', headers, search, body },
        context: async () => context,
      });
      response.writeHead(answer.status ?? 200, { ...Object.fromEntries(answer.headers), 'cache-control': 'no-store' });
      if (answer.body.kind === 'complete') response.end(answer.body.string);
      else {
        for await (const chunk of answer.body.asyncIterator) response.write(chunk);
        response.end();
      }
    },
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

const asRecord = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};

/** The operation in a GET request, as Apollo reads it. */
function fromSearch(search: string): Record<string, unknown> {
  const { variables, ...rest } = Object.fromEntries(new URLSearchParams(search));
  try {
    return { ...rest, ...(variables === undefined ? {} : { variables: JSON.parse(variables) as unknown }) };
  } catch {
    return rest;
  }
}

function asApolloGateway(federation: Federation): GatewayInterface {
  return {
    onSchemaLoadOrUpdate(callback) {
      callback({ apiSchema: federation.schema, coreSupergraphSdl: '' });
      return () => {};
    },
    async load() {
      return {
        executor: async ({ document, request, operationName, operation, context }) => {
          const operationType = operation.operation;
          if (operationType === 'subscription') return { errors: [SOCKETS_ONLY] };
          const variables = request.variables ?? {};
          const result = (await federation.execute(
            { document, variables, operationName, operationType },
            context as GatewayContext,
          )) as FormattedExecutionResult;
          return { ...result, errors: result.errors?.map(toGraphQLError) } as GatewayExecutionResult;
        },
      };
    },
    async stop() {},
  };
}

const SOCKETS_ONLY = new GraphQLError('Subscriptions are served over WebSocket.', {
  extensions: { code: 'BAD_USER_INPUT' },
});

/** Apollo formats errors itself and wants them unformatted. */
function toGraphQLError({ message, path, extensions }: GraphQLFormattedError): GraphQLError {
  return new GraphQLError(message, { path: path ?? null, extensions: extensions ?? null });
}

/** Apollo's own codes, in the words of this API. */
const CODES: Readonly<Record<string, string>> = {
  GRAPHQL_PARSE_FAILED: 'BAD_USER_INPUT',
  GRAPHQL_VALIDATION_FAILED: 'BAD_USER_INPUT',
  OPERATION_RESOLUTION_FAILURE: 'BAD_USER_INPUT',
  BAD_REQUEST: 'BAD_USER_INPUT',
  PERSISTED_QUERY_NOT_FOUND: 'BAD_USER_INPUT',
  PERSISTED_QUERY_NOT_SUPPORTED: 'BAD_USER_INPUT',
  INTERNAL_SERVER_ERROR: 'INTERNAL',
};

function withOurCode(error: GraphQLFormattedError): GraphQLFormattedError {
  const code = String(error.extensions?.['code'] ?? 'INTERNAL');
  return { ...error, extensions: { ...error.extensions, code: CODES[code] ?? code } };
}
