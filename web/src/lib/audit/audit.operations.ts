import { graphql } from '#lib/gql/generated/gql.ts';

export const AuditFields = graphql(/* GraphQL */ `
  fragment AuditFields on AuditEvent {
    id
    at
    action
    actorKind
    actorId
    actorLabel
    resourceType
    resourceId
    team {
      id
      name
    }
    outcome
    code
    detail
    address
    userAgent
  }
`);

export const AuditEventsQuery = graphql(/* GraphQL */ `
  query AuditEvents($first: Int!, $after: String, $filter: AuditFilter) {
    auditEvents(first: $first, after: $after, filter: $filter) {
      edges {
        node {
          ...AuditFields
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

export const AuditEventAddedSubscription = graphql(/* GraphQL */ `
  subscription AuditEventAdded($after: String, $filter: AuditFilter) {
    auditEventAdded(after: $after, filter: $filter) {
      kind
      cursor
      auditEvent {
        ...AuditFields
      }
    }
  }
`);
