import { graphql } from '#lib/gql/generated/gql.ts';

export const ApiKeyFields = graphql(/* GraphQL */ `
  fragment ApiKeyFields on ApiKey {
    id
    name
    prefix
    scopes
    createdAt
    expiresAt
    lastUsedAt
    lastUsedAddress
    createdBy {
      id
      name
      email
    }
  }
`);

export const ApiKeysQuery = graphql(/* GraphQL */ `
  query ApiKeys($teamId: ID!) {
    team(id: $teamId) {
      id
      apiKeys {
        ...ApiKeyFields
      }
    }
  }
`);

export const CreateApiKeyMutation = graphql(/* GraphQL */ `
  mutation CreateApiKey($input: CreateApiKeyInput!) {
    createApiKey(input: $input) {
      __typename
      ... on ApiKeyCreated {
        apiKey {
          ...ApiKeyFields
        }
        secret
      }
      ... on UserError {
        message
        path
      }
    }
  }
`);

export const RevokeApiKeyMutation = graphql(/* GraphQL */ `
  mutation RevokeApiKey($input: RevokeApiKeyInput!) {
    revokeApiKey(input: $input) {
      __typename
      ... on UserError {
        message
      }
    }
  }
`);
