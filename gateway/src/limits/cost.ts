import {
  getNullableType,
  getOperationAST,
  getVariableValues,
  GraphQLError,
  isListType,
  visit,
  type ArgumentNode,
  type DocumentNode,
  type ExecutionArgs,
  type GraphQLSchema,
  type OperationDefinitionNode,
} from 'graphql';
import { getComplexity, type ComplexityEstimator } from 'graphql-query-complexity';
import { LRUCache } from 'lru-cache';

/** Items that a list is taken to have when nothing says how many: a team's members, a host's conditions. */
const ITEMS_OF_A_LIST = 10;

/** Items of a page whose size was not asked for; what the API gives then. */
const ITEMS_OF_A_PAGE = 50;

/** No page has more, whatever is asked for. */
const ITEMS_AT_MOST = 500;

/** How many combinations of page sizes are remembered of one document. */
const COSTS_KEPT = 50;

/** What is known of one operation. */
interface Priced {
  /** Variables on which its cost depends. */
  readonly relevant: readonly string[];
  readonly costs: LRUCache<string, number>;
}

/** Tells what operations cost: one for each field, times the items of the lists that it is in. */
export class OperationCosts {
  readonly #schema: GraphQLSchema;
  readonly #max: number;
  readonly #known = new WeakMap<OperationDefinitionNode, Priced>();

  constructor(schema: GraphQLSchema, max: number) {
    this.#schema = schema;
    this.#max = max;
  }

  /**
   * Why an operation may not run; undefined when it may. Variables of the wrong type are among the
   * reasons: what they would do to the cost nobody can tell.
   */
  refusal({ document, operationName, variableValues }: ExecutionArgs): readonly GraphQLError[] | undefined {
    const operation = getOperationAST(document, operationName);
    if (!operation) return [badInput('Say by `operationName` which operation of the document is meant.')];
    const { errors, coerced } = getVariableValues(
      this.#schema,
      operation.variableDefinitions ?? [],
      variableValues ?? {},
      { maxErrors: 10 },
    );
    if (errors) return errors.map((error) => badInput(error.message));
    try {
      const cost = this.#costOf(document, operation, variableValues ?? {}, coerced);
      return cost > this.#max ? [this.#tooExpensive()] : undefined;
    } catch (error) {
      if (error instanceof GraphQLError) return [this.#tooExpensive()];
      throw error;
    }
  }

  /** @throws {GraphQLError} when there are too many fields to count. */
  cost({ document, operationName, variableValues }: ExecutionArgs): number {
    const operation = getOperationAST(document, operationName);
    if (!operation) throw badInput('There is no such operation.');
    return this.#price(document, operation, variableValues ?? {});
  }

  #costOf(
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Readonly<Record<string, unknown>>,
    coerced: Readonly<Record<string, unknown>>,
  ): number {
    let priced = this.#known.get(operation);
    if (!priced) {
      priced = { relevant: relevantVariables(document), costs: new LRUCache({ max: COSTS_KEPT }) };
      this.#known.set(operation, priced);
    }
    const key = JSON.stringify(priced.relevant.map((name) => coerced[name] ?? null));
    const known = priced.costs.get(key);
    if (known !== undefined) return known;
    const cost = this.#price(document, operation, variables);
    priced.costs.set(key, cost);
    return cost;
  }

  #price(
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Readonly<Record<string, unknown>>,
  ): number {
    return getComplexity({
      schema: this.#schema,
      query: document,
      variables: { ...variables },
      ...(operation.name ? { operationName: operation.name.value } : {}),
      estimators: [estimate],
    });
  }

  #tooExpensive(): GraphQLError {
    return badInput(`This operation asks for too much at once (more than ${this.#max} fields); ask for smaller pages.`);
  }
}

const estimate: ComplexityEstimator = ({ type, field, args, childComplexity }) =>
  1 + childComplexity * itemsOf(type.name, field, args);

function itemsOf(
  parent: string,
  field: Parameters<ComplexityEstimator>[0]['field'],
  args: Readonly<Record<string, unknown>>,
): number {
  // Introspection is as large as the schema, whoever asks.
  if (parent.startsWith('__') || field.name.startsWith('__')) return 1;
  if (field.args.some(({ name }) => isSize(name))) {
    const asked = args['first'] ?? args['last'];
    return typeof asked === 'number' ? Math.min(Math.max(1, asked), ITEMS_AT_MOST) : ITEMS_OF_A_PAGE;
  }
  // The items of a connection were counted at the field that made it.
  if (parent.endsWith('Connection')) return 1;
  return isListType(getNullableType(field.type)) ? ITEMS_OF_A_LIST : 1;
}

/** Variables that a page's size or a condition hangs on. */
function relevantVariables(document: DocumentNode): string[] {
  const names = new Set<string>();
  const collect = ({ value }: ArgumentNode): void => {
    if (value.kind === 'Variable') names.add(value.name.value);
  };
  visit(document, {
    Directive: (node) => node.arguments?.forEach(collect),
    Field: (node) => node.arguments?.filter(({ name }) => isSize(name.value)).forEach(collect),
  });
  return [...names].sort();
}

const isSize = (name: string): boolean => name === 'first' || name === 'last';

const badInput = (message: string): GraphQLError =>
  new GraphQLError(message, { extensions: { code: 'BAD_USER_INPUT' } });
