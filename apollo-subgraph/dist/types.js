import {
  GraphQLList,
  GraphQLNonNull,
  GraphQLObjectType,
  GraphQLScalarType,
  GraphQLString,
  GraphQLUnionType,
} from 'graphql';
import { entitiesResolver } from 'apollo-subgraph-upstream/dist/types.js';

// The type objects that `@apollo/subgraph` exported from this path up to 2.14 and
// `@pothos/plugin-federation` 4.4 still imports. They follow the federation subgraph specification.

const AnyType = new GraphQLScalarType({ name: '_Any' });

const ServiceType = new GraphQLObjectType({ name: '_Service', fields: { sdl: { type: GraphQLString } } });

export const EntityType = new GraphQLUnionType({ name: '_Entity', types: [] });

export const serviceField = { type: new GraphQLNonNull(ServiceType) };

export const entitiesField = {
  type: new GraphQLNonNull(new GraphQLList(EntityType)),
  args: { representations: { type: new GraphQLNonNull(new GraphQLList(new GraphQLNonNull(AnyType))) } },
  resolve: (_source, { representations }, context, info) => entitiesResolver({ representations, context, info }),
};
