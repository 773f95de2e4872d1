import { graphql } from '#lib/gql/generated/gql.ts';

/** A team's row in the admin section. */
export const AdminTeamFields = graphql(/* GraphQL */ `
  fragment AdminTeamFields on Team {
    id
    name
    isByoc
    createdAt
    members {
      role
      user {
        id
        email
      }
    }
  }
`);

export const AdminTeamsQuery = graphql(/* GraphQL */ `
  query AdminTeams($after: String) {
    teams(first: 200, after: $after) {
      edges {
        node {
          ...AdminTeamFields
        }
      }
      pageInfo {
        endCursor
        hasNextPage
      }
      eventCursor
    }
  }
`);

export const AdminTeamChangedSubscription = graphql(/* GraphQL */ `
  subscription AdminTeamChanged($after: String) {
    teamChanged(after: $after) {
      kind
      cursor
      teamId
      team {
        ...AdminTeamFields
      }
    }
  }
`);

export const SetTeamByocMutation = graphql(/* GraphQL */ `
  mutation SetTeamByoc($input: SetTeamByocInput!) {
    setTeamByoc(input: $input) {
      __typename
      ... on UserError {
        message
      }
    }
  }
`);

export const UsersQuery = graphql(/* GraphQL */ `
  query Users($search: String, $first: Int!, $after: String) {
    users(search: $search, first: $first, after: $after) {
      edges {
        node {
          id
          name
          email
          isAdmin
          createdAt
        }
      }
      pageInfo {
        endCursor
        hasNextPage
      }
      totalCount
    }
  }
`);

export const SetPlatformAdminMutation = graphql(/* GraphQL */ `
  mutation SetPlatformAdmin($input: SetPlatformAdminInput!) {
    setPlatformAdmin(input: $input) {
      __typename
      ... on UserError {
        message
      }
    }
  }
`);
