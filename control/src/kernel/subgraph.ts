import type { Logger } from '@rookery/wire/log.ts';
import { publicError } from '@rookery/wire/graphql-operation.ts';
import { endWith, mapIterator } from '@rookery/wire/push-iterator.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import {
  createSourceEventStream,
  execute,
  getOperationAST,
  type DocumentNode,
  type ExecutionResult,
  type FormattedExecutionResult,
  type GraphQLFormattedError,
  type GraphQLSchema,
} from 'graphql';
import type { Caller } from '@rookery/wire/caller.ts';
import { isDatabaseOutage } from '../database/database.ts';
import { fingerprint, type Viewer } from './viewer.ts';

/** One subgraph as the process serves it, in process or over the network. */
export interface Subgraph {
  readonly name: string;
  readonly schema: GraphQLSchema;
  /** A fresh context for one request or one event; loaders in it must not live longer. */
  context(viewer: Viewer | null, caller: Caller): object;
}

/** An operation for one subgraph. Its document comes from our own planner or was validated. */
export interface SubgraphOperation {
  readonly document: DocumentNode;
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
  readonly operationName?: string | undefined;
}

/** A stream that knows better than "nothing has changed" whether its viewer may go on with it: one that cannot be resumed. */
export interface RightsAware {
  /** @param viewer as of now; null when the session has ended. */
  mayGoOn(viewer: Viewer | null): boolean;
}

/** How often a stream asks whether its viewer may still have it, in ms. DESIGN: it ends within 5 s. */
const RIGHTS_CHECK_MS = 4_000;

/**
 * Executes an operation on a subgraph. Errors in the result are masked already, so that in process
 * and over the network a gateway sees the same.
 *
 * @param caller   who asks, as the gateway saw it.
 * @param identify what the caller's credentials are worth now; asked again during a subscription.
 */
export async function executeOnSubgraph(
  subgraph: Subgraph,
  { document, variables, operationName }: SubgraphOperation,
  caller: Caller,
  identify: (caller: Caller) => Promise<Viewer | null>,
  log: Logger,
): Promise<FormattedExecutionResult | AsyncIterableIterator<FormattedExecutionResult>> {
  const { schema } = subgraph;
  const args = { schema, document, variableValues: variables ?? {}, operationName: operationName ?? null };
  const format = (result: ExecutionResult): FormattedExecutionResult => formatResult(result, log);
  const who = await identify(caller).catch((error: unknown) => asOutage(error));
  if (who instanceof RookeryError) return { errors: [publicOutage(who)] };
  if (getOperationAST(document, operationName)?.operation !== 'subscription') {
    return format(await execute({ ...args, contextValue: subgraph.context(who, caller) }));
  }

  const source = await createSourceEventStream({ ...args, contextValue: subgraph.context(who, caller) });
  if (!(Symbol.asyncIterator in source)) return format(source);
  const guarded = whileEntitled(source[Symbol.asyncIterator](), who, () => identify(caller));
  // A context for each event: a loader that lived as long as the stream would serve what it saw first, for ever.
  const results = mapIterator(guarded, async (event) =>
    format(await execute({ ...args, rootValue: event, contextValue: subgraph.context(who, caller) })),
  );
  return endWith(results, (error) => {
    if (!(error instanceof RookeryError))
      log.warn({ subgraph: subgraph.name, err: error }, 'a subscription was interrupted');
    const known = error instanceof RookeryError ? error : INTERRUPTED;
    return { errors: [{ message: known.message, extensions: { ...known.extensions } }] };
  });
}

/** The database went away under a stream, say. The client has its cursor and comes back with it. */
const INTERRUPTED = new RookeryError(
  'UNAVAILABLE',
  'The subscription was interrupted; resume it with the last cursor.',
);

export function formatResult(result: ExecutionResult, log: Logger): FormattedExecutionResult {
  if (!result.errors) return result as FormattedExecutionResult;
  const errors = result.errors.map((error) =>
    isDatabaseOutage(error.originalError)
      ? { ...error.toJSON(), ...publicOutage(DATABASE_AWAY) }
      : publicError(error, log),
  );
  return { ...result, errors } as FormattedExecutionResult;
}

/** No incident: nothing is wrong with the request or with us, and the same one will do later. */
const DATABASE_AWAY = new RookeryError(
  'UNAVAILABLE',
  'The control plane cannot reach its database at the moment; try again.',
);

const publicOutage = ({ message, extensions }: RookeryError): GraphQLFormattedError => ({
  message,
  extensions: { ...extensions },
});

/** @throws what is not an outage. */
function asOutage(error: unknown): RookeryError {
  if (isDatabaseOutage(error)) return DATABASE_AWAY;
  throw error;
}

/**
 * Ends a stream soon after its viewer's rights change in any way. The client comes back with its
 * cursor and what it then may see, so nothing is lost and nothing is shown that should not be.
 */
function whileEntitled<T>(
  source: AsyncIterator<T> & Partial<RightsAware>,
  who: Viewer | null,
  viewer: () => Promise<Viewer | null>,
): AsyncIterator<T> {
  const rights = fingerprint(who);
  const mayGoOn = (now: Viewer | null): boolean => source.mayGoOn?.(now) ?? fingerprint(now) === rights;
  const check = setInterval(() => {
    viewer().then(
      (now) => {
        if (mayGoOn(now)) return;
        clearInterval(check);
        void source.return?.();
      },
      // Could not tell: that changes nothing, and the next check may.
      () => {},
    );
  }, RIGHTS_CHECK_MS);
  // A stream that nobody reads to its end must not keep the process alive.
  check.unref();
  return {
    async next() {
      try {
        const step = await source.next();
        if (step.done) clearInterval(check);
        return step;
      } catch (error) {
        clearInterval(check);
        throw error;
      }
    },
    async return(value) {
      clearInterval(check);
      await source.return?.();
      return { done: true, value };
    },
  };
}
