import {
  GraphQLError,
  parse,
  validate,
  type DocumentNode,
  type ExecutionArgs,
  type FormattedExecutionResult,
  type GraphQLFormattedError,
  type GraphQLSchema,
  type ValidationRule,
  specifiedRules,
} from 'graphql';
import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { ERROR_STATUS, RookeryError, type ErrorCode } from './errors.ts';
import type { Logger } from './log.ts';

/** A GraphQL request as it arrives over HTTP or in a `subscribe` message, before anything is trusted. */
export interface OperationRequest {
  readonly query?: unknown;
  readonly operationName?: unknown;
  readonly variables?: unknown;
  readonly extensions?: unknown;
}

/** How many distinct documents are kept parsed and validated; each costs some ten KiB. */
const DOCUMENTS_KEPT = 1_000;

/** How long the texts of all of them may be, in characters, and the longest that is kept: a stranger can send megabytes. */
const TEXT_KEPT = 8 * 1024 * 1024;
const LONGEST_KEPT = 128 * 1024;

/**
 * Parses and validates documents once per text.
 *
 * The same text always gives the same `DocumentNode`, which is also what the router's plan cache is
 * keyed on. Errors are kept too, so that a client that repeats a bad document costs nothing.
 */
export class DocumentCache {
  readonly schema: GraphQLSchema;
  readonly #firstRules: readonly ValidationRule[];
  readonly #entries = new LRUCache<string, DocumentNode | readonly GraphQLError[]>({
    max: DOCUMENTS_KEPT,
    maxSize: TEXT_KEPT,
    maxEntrySize: LONGEST_KEPT,
    sizeCalculation: (_document, text) => Math.max(1, text.length),
  });

  /** @param firstRules of our own; the specified ones take longer and see only what passed these. */
  constructor(schema: GraphQLSchema, firstRules: readonly ValidationRule[] = []) {
    this.schema = schema;
    this.#firstRules = firstRules;
  }

  get(text: string): DocumentNode | readonly GraphQLError[] {
    const known = this.#entries.get(text);
    if (known) return known;
    const entry = this.#read(text);
    this.#entries.set(text, entry);
    return entry;
  }

  #read(text: string): DocumentNode | readonly GraphQLError[] {
    try {
      const document = parse(text, { maxTokens: 15_000 });
      for (const rules of [this.#firstRules, specifiedRules]) {
        const errors = validate(this.schema, document, rules);
        if (errors.length > 0) return errors.map(asBadInput);
      }
      return document;
    } catch (error) {
      if (error instanceof GraphQLError) return [asBadInput(error)];
      // The parser calls itself for each level of nesting.
      if (error instanceof RangeError) return [badInput('The document is nested too deeply.')];
      throw error;
    }
  }
}

/**
 * Turns a request into execution arguments, or into the errors to answer with. Never throws for
 * what a client sent: in `graphql-ws` a throw would close the whole socket.
 */
export function prepareOperation(
  cache: DocumentCache,
  request: OperationRequest,
): ExecutionArgs | readonly GraphQLError[] {
  const { query, operationName, variables } = request;
  if (typeof query !== 'string') return [badInput('`query` must be a string.')];
  if (operationName != null && typeof operationName !== 'string')
    return [badInput('`operationName` must be a string.')];
  if (variables != null && (typeof variables !== 'object' || Array.isArray(variables))) {
    return [badInput('`variables` must be an object.')];
  }
  const document = cache.get(query);
  if (!('kind' in document)) return document;
  return {
    schema: cache.schema,
    document,
    operationName: operationName ?? null,
    variableValues: (variables ?? {}) as Record<string, unknown>,
  };
}

const badInput = (message: string): GraphQLError =>
  new GraphQLError(message, { extensions: { code: 'BAD_USER_INPUT' } });

const asBadInput = (error: GraphQLError): GraphQLError =>
  new GraphQLError(error.message, {
    nodes: error.nodes ?? null,
    source: error.source ?? null,
    positions: error.positions ?? null,
    extensions: { ...error.extensions, code: 'BAD_USER_INPUT' },
  });

/**
 * What a caller may see of an error. Ours and graphql-js' own pass; everything else becomes
 * `INTERNAL` with an incident id under which the log holds the cause.
 */
export function publicError(error: GraphQLError, log: Logger): GraphQLFormattedError {
  const { originalError } = error;
  if (originalError instanceof RookeryError) return { ...error.toJSON(), extensions: originalError.extensions };
  const code = error.extensions['code'];
  if (typeof code === 'string' && code in ERROR_STATUS) return error.toJSON();
  // Without an original error it is graphql-js that complains about the request (a variable of the wrong type).
  if (!originalError || originalError instanceof GraphQLError) {
    return { ...error.toJSON(), extensions: { ...error.extensions, code: 'BAD_USER_INPUT' } };
  }
  const incidentId = randomUUID();
  log.error({ incidentId, err: originalError, path: error.path }, 'unexpected error in a resolver');
  return {
    message: `Something went wrong on our side (incident ${incidentId}).`,
    ...(error.locations ? { locations: error.locations } : {}),
    ...(error.path ? { path: error.path } : {}),
    extensions: { code: 'INTERNAL', incidentId },
  };
}

/** The HTTP status of a result: that of its first error when there is no data at all, else 200. */
export function resultStatus(result: FormattedExecutionResult): number {
  const hasData = result.data != null && Object.values(result.data).some((value) => value !== null);
  const code = result.errors?.[0]?.extensions?.['code'];
  if (hasData || !result.errors) return 200;
  return typeof code === 'string' && code in ERROR_STATUS ? ERROR_STATUS[code as ErrorCode] : 500;
}
