import DataLoader from 'dataloader';
import type { GraphQLSchema } from 'graphql';
import { createSubgraphBuilder, type SubgraphContext } from '../kernel/graphql.ts';
import { fromGlobalId, NODE_TYPES, type NodeType } from '../kernel/global-id.ts';
import type { Subgraph } from '../kernel/subgraph.ts';
import type { Viewer } from '../kernel/viewer.ts';

/** Which of these ids of one type there are and the viewer may know of. */
export type VisibleIds = (viewer: Viewer, ids: readonly string[]) => Promise<readonly string[]>;

interface Stub {
  readonly type: NodeType;
  readonly id: string;
}

interface NodesContext extends SubgraphContext {
  readonly stub: DataLoader<string, Stub | null>;
}

/**
 * `node(id)` and `nodes(ids)`. An id says what it is an id of; whether the thing exists and may be
 * seen is asked of its owner, its fields are resolved by its own subgraph.
 *
 * It is a subgraph of its own because one field cannot be resolved by two.
 */
export function nodesSchema(): GraphQLSchema {
  const builder = createSubgraphBuilder<NodesContext>({ userErrors: false });
  for (const type of NODE_TYPES) {
    const Ref = builder.objectRef<Stub>(type);
    builder.node(Ref, { id: { resolve: (stub) => stub.id }, isTypeOf: (stub) => (stub as Stub).type === type });
    builder.asEntity(Ref, {
      key: builder.keyDirective(builder.selection<{ id: string }>('id'), false),
      // Never asked: the key says that this subgraph resolves nothing.
      resolveReference: () => null as never,
    });
  }
  const Node = builder.nodeInterfaceRef();
  builder.queryType({
    fields: (t) => ({
      node: t.field({
        type: Node,
        nullable: true,
        description: 'Null when there is no such thing that the viewer may see.',
        args: { id: t.arg.id({ required: true }) },
        resolve: (_root, { id }, { stub }) => stub.load(String(id)),
      }),
      nodes: t.field({
        type: [Node],
        nullable: { list: false, items: true },
        description: 'As `node`, in the order of the ids.',
        args: { ids: t.arg.idList({ required: true }) },
        resolve: (_root, { ids }, { stub }) => stub.loadMany(ids.map(String)),
      }),
    }),
  });
  return builder.toSubGraphSchema({});
}

/** @param visible by type, from the subgraph that owns it. */
export function createNodes(visible: Readonly<Record<NodeType, VisibleIds>>): Subgraph {
  return {
    name: 'nodes',
    schema: nodesSchema(),
    context: (viewer, caller): NodesContext => ({
      viewer,
      caller,
      stub: new DataLoader((ids) => find(viewer, ids, visible)),
    }),
  };
}

async function find(
  viewer: Viewer | null,
  globalIds: readonly string[],
  visible: Readonly<Record<NodeType, VisibleIds>>,
): Promise<(Stub | null)[]> {
  const stubs = globalIds.map(toStub);
  if (!viewer) return stubs.map(() => null);
  const found = new Set<string>();
  for (const [type, wanted] of Map.groupBy(
    stubs.filter((stub) => stub !== null),
    (stub) => stub.type,
  )) {
    for (const id of await visible[type](
      viewer,
      wanted.map(({ id }) => id),
    ))
      found.add(`${type}:${id}`);
  }
  return stubs.map((stub) => (stub && found.has(`${stub.type}:${stub.id}`) ? stub : null));
}

function toStub(globalId: string): Stub | null {
  for (const type of NODE_TYPES) {
    const id = fromGlobalId(type, globalId);
    if (id !== undefined) return { type, id };
  }
  return null;
}
