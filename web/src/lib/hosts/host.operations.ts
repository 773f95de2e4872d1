import { graphql } from '#lib/gql/generated/gql.ts';

/** Everything a host's row and its page show; one shape for the list, the events and the page. */
export const HostFields = graphql(/* GraphQL */ `
  fragment HostFields on Host {
    __typename
    id
    revision
    createdAt
    name
    kind
    status
    schedulable
    conditions {
      type
      message
      blocksPlacement
    }
    team {
      id
    }
    teamName
    provider
    availabilityZone
    labels {
      key
      value
    }
    arch
    cpuCores
    memoryMb
    diskGb
    allocated {
      sandboxes
      vcpus
      memoryMb
      diskMb
    }
    used {
      load1
      memoryUsedMb
      diskUsedMb
    }
    agentVersion
    runtime {
      name
      version
    }
    lastHeartbeatAt
    registeredAt
    createsFailing {
      since
    }
    drain {
      state
      policy
      total
      done
      failed
      deadlineAt
      finishedAt
    }
  }
`);

export const HostsQuery = graphql(/* GraphQL */ `
  query Hosts($after: String) {
    hosts(first: 200, after: $after) {
      edges {
        node {
          ...HostFields
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

export const HostChangedSubscription = graphql(/* GraphQL */ `
  subscription HostChanged($after: String) {
    hostChanged(after: $after) {
      kind
      cursor
      hostId
      host {
        ...HostFields
      }
    }
  }
`);

export const CreateHostMutation = graphql(/* GraphQL */ `
  mutation CreateHost($input: CreateHostInput!) {
    createHost(input: $input) {
      __typename
      ... on HostCreated {
        host {
          id
          name
        }
        registrationToken
        registrationTokenExpiresAt
        joinCommand
        warnings {
          code
          message
        }
      }
      ... on UserError {
        message
        path
      }
    }
  }
`);

/** What a host's credentials are worth: for its page only. */
export const HostCredentialsQuery = graphql(/* GraphQL */ `
  query HostCredentials($id: ID!) {
    host(id: $id) {
      id
      credentials {
        state
        quarantineCause
        quarantinedAt
        holders {
          address
          bootId
          machineId
          seenAt
        }
      }
    }
  }
`);

export const RegenerateHostTokenMutation = graphql(/* GraphQL */ `
  mutation RegenerateHostToken($input: RegenerateHostTokenInput!) {
    regenerateHostToken(input: $input) {
      __typename
      ... on HostTokenRegenerated {
        host {
          id
          name
        }
        registrationToken
        registrationTokenExpiresAt
        joinCommand
        warnings {
          code
          message
        }
      }
      ... on UserError {
        message
      }
    }
  }
`);

export const CordonHostMutation = graphql(/* GraphQL */ `
  mutation CordonHost($input: CordonHostInput!) {
    cordonHost(input: $input) {
      __typename
      ... on UserError {
        message
      }
    }
  }
`);

export const UncordonHostMutation = graphql(/* GraphQL */ `
  mutation UncordonHost($input: UncordonHostInput!) {
    uncordonHost(input: $input) {
      __typename
      ... on UserError {
        message
      }
    }
  }
`);

export const DrainHostMutation = graphql(/* GraphQL */ `
  mutation DrainHost($input: DrainHostInput!) {
    drainHost(input: $input) {
      __typename
      ... on UserError {
        message
      }
    }
  }
`);

export const HostDeletionPreviewQuery = graphql(/* GraphQL */ `
  query HostDeletionPreview($id: ID!) {
    host(id: $id) {
      id
      deletionPreview {
        affectedSandboxes {
          id
          name
          status
        }
        previewDigest
      }
    }
  }
`);

export const DeleteHostMutation = graphql(/* GraphQL */ `
  mutation DeleteHost($input: DeleteHostInput!) {
    deleteHost(input: $input) {
      __typename
      ... on HostDeleted {
        hostId
        destroyedSandboxes {
          id
        }
      }
      ... on HostHasSandboxes {
        message
        affectedSandboxes {
          id
          name
          status
        }
        previewDigest
      }
      ... on UserError {
        message
      }
    }
  }
`);

/** Heartbeats are not events: what they change is read again while it is on the screen. */
export const HostReadingsQuery = graphql(/* GraphQL */ `
  query HostReadings($ids: [ID!]!) {
    nodes(ids: $ids) {
      __typename
      ... on Host {
        ...HostFields
      }
    }
  }
`);
