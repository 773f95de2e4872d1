import { DocumentCache, prepareOperation, type OperationRequest } from '@rookery/wire/graphql-operation.ts';
import { type ExecutionArgs, type GraphQLError, type GraphQLSchema, type ValidationRule } from 'graphql';
import { OperationCosts } from './cost.ts';
import { documentLimits, noIntrospection } from './document-limits.ts';
import type { LimitSettings } from './limits.config.ts';

/**
 * What the gateway lets through, the same over HTTP and WebSocket: documents by their shape (the
 * verdict is kept with the document), operations by what they cost with their variables.
 */
export class OperationLimits {
  readonly #documents: DocumentCache;
  readonly #costs: OperationCosts;

  /** @param introspection whether the schema may be asked for. */
  constructor(schema: GraphQLSchema, settings: LimitSettings, introspection: boolean) {
    const rules: ValidationRule[] = [documentLimits(settings)];
    if (!introspection) rules.push(noIntrospection);
    this.#documents = new DocumentCache(schema, rules);
    this.#costs = new OperationCosts(schema, settings.ROOKERY_MAX_QUERY_COST);
  }

  /** The operation to execute, or why it is not executed. Never throws for what a client sent. */
  admit(request: OperationRequest): ExecutionArgs | readonly GraphQLError[] {
    const args = prepareOperation(this.#documents, request);
    if (!('document' in args)) return args;
    return this.#costs.refusal(args) ?? args;
  }
}
