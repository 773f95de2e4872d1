import {
  getDirectiveValues,
  getNamedType,
  getOperationAST,
  GraphQLIncludeDirective,
  GraphQLSkipDirective,
  isAbstractType,
  isCompositeType,
  isListType,
  isNonNullType,
  isObjectType,
  Kind,
  typeFromAST,
  type DocumentNode,
  type FieldNode,
  type FormattedExecutionResult,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  type GraphQLOutputType,
  type GraphQLSchema,
  type SelectionNode,
  type SelectionSetNode,
} from 'graphql';

/** A null reached a non-null position; the nearest nullable parent becomes null. */
const PROPAGATE = Symbol('propagate');

/** One response key of one object type. */
interface FieldPlan {
  readonly key: string;
  readonly type: GraphQLOutputType;
  /** Whether the key may rightly be missing: `@skip`, `@include`, or a type condition that cannot be judged. */
  readonly optional: boolean;
  readonly children: SelectionPlan | undefined;
}

/**
 * Makes a federated result what the specification says: a null, or a missing key, in a non-null
 * position makes its nearest nullable parent null. The router's executor hands such results through
 * as they are, so that a client typed by the schema would break on a value that cannot be.
 *
 * Plans are made once per document and type, so a result costs one walk.
 */
export class NullPropagation {
  readonly #schema: GraphQLSchema;
  readonly #plans = new WeakMap<DocumentNode, Map<string, SelectionPlan>>();

  constructor(schema: GraphQLSchema) {
    this.#schema = schema;
  }

  /** The result, put right in place. */
  apply(
    result: FormattedExecutionResult,
    document: DocumentNode,
    operationName: string | null | undefined,
  ): FormattedExecutionResult {
    if (result.data == null) return result.data === undefined && result.errors ? { ...result, data: null } : result;
    const plan = this.#planOf(document, operationName);
    if (!plan) return result;
    const broken: { path: string | undefined } = { path: undefined };
    const data = completeObject(result.data, plan, broken, '');
    if (broken.path === undefined) return result;
    const errors = result.errors?.length
      ? result.errors
      : [{ message: `No value for the non-null field ${broken.path}.`, extensions: { code: 'INTERNAL' } }];
    return { ...result, errors, data: data === PROPAGATE ? null : (data as Record<string, unknown>) };
  }

  #planOf(document: DocumentNode, operationName: string | null | undefined): SelectionPlan | undefined {
    let plans = this.#plans.get(document);
    if (!plans) this.#plans.set(document, (plans = new Map()));
    const key = operationName ?? '';
    const known = plans.get(key);
    if (known) return known;
    const operation = getOperationAST(document, operationName);
    const root = operation && this.#schema.getRootType(operation.operation);
    if (!operation || !root) return undefined;
    const fragments = new Map(
      document.definitions.flatMap((node) =>
        node.kind === Kind.FRAGMENT_DEFINITION ? [[node.name.value, node] as const] : [],
      ),
    );
    const plan = new SelectionPlan(this.#schema, fragments, root, [operation.selectionSet]);
    plans.set(key, plan);
    return plan;
  }
}

/** What is selected at one place of a document, by the type of the object that is found there. */
class SelectionPlan {
  readonly #schema: GraphQLSchema;
  readonly #fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  readonly #type: GraphQLCompositeType;
  readonly #sets: readonly SelectionSetNode[];
  readonly #byType = new Map<string, readonly FieldPlan[]>();

  constructor(
    schema: GraphQLSchema,
    fragments: ReadonlyMap<string, FragmentDefinitionNode>,
    type: GraphQLCompositeType,
    sets: readonly SelectionSetNode[],
  ) {
    this.#schema = schema;
    this.#fragments = fragments;
    this.#type = type;
    this.#sets = sets;
  }

  /** @param typeName what the result says the object is, when it was asked to. */
  fieldsOf(typeName: unknown): readonly FieldPlan[] {
    const runtime = isObjectType(this.#type)
      ? this.#type
      : typeof typeName === 'string'
        ? this.#schema.getType(typeName)
        : undefined;
    const type = isObjectType(runtime) ? runtime : this.#type;
    const known = this.#byType.get(type.name);
    if (known) return known;
    const fields = this.#collect(type);
    this.#byType.set(type.name, fields);
    return fields;
  }

  #collect(type: GraphQLCompositeType): FieldPlan[] {
    const found = new Map<string, { nodes: FieldNode[]; type: GraphQLOutputType; optional: boolean }>();
    const visit = (selections: readonly SelectionNode[], parent: GraphQLCompositeType, optional: boolean): void => {
      for (const selection of selections) {
        const maybe = optional || isConditional(selection);
        if (selection.kind === Kind.FIELD) {
          const field = 'getFields' in parent ? parent.getFields()[selection.name.value] : undefined;
          if (!field) continue;
          const key = selection.alias?.value ?? selection.name.value;
          const entry = found.get(key);
          if (entry) {
            entry.nodes.push(selection);
            entry.optional &&= maybe;
          } else found.set(key, { nodes: [selection], type: field.type, optional: maybe });
          continue;
        }
        const fragment =
          selection.kind === Kind.FRAGMENT_SPREAD ? this.#fragments.get(selection.name.value) : selection;
        if (!fragment) continue;
        const condition = fragment.typeCondition ? typeFromAST(this.#schema, fragment.typeCondition) : parent;
        if (!isCompositeType(condition)) continue;
        if (isObjectType(type)) {
          if (condition === type || (isAbstractType(condition) && this.#schema.isSubType(condition, type)))
            visit(fragment.selectionSet.selections, type, maybe);
        } else visit(fragment.selectionSet.selections, condition, maybe || condition !== type);
      }
    };
    for (const { selections } of this.#sets) visit(selections, type, false);

    return [...found].map(([key, { nodes, type: fieldType, optional }]) => {
      const named = getNamedType(fieldType);
      const sets = nodes.flatMap(({ selectionSet }) => (selectionSet ? [selectionSet] : []));
      const children =
        isCompositeType(named) && sets.length > 0
          ? new SelectionPlan(this.#schema, this.#fragments, named, sets)
          : undefined;
      return { key, type: fieldType, optional, children };
    });
  }
}

function isConditional(node: SelectionNode): boolean {
  if (!node.directives?.length) return false;
  try {
    const skip = getDirectiveValues(GraphQLSkipDirective, node)?.['if'];
    const include = getDirectiveValues(GraphQLIncludeDirective, node)?.['if'];
    return skip !== undefined || include !== undefined;
  } catch {
    // The condition is a variable.
    return true;
  }
}

function completeObject(
  value: unknown,
  plan: SelectionPlan,
  broken: { path: string | undefined },
  path: string,
): unknown {
  const object = value as Record<string, unknown>;
  for (const { key, type, optional, children } of plan.fieldsOf(object['__typename'])) {
    const before = object[key];
    if (before === undefined && optional) continue;
    const after = complete(before ?? null, type, children, broken, path === '' ? key : `${path}.${key}`);
    if (after === PROPAGATE) return null;
    if (after !== before) object[key] = after;
  }
  return object;
}

function complete(
  value: unknown,
  type: GraphQLOutputType,
  children: SelectionPlan | undefined,
  broken: { path: string | undefined },
  path: string,
): unknown {
  if (isNonNullType(type)) {
    const inner = complete(value, type.ofType, children, broken, path);
    if (inner !== null) return inner;
    broken.path ??= path;
    return PROPAGATE;
  }
  if (value === null) return null;
  if (isListType(type)) {
    const items = value as unknown[];
    for (let index = 0; index < items.length; index++) {
      const before = items[index] ?? null;
      const after = complete(before, type.ofType, children, broken, `${path}.${index}`);
      if (after === PROPAGATE) return null;
      if (after !== before) items[index] = after;
    }
    return items;
  }
  return children ? completeObject(value, children, broken, path) : value;
}
