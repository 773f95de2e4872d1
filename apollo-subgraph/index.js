import { getDocumentNodeFromSchema } from '@graphql-tools/utils';
import { Kind, print, visit } from 'graphql';

export * from 'apollo-subgraph-upstream';

/** An extension key that nothing uses: directives are read from the AST nodes alone. */
const NOWHERE = 'rookery:none';

/** What the federation runtime adds to a subgraph and its SDL must not contain. */
const MACHINERY_TYPES = new Set(['_Any', '_Entity', '_Service', '_FieldSet', 'FieldSet', 'federation__FieldSet']);
const MACHINERY_FIELDS = new Set(['_entities', '_service']);

/**
 * Prints a subgraph's SDL for composition.
 *
 * Pothos puts each directive into `extensions.directives` and, through its directives plugin, on the
 * AST node as well; upstream's printer of the same name reads both and prints everything twice. This
 * one reads the AST nodes only.
 *
 * @param {import('graphql').GraphQLSchema} schema
 * @returns {string}
 */
export function printSubgraphSchema(schema) {
  const document = getDocumentNodeFromSchema(schema, { pathToDirectivesInExtensions: [NOWHERE] });
  const trimmed = visit(document, {
    DirectiveDefinition: () => null,
    ScalarTypeDefinition: (node) => (MACHINERY_TYPES.has(node.name.value) ? null : undefined),
    UnionTypeDefinition: (node) => (MACHINERY_TYPES.has(node.name.value) ? null : undefined),
    ObjectTypeDefinition: (node) => (MACHINERY_TYPES.has(node.name.value) ? null : undefined),
    FieldDefinition: (node) => (MACHINERY_FIELDS.has(node.name.value) ? null : undefined),
  });
  // A root type that held nothing but machinery would print as `type Query`, which is not valid SDL.
  const definitions = trimmed.definitions.filter(
    (node) => node.kind !== Kind.OBJECT_TYPE_DEFINITION || (node.fields?.length ?? 0) > 0,
  );
  return print({ ...trimmed, definitions });
}
