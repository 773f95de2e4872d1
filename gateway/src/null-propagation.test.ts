import { buildSchema, parse } from 'graphql';
import { describe, expect, test } from 'vitest';
import { NullPropagation } from './null-propagation.ts';

const schema = buildSchema(`
  interface Node { id: ID! }
  type Host implements Node { id: ID! name: String! team: Team tags: [String!]! sandboxes: [Sandbox!]! }
  type Team implements Node { id: ID! name: String! }
  type Sandbox implements Node { id: ID! name: String! host: Host }
  type Gone { message: String! }
  union Result = Host | Gone
  type Query { host: Host hosts: [Host!]! maybeHosts: [Host] result: Result! node: Node }
`);
const nulls = new NullPropagation(schema);
const ERROR = [{ message: 'subgraph is away' }];

function apply(
  query: string,
  data: Record<string, unknown> | null | undefined,
  errors: { message: string }[] | undefined = ERROR,
) {
  return nulls.apply({ ...(data === undefined ? {} : { data }), ...(errors ? { errors } : {}) }, parse(query), null);
}

describe('a null where the schema promises a value', () => {
  test.each<[string, string, Record<string, unknown>, Record<string, unknown> | null]>([
    ['makes its object null', '{ host { id name } }', { host: { id: '1', name: null } }, { host: null }],
    ['counts when the key is missing altogether', '{ host { id name } }', { host: { id: '1' } }, { host: null }],
    [
      'stops at the nearest nullable parent',
      '{ host { id team { name } } }',
      { host: { id: '1', team: { name: null } } },
      { host: { id: '1', team: null } },
    ],
    ['goes through lists of non-null items', '{ hosts { id } }', { hosts: [{ id: '1' }, { id: null }] }, null],
    [
      'spares the other items of a list of nullable ones',
      '{ maybeHosts { id } }',
      { maybeHosts: [{ id: '1' }, { id: null }] },
      { maybeHosts: [{ id: '1' }, null] },
    ],
    [
      'inside a list of scalars takes the object with it',
      '{ host { tags } }',
      { host: { tags: ['a', null] } },
      { host: null },
    ],
    ['is found behind an alias', '{ host { title: name } }', { host: { title: null } }, { host: null }],
    [
      'is found in a fragment',
      '{ host { ...f } } fragment f on Host { name }',
      { host: { name: null } },
      { host: null },
    ],
    [
      'is found in a member of a union',
      '{ result { __typename ... on Host { name } } }',
      { result: { __typename: 'Host', name: null } },
      null,
    ],
    ['is found in an interface', '{ node { id } }', { node: { id: null } }, { node: null }],
    [
      'is found deep down',
      '{ hosts { sandboxes { host { name } } } }',
      { hosts: [{ sandboxes: [{ host: { name: null } }] }] },
      { hosts: [{ sandboxes: [{ host: null }] }] },
    ],
  ])('%s', (_what, query, data, expected) => {
    expect(apply(query, data)).toEqual({ data: expected, errors: ERROR });
  });

  test('is never without an error', () => {
    expect(apply('{ host { name } }', { host: { name: null } }, []).errors).toEqual([
      { message: 'No value for the non-null field host.name.', extensions: { code: 'INTERNAL' } },
    ]);
  });
});

describe('a result that is as promised', () => {
  test.each<[string, string, Record<string, unknown>]>([
    ['with nulls where they may be', '{ host { team { name } } }', { host: { team: null } }],
    [
      'with a field that was skipped',
      'query ($no: Boolean = true) { host { id name @skip(if: $no) } }',
      { host: { id: '1' } },
    ],
    [
      'with a fragment on another type',
      '{ result { ... on Gone { message } ... on Host { name } } }',
      { result: { name: 'a' } },
    ],
    ['with an empty list', '{ hosts { name } }', { hosts: [] }],
    ['with a fragment on an interface that the type has', '{ host { ... on Node { id } } }', { host: { id: '1' } }],
  ])('%s is the same object', (_what, query, data) => {
    const result = { data };
    expect(nulls.apply(result, parse(query), null)).toBe(result);
  });
});

test('a result with errors alone has no data', () => {
  expect(apply('{ hosts { id } }', undefined)).toEqual({ data: null, errors: ERROR });
});

test('the operation that was named is the one that is judged', () => {
  const document = parse('query A { host { name } } query B { host { id } }');
  expect(nulls.apply({ data: { host: { id: '1' } } }, document, 'B')).toEqual({ data: { host: { id: '1' } } });
  expect(nulls.apply({ data: { host: { id: '1' } }, errors: ERROR }, document, 'A').data).toEqual({ host: null });
});
