import {
  GraphQLError,
  type DocumentNode,
  type FragmentDefinitionNode,
  type SelectionSetNode,
  type ValidationRule,
} from 'graphql';
import type { LimitSettings } from './limits.config.ts';

/** What an operation looks like on paper, fragments counted at each use. */
interface Shape {
  readonly depth: number;
  readonly fields: number;
  readonly aliases: number;
  /** Fields of the topmost level. */
  readonly top: number;
}

const EMPTY: Shape = { depth: 0, fields: 0, aliases: 0, top: 0 };

export type DocumentLimits = Pick<
  LimitSettings,
  'ROOKERY_MAX_QUERY_DEPTH' | 'ROOKERY_MAX_QUERY_FIELDS' | 'ROOKERY_MAX_QUERY_ALIASES' | 'ROOKERY_MAX_ROOT_FIELDS'
>;

/**
 * Refuses documents whose shape alone is too much. A validation rule, so that the verdict is kept
 * with the document; it counts before anything that takes longer than counting has run.
 */
export function documentLimits(limits: DocumentLimits): ValidationRule {
  return (context) => ({
    Document(document) {
      for (const shape of shapesOf(document)) {
        const refusal = refusalOf(shape, limits);
        if (refusal) return context.reportError(new GraphQLError(refusal, { extensions: { code: 'BAD_USER_INPUT' } }));
      }
    },
  });
}

function refusalOf({ depth, fields, aliases, top }: Shape, limits: DocumentLimits): string | undefined {
  if (fields > limits.ROOKERY_MAX_QUERY_FIELDS)
    return `An operation may have at most ${limits.ROOKERY_MAX_QUERY_FIELDS} fields.`;
  if (depth > limits.ROOKERY_MAX_QUERY_DEPTH)
    return `An operation may be at most ${limits.ROOKERY_MAX_QUERY_DEPTH} levels deep.`;
  if (aliases > limits.ROOKERY_MAX_QUERY_ALIASES)
    return `An operation may have at most ${limits.ROOKERY_MAX_QUERY_ALIASES} aliases.`;
  if (top > limits.ROOKERY_MAX_ROOT_FIELDS)
    return `An operation may have at most ${limits.ROOKERY_MAX_ROOT_FIELDS} root fields.`;
  return undefined;
}

/** The shape of each operation of a document. Each fragment is measured once, however often it is used. */
export function shapesOf(document: DocumentNode): Shape[] {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    if (definition.kind === 'FragmentDefinition') fragments.set(definition.name.value, definition);
  }
  // A fragment that uses itself is refused by another rule; here it must only come to an end.
  const measured = new Map<string, Shape>();

  const fragmentShape = (name: string): Shape => {
    const known = measured.get(name);
    if (known) return known;
    measured.set(name, EMPTY);
    const shape = shapeOf(fragments.get(name)?.selectionSet);
    measured.set(name, shape);
    return shape;
  };

  const shapeOf = (set: SelectionSetNode | undefined): Shape => {
    let { depth, fields, aliases, top } = EMPTY;
    for (const selection of set?.selections ?? []) {
      if (selection.kind === 'Field') {
        const inner = shapeOf(selection.selectionSet);
        // Introspection is deep by nature, and has a rule of its own against going round in circles.
        const below = selection.name.value.startsWith('__') ? 0 : inner.depth;
        depth = Math.max(depth, 1 + below);
        fields += 1 + inner.fields;
        aliases += inner.aliases + (selection.alias ? 1 : 0);
        top += 1;
      } else {
        const inner =
          selection.kind === 'FragmentSpread' ? fragmentShape(selection.name.value) : shapeOf(selection.selectionSet);
        depth = Math.max(depth, inner.depth);
        fields += inner.fields;
        aliases += inner.aliases;
        top += inner.top;
      }
    }
    return { depth, fields, aliases, top };
  };

  return document.definitions.flatMap((definition) =>
    definition.kind === 'OperationDefinition' ? [shapeOf(definition.selectionSet)] : [],
  );
}

/** Refuses questions about the schema. Our own, for graphql-js' rule has an error for each field of the question. */
export const noIntrospection: ValidationRule = (context) => {
  let told = false;
  return {
    Field({ name }) {
      if (told || (name.value !== '__schema' && name.value !== '__type')) return;
      told = true;
      context.reportError(
        new GraphQLError('The schema cannot be asked for here.', { extensions: { code: 'BAD_USER_INPUT' } }),
      );
    },
  };
};
