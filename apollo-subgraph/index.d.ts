import type { GraphQLSchema } from 'graphql';
export * from 'apollo-subgraph-upstream';
export declare function printSubgraphSchema(schema: GraphQLSchema): string;
