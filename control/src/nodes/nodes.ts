import type { GraphQLSchema } from 'graphql';
import { createSubgraphBuilder, type SubgraphContext } from '../kernel/graphql.ts';
import { NODE_TYPES, type NodeType } from '../kernel/global-id.ts';
import type { Subgraph } from '../kernel/subgraph.ts';

interface Stub {
  readonly type: NodeType;
  readonly id: string;
}

/**
 * `node(id)` and `nodes(ids)`. An id says what it is an id of, so this subgraph only takes it apart;
 * whether the thing exists and may be seen, its own subgraph decides when its fields are asked for.
 *
 * It is a subgraph of its own because one field cannot be resolved by two.
 */
export function nodesSchema(): GraphQLSchema {
  const builder = createSubgraphBuilder<SubgraphContext>({ nodeQueries: true, userErrors: false });
  builder.queryType({});
  for (const type of NODE_TYPES) {
    const Ref = builder.objectRef<Stub>(type);
    builder.node(Ref, {
      id: { resolve: (stub) => stub.id },
      isTypeOf: (stub) => (stub as Stub).type === type,
      loadOne: (id) => ({ type, id }),
    });
    builder.asEntity(Ref, {
      key: builder.keyDirective(builder.selection<{ id: string }>('id'), false),
      // Never asked: the key says that this subgraph resolves nothing.
      resolveReference: () => null as never,
    });
  }
  return builder.toSubGraphSchema({});
}

export function createNodes(): Subgraph {
  return { name: 'nodes', schema: nodesSchema(), context: (viewer) => ({ viewer }) };
}
