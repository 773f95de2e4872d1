import { graphql } from '#lib/gql/generated/gql.ts';

export const SessionsQuery = graphql(/* GraphQL */ `
  query Sessions {
    viewer {
      sessions {
        id
        method
        address
        userAgent
        createdAt
        lastUsedAt
        expiresAt
        isCurrent
      }
    }
  }
`);

/** One's own sign-ins and changes of the password, whatever the team. */
export const OwnSecurityEventsQuery = graphql(/* GraphQL */ `
  query OwnSecurityEvents($userId: ID!) {
    signIns: auditEvents(first: 8, filter: { actorId: $userId, action: "signIn" }) {
      edges {
        node {
          ...AuditFields
        }
      }
    }
    oidcSignIns: auditEvents(first: 8, filter: { actorId: $userId, action: "completeOidcSignIn" }) {
      edges {
        node {
          ...AuditFields
        }
      }
    }
    passwordChanges: auditEvents(first: 8, filter: { actorId: $userId, action: "changePassword" }) {
      edges {
        node {
          ...AuditFields
        }
      }
    }
  }
`);

export const ChangePasswordMutation = graphql(/* GraphQL */ `
  mutation ChangePassword($input: ChangePasswordInput!) {
    changePassword(input: $input) {
      __typename
      ... on TooManyAttempts {
        message
        retryAfterSeconds
      }
      ... on UserError {
        message
        path
      }
    }
  }
`);

export const EndSessionMutation = graphql(/* GraphQL */ `
  mutation EndSession($input: EndSessionInput!) {
    endSession(input: $input) {
      __typename
      ... on UserError {
        message
      }
    }
  }
`);
