import { graphql } from '#lib/gql/generated/gql.ts';

export const InvitationQuery = graphql(/* GraphQL */ `
  query Invitation($token: String!) {
    invitation(token: $token) {
      teamName
      email
      role
      expiresAt
      invitedBy
    }
  }
`);

export const AcceptInvitationMutation = graphql(/* GraphQL */ `
  mutation AcceptInvitation($input: AcceptInvitationInput!) {
    acceptInvitation(input: $input) {
      __typename
      ... on InvitationAccepted {
        team {
          id
          name
        }
      }
      ... on UserError {
        message
        path
      }
    }
  }
`);
