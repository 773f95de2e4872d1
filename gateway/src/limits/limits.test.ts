import {
  buildSchema,
  getIntrospectionQuery,
  GraphQLNonNull,
  isEnumType,
  isInputObjectType,
  isListType,
  parse,
  typeFromAST,
  type DocumentNode,
  type ExecutionArgs,
  type GraphQLError,
  type GraphQLInputType,
  type GraphQLNullableType,
  type NamedTypeNode,
} from 'graphql';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { OperationCosts } from './cost.ts';
import { defaultLimits } from './limits.config.ts';
import { OperationLimits } from './limits.ts';

const ROOT = join(import.meta.dirname, '../../..');
const schema = buildSchema(await readFile(join(ROOT, 'schema.graphql'), 'utf8'));
const settings = defaultLimits();
const limits = new OperationLimits(schema, settings, true);

const admit = (query: string, variables: object = {}, operationName?: string) =>
  limits.admit({ query, variables, ...(operationName ? { operationName } : {}) });
const refusals = (query: string, variables: object = {}, operationName?: string): string[] => {
  const admitted = admit(query, variables, operationName);
  return Array.isArray(admitted) ? (admitted as GraphQLError[]).map(({ message }) => message) : [];
};
const cost = (query: string, variables: object = {}): number =>
  new OperationCosts(schema, 1).cost(limits.admit({ query, variables }) as ExecutionArgs);

/** `{ host { sandboxes { edges { node { host … } } } } }`, as deep as wanted. */
const nested = (levels: number): string => {
  const rounds = Math.floor((levels - 2) / 4);
  const inner = [
    'id',
    'sandboxes { totalCount }',
    'sandboxes { edges { cursor } }',
    'sandboxes { edges { node { id } } }',
  ][(levels - 2) % 4];
  return `{ host(id: "x") { ${'sandboxes(first: 1) { edges { node { host { '.repeat(rounds)}${inner}${' } } } }'.repeat(rounds)} } }`;
};

describe('depth', () => {
  test.each([
    [12, []],
    [13, ['An operation may be at most 12 levels deep.']],
  ])('of %s levels', (levels, expected) => {
    expect(refusals(nested(levels))).toEqual(expected);
  });

  test('is counted through fragments', () => {
    const deep = `query { host(id: "x") { ...a } } fragment a on Host { ${nested(13).slice('{ host(id: "x") {'.length, -3)} }`;
    expect(refusals(deep)).toEqual(['An operation may be at most 12 levels deep.']);
  });

  test('that no parser survives is refused like any other', () => {
    expect(refusals(`{ a ${'{ a '.repeat(7_000)}${'}'.repeat(7_000)} }`)).toHaveLength(1);
  });
});

describe('aliases, root fields and fields', () => {
  const many = (n: number, field: (i: number) => string) =>
    `{ ${Array.from({ length: n }, (_, i) => field(i)).join(' ')} }`;

  test('30 aliases may be, 31 may not', () => {
    expect(refusals(`{ viewer ${many(30, (i) => `a${i}: isAdmin`)} }`)).toEqual([]);
    expect(refusals(`{ viewer ${many(31, (i) => `a${i}: isAdmin`)} }`)).toEqual([
      'An operation may have at most 30 aliases.',
    ]);
  });

  test('31 root fields may not be, aliases or none', () => {
    expect(refusals(many(31, () => 'viewer { isAdmin }'))).toEqual(['An operation may have at most 30 root fields.']);
  });

  test('fragments count at each use', () => {
    const twenty = many(20, (i) => `a${i}: isAdmin`);
    expect(refusals(`{ viewer { ...f ... { ...f } } } fragment f on Viewer ${twenty}`)).toEqual([
      'An operation may have at most 30 aliases.',
    ]);
  });

  test('fragments that double each other are counted without being walked', () => {
    const doubling = Array.from({ length: 60 }, (_, i) => `fragment f${i} on Viewer { ...f${i + 1} ...f${i + 1} }`);
    const query = `{ viewer { ...f0 } } ${doubling.join(' ')} fragment f60 on Viewer { isAdmin }`;
    expect(refusals(query)).toEqual(['An operation may have at most 1000 fields.']);
  });

  test('fragments that go round in circles are refused, and come to an end', () => {
    const query = `{ viewer { ...a } } fragment a on Viewer { ...b } fragment b on Viewer { ...a }`;
    expect(refusals(query)).toEqual(['Cannot spread fragment "a" within itself via "b".']);
  });

  test('the operation that is not run counts too, because its document is kept', () => {
    const query = `query A { viewer { isAdmin } } query B { viewer ${many(31, (i) => `a${i}: isAdmin`)} }`;
    expect(refusals(query, {}, 'A')).toHaveLength(1);
  });
});

describe('cost', () => {
  test('is one for each field, and for each item of a page', () => {
    expect(cost('{ viewer { isAdmin } }')).toBe(2);
    expect(cost('{ hosts(first: 10) { edges { node { id name } } } }')).toBe(1 + 10 * (1 + 1 + 2));
    expect(cost('{ hosts(last: 10) { edges { node { id } } } }')).toBe(1 + 10 * 3);
  });

  test('takes the size of a page out of a variable, and out of its default', () => {
    const query = 'query ($n: Int = 7) { hosts(first: $n) { edges { node { id } } } }';
    expect(cost(query, { n: 100 })).toBe(1 + 100 * 3);
    expect(cost(query)).toBe(1 + 7 * 3);
  });

  test('takes a page without a size for what the API gives, and none for more than that', () => {
    expect(cost('{ hosts { edges { node { id } } } }')).toBe(1 + 50 * 3);
    expect(cost('{ hosts(first: 2000000000) { edges { node { id } } } }')).toBe(1 + 500 * 3);
  });

  test('that is too high with these variables is refused, with others it is not', () => {
    const query = `query ($n: Int!) { hosts(first: $n) { edges { node { sandboxes(first: $n) { edges { node { id } } } } } } }`;
    const message = 'This operation asks for too much at once (more than 100000 fields); ask for smaller pages.';
    for (let round = 0; round < 2; round++) {
      expect(refusals(query, { n: 500 })).toEqual([message]);
      expect(refusals(query, { n: 10 })).toEqual([]);
    }
  });

  test('depends on conditions', () => {
    const query = `query ($all: Boolean!) { hosts(first: 500) { totalCount edges @include(if: $all) { node { sandboxes(first: 500) { edges { node { id } } } } } } }`;
    expect(refusals(query, { all: true })).toHaveLength(1);
    expect(refusals(query, { all: false })).toEqual([]);
  });

  test.each([
    ['a variable of the wrong type', { n: 'many' }],
    ['a variable that is missing', {}],
  ])('of %s nobody knows: it is refused before anything runs', (_what, variables) => {
    const [error] = admit('query ($n: Int!) { hosts(first: $n) { totalCount } }', variables) as GraphQLError[];
    expect(error).toMatchObject({ extensions: { code: 'BAD_USER_INPUT' } });
  });
});

describe('introspection', () => {
  test('is within the limits where it is allowed', () => {
    expect(refusals(getIntrospectionQuery())).toEqual([]);
  });

  test('is refused where it is not, with no word about the schema', () => {
    const closed = new OperationLimits(schema, settings, false);
    for (const query of [
      getIntrospectionQuery(),
      '{ __schema { types { name } } }',
      '{ __type(name: "Host") { name } }',
    ])
      expect(closed.admit({ query })).toMatchObject([
        { message: 'The schema cannot be asked for here.', extensions: { code: 'BAD_USER_INPUT' } },
      ]);
    expect(closed.admit({ query: '{ __typename viewer { __typename } }' })).toHaveProperty('document');
  });
});

test('every operation of the dashboard costs less than a quarter of what it may, at the largest page', async () => {
  const directory = join(ROOT, 'web/src/lib');
  const files = (await readdir(directory, { recursive: true })).filter((name) => name.endsWith('.operations.ts'));
  const text = (await Promise.all(files.map((name) => readFile(join(directory, name), 'utf8')))).join('\n');
  const parts = [...text.matchAll(/graphql\(\/\* GraphQL \*\/ `([^`]*)`/g)].map(([, part = '']) => part.trim());
  const fragments = parts.filter((part) => part.startsWith('fragment'));
  const operations = parts.filter((part) => !part.startsWith('fragment'));
  expect(operations.length).toBeGreaterThan(10);
  const costs = new OperationCosts(schema, settings.ROOKERY_MAX_QUERY_COST);
  for (const operation of operations) {
    const query = withFragments(operation, fragments);
    const document = parse(query);
    const args = { schema, document, variableValues: largest(document) };
    expect(costs.refusal(args), operation.split('\n')[0]).toBeUndefined();
    expect(costs.cost(args), operation.split('\n')[0]).toBeLessThan(settings.ROOKERY_MAX_QUERY_COST / 4);
  }
});

/** Variables for an operation: the largest page, and of the rest anything that fits. */
function largest(document: DocumentNode): Record<string, unknown> {
  const definitions = document.definitions.flatMap((definition) =>
    definition.kind === 'OperationDefinition' ? (definition.variableDefinitions ?? []) : [],
  );
  return Object.fromEntries(
    definitions.flatMap(({ variable, type }) => {
      const { value: name } = variable.name;
      if (name === 'first' || name === 'last') return [[name, 500]];
      const wanted = typeFromAST(schema, type as NamedTypeNode);
      return isRequired(wanted) ? [[name, anything(wanted)]] : [];
    }),
  );
}

const isRequired = (type: unknown): type is GraphQLNonNull<GraphQLInputType & GraphQLNullableType> =>
  type instanceof GraphQLNonNull;

function anything(type: GraphQLInputType): unknown {
  if (isRequired(type)) return anything(type.ofType);
  if (isListType(type)) return [];
  if (isEnumType(type)) return type.getValues()[0]?.name;
  if (isInputObjectType(type)) {
    const required = Object.values(type.getFields()).filter((field) => isRequired(field.type));
    return Object.fromEntries(required.map((field) => [field.name, anything(field.type)]));
  }
  return { Int: 1, Float: 1, Boolean: true, DateTime: '2026-01-01T00:00:00.000Z' }[String(type)] ?? 'x';
}

/** An operation with the fragments that it uses. */
function withFragments(operation: string, fragments: readonly string[]): string {
  let text = operation;
  for (let added = true; added;) {
    added = false;
    for (const fragment of fragments) {
      const name = /^fragment (\w+)/.exec(fragment)?.[1] ?? '';
      if (!new RegExp(`\\.\\.\\.${name}\\b`).test(text) || text.includes(`fragment ${name} `)) continue;
      text = `${text}\n${fragment}`;
      added = true;
    }
  }
  return text;
}
