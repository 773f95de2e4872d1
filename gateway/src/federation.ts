import { unifiedGraphHandler } from '@graphql-hive/router-runtime';
import type { Caller } from '@rookery/wire/caller.ts';
import { publicError } from '@rookery/wire/graphql-operation.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { endWith, mapIterator } from '@rookery/wire/push-iterator.ts';
import {
  buildSchema,
  GraphQLError,
  type DocumentNode,
  type FormattedExecutionResult,
  type GraphQLFormattedError,
  type GraphQLSchema,
} from 'graphql';
import { NullPropagation } from './null-propagation.ts';
import type { SubgraphTransport } from './transports/transport.ts';

/** What the executor carries along with an operation. */
export interface GatewayContext {
  readonly caller: Caller;
}

/** An operation on the public schema; the document was validated against it. */
export interface PublicOperation {
  readonly document: DocumentNode;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly operationName: string | null | undefined;
  readonly operationType: 'query' | 'mutation' | 'subscription';
}

export interface Federation {
  /** The public schema. */
  readonly schema: GraphQLSchema;
  execute(
    operation: PublicOperation,
    context: GatewayContext,
  ): Promise<FormattedExecutionResult | AsyncIterableIterator<FormattedExecutionResult>>;
}

/** What the router hands to us for one subgraph; only what we use of it. */
interface PlannedRequest {
  document: DocumentNode;
  variables?: Record<string, unknown>;
  operationName?: string;
  operationType?: 'query' | 'mutation' | 'subscription';
  context?: GatewayContext;
}

type Outcome = FormattedExecutionResult | AsyncIterable<FormattedExecutionResult>;

/**
 * The federated schema and its executor: the router plans, the transport asks the subgraphs. The
 * same executor serves HTTP and WebSocket.
 *
 * @param supergraphSdl what `npm run generate` composed.
 */
export async function createFederation(
  supergraphSdl: string,
  transport: SubgraphTransport,
  log: Logger,
): Promise<Federation> {
  const handler = await unifiedGraphHandler({
    unifiedGraph: buildSchema(supergraphSdl, { assumeValidSDL: true }),
    getUnifiedGraphSDL: () => supergraphSdl,
    onSubgraphExecute: ((subgraph: string, request: PlannedRequest) => ask(subgraph, request)) as never,
  });
  const schema = handler.unifiedGraph;
  const nulls = new NullPropagation(schema);

  async function ask(subgraph: string, request: PlannedRequest): Promise<Outcome> {
    const { document, variables, operationName, operationType = 'query', context } = request;
    try {
      return await transport.execute(subgraph, {
        document,
        variables,
        operationName,
        operationType,
        caller: context?.caller ?? {},
      });
    } catch (error) {
      if (!(error instanceof RookeryError)) log.error({ subgraph, err: error }, 'a subgraph could not be asked');
      return { errors: [unavailable(error)] };
    }
  }

  return {
    schema,
    async execute({ document, variables, operationName, operationType }, context) {
      const finish = (result: FormattedExecutionResult): FormattedExecutionResult =>
        nulls.apply(withPublicErrors(result, log), document, operationName);
      try {
        const outcome = (await handler.executor?.({
          document,
          variables: { ...variables },
          operationType,
          context,
          ...(operationName ? { operationName } : {}),
        } as never)) as Outcome;
        if (!(Symbol.asyncIterator in outcome)) return finish(outcome);
        return endWith(mapIterator(outcome[Symbol.asyncIterator](), finish), (error) => ({
          errors: [unavailable(error)],
        }));
      } catch (error) {
        // Variables of the wrong type are found while the plan is executed.
        const failure = error instanceof AggregateError ? (error.errors[0] as unknown) : error;
        const asGraphQL =
          failure instanceof GraphQLError
            ? failure
            : new GraphQLError('Unexpected error.', { originalError: failure as Error });
        return { errors: [publicError(asGraphQL, log)] };
      }
    },
  };
}

/** What a client is told when a subgraph gives no answer. */
function unavailable(error: unknown): GraphQLFormattedError {
  const known =
    error instanceof RookeryError
      ? error
      : new RookeryError('UNAVAILABLE', 'The control plane cannot be reached at the moment.');
  return { message: known.message, extensions: { ...known.extensions } };
}

/** Extensions that clients are meant to see; the rest is between us and the subgraphs. */
const PUBLIC_EXTENSIONS = ['code', 'reason', 'retryable', 'incidentId'];

function withPublicErrors(result: FormattedExecutionResult, log: Logger): FormattedExecutionResult {
  if (!result.errors?.length) return result;
  return { ...result, errors: result.errors.map((error) => toPublic(error, log)) };
}

function toPublic(error: GraphQLFormattedError, log: Logger): GraphQLFormattedError {
  const { message, path, extensions } = error;
  if (typeof extensions?.['code'] !== 'string') {
    const original = error instanceof Error ? error : new Error(message);
    return publicError(new GraphQLError(message, { path: path ?? null, originalError: original }), log);
  }
  return {
    message,
    ...(path ? { path } : {}),
    extensions: Object.fromEntries(
      PUBLIC_EXTENSIONS.flatMap((key) => (extensions[key] === undefined ? [] : [[key, extensions[key]]])),
    ),
  };
}
