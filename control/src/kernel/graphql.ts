import SchemaBuilder from '@pothos/core';
import DirectivesPlugin from '@pothos/plugin-directives';
import ErrorsPlugin from '@pothos/plugin-errors';
import FederationPlugin from '@pothos/plugin-federation';
import RelayPlugin from '@pothos/plugin-relay';
import { GraphQLError, Kind } from 'graphql';
import { IdempotencyKeyReused, InvalidInput, NameTaken, NotFound, NotPermitted, UserError } from './user-errors.ts';
import type { Caller } from '@rookery/wire/caller.ts';
import type { Viewer } from './viewer.ts';

/** What every resolver of a subgraph gets; made anew for each request and each event. */
export interface SubgraphContext {
  readonly viewer: Viewer | null;
  readonly caller: Caller;
}

export interface SubgraphTypes<Context extends SubgraphContext> {
  Context: Context;
  DefaultFieldNullability: false;
  Scalars: {
    ID: { Input: string; Output: string | number };
    DateTime: { Input: Date; Output: Date | string };
  };
}

/**
 * A Pothos builder set up as every subgraph needs it: federation, Relay ids and connections, errors
 * as union members, `DateTime`, and the {@link UserError}s that both subgraphs answer with.
 */
export function createSubgraphBuilder<Context extends SubgraphContext>(options: { userErrors?: boolean } = {}) {
  const builder = new SchemaBuilder<SubgraphTypes<Context>>({
    // The errors plugin comes first, so that it wraps what the others add.
    plugins: [ErrorsPlugin, RelayPlugin, DirectivesPlugin, FederationPlugin],
    defaultFieldNullability: false,
    relay: {
      // `node` and `nodes` are a subgraph of their own.
      nodeQueryOptions: false,
      nodesQueryOptions: false,
      cursorType: 'String',
      pageInfoTypeOptions: { shareable: true },
    },
    errors: { directResult: true, defaultTypes: [] },
  });

  builder.scalarType('DateTime', {
    description: 'A moment, in ISO 8601 with milliseconds, UTC.',
    serialize: (value) => (value instanceof Date ? value : new Date(value)).toISOString(),
    parseValue: (value) => parseDate(value),
    parseLiteral: (node) => parseDate(node.kind === Kind.STRING ? node.value : undefined),
  });

  if (options.userErrors !== false) {
    builder.interfaceType(UserError, {
      name: 'UserError',
      description: 'A failure that a caller is expected to handle.',
      fields: (t) => ({
        code: t.exposeString('code'),
        message: t.exposeString('message'),
        path: t.stringList({
          nullable: true,
          description: 'Where in the input the trouble is.',
          resolve: (error) => error.path as string[] | null,
        }),
      }),
    });
    for (const errorClass of [InvalidInput, NotFound, NotPermitted, NameTaken, IdempotencyKeyReused]) {
      builder.objectType(errorClass, { name: errorClass.name, interfaces: [UserError], shareable: true });
    }
  }
  return builder;
}

function parseDate(value: unknown): Date {
  const date = typeof value === 'string' ? new Date(value) : new Date(Number.NaN);
  if (Number.isNaN(date.getTime())) throw new GraphQLError('A DateTime is a string in ISO 8601.');
  return date;
}
