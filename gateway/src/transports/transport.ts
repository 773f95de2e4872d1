import type { Caller } from '@rookery/wire/caller.ts';
import type { DocumentNode, FormattedExecutionResult } from 'graphql';

/** One operation of the planner's for one subgraph. */
export interface SubgraphRequest {
  readonly document: DocumentNode;
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
  readonly operationName?: string | undefined;
  readonly operationType: 'query' | 'mutation' | 'subscription';
  /** Whoever asks, with their own credentials; the subgraph finds out what those are worth. */
  readonly caller: Caller;
}

export type SubgraphResponse = FormattedExecutionResult | AsyncIterableIterator<FormattedExecutionResult>;

/** How a gateway reaches the subgraphs. */
export interface SubgraphTransport extends AsyncDisposable {
  /** Never rejects for what the subgraph answers; rejects when there is no answer. */
  execute(subgraph: string, request: SubgraphRequest): Promise<SubgraphResponse>;
  /** Whether the subgraphs answer now. */
  isReady(): Promise<boolean>;
}
