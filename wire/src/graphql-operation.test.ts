import { buildSchema, GraphQLError, type ValidationRule } from 'graphql';
import { describe, expect, test } from 'vitest';
import { DocumentCache } from './graphql-operation.ts';

const schema = buildSchema('type Query { a: Int }');

describe('documents', () => {
  test('of the same text are the same object, and so are their errors', () => {
    const documents = new DocumentCache(schema);
    expect(documents.get('{ a }')).toBe(documents.get('{ a }'));
    expect(documents.get('{ b }')).toBe(documents.get('{ b }'));
  });

  test('of great length are read each time: a stranger could fill the memory with them', () => {
    const documents = new DocumentCache(schema);
    const long = `{ a } # ${'x'.repeat(200_000)}`;
    expect(documents.get(long)).toHaveProperty('kind', 'Document');
    expect(documents.get(long)).not.toBe(documents.get(long));
  });

  test('are forgotten when their texts together are too long', () => {
    const documents = new DocumentCache(schema);
    const first = documents.get('{ a }');
    for (let n = 0; n < 90; n++) documents.get(`{ a } # ${n} ${'x'.repeat(100_000)}`);
    expect(documents.get('{ a }')).not.toBe(first);
  });

  test('are judged by our own rules first, and by the others only when those have passed', () => {
    const refuse: ValidationRule = (context) => ({
      Document: () => context.reportError(new GraphQLError('too much')),
    });
    expect(new DocumentCache(schema, [refuse]).get('{ b }')).toMatchObject([
      { message: 'too much', extensions: { code: 'BAD_USER_INPUT' } },
    ]);
  });

  test('that are nested beyond what the parser can take are refused, not thrown', () => {
    const deep = `${'{ a '.repeat(7_000)}${'}'.repeat(7_000)}`;
    expect(new DocumentCache(schema).get(deep)).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }]);
  });
});
