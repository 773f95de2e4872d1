import { graphql } from '#lib/gql/generated/gql.ts';

/** Everything a sandbox's row and its page show; one shape for the list, the events and the page. */
export const SandboxFields = graphql(/* GraphQL */ `
  fragment SandboxFields on Sandbox {
    __typename
    id
    revision
    createdAt
    name
    status
    statusReason
    statusBeforeMissing
    missingSince
    pauseCause
    host {
      id
      name
    }
    team {
      id
      name
    }
    template
    vcpus
    memoryMb
    diskMb
    timeoutSeconds
    labels {
      key
      value
    }
    startedAt
    lastActiveAt
  }
`);

export const SandboxesQuery = graphql(/* GraphQL */ `
  query Sandboxes($after: String) {
    sandboxes(first: 200, after: $after) {
      edges {
        node {
          ...SandboxFields
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

export const SandboxChangedSubscription = graphql(/* GraphQL */ `
  subscription SandboxChanged($after: String) {
    sandboxChanged(after: $after) {
      kind
      cursor
      sandboxId
      sandbox {
        ...SandboxFields
      }
    }
  }
`);

/** Read once by the sandbox's page: where a sandbox was placed, and why, does not change. */
export const SandboxPlacementQuery = graphql(/* GraphQL */ `
  query SandboxPlacement($id: ID!) {
    sandbox(id: $id) {
      id
      placement {
        strategy
        candidates
        considered
        sampled
        rejections {
          filter
          hosts
        }
        failedAttempts {
          host {
            id
            name
          }
          error
        }
      }
    }
  }
`);

export const CreateSandboxMutation = graphql(/* GraphQL */ `
  mutation CreateSandbox($input: CreateSandboxInput!) {
    createSandbox(input: $input) {
      __typename
      ... on SandboxCreated {
        sandbox {
          id
          name
        }
      }
      ... on NoHostFits {
        message
        candidates
        never
        rejections {
          filter
          hosts
        }
      }
      ... on UserError {
        message
        path
      }
    }
  }
`);

export const PauseSandboxMutation = graphql(/* GraphQL */ `
  mutation PauseSandbox($input: PauseSandboxInput!) {
    pauseSandbox(input: $input) {
      __typename
      ... on SandboxPaused {
        sandbox {
          id
          status
        }
      }
      ... on UserError {
        message
      }
    }
  }
`);

export const ResumeSandboxMutation = graphql(/* GraphQL */ `
  mutation ResumeSandbox($input: ResumeSandboxInput!) {
    resumeSandbox(input: $input) {
      __typename
      ... on SandboxResumed {
        sandbox {
          id
          status
        }
      }
      ... on UserError {
        message
      }
    }
  }
`);

export const DestroySandboxMutation = graphql(/* GraphQL */ `
  mutation DestroySandbox($input: DestroySandboxInput!) {
    destroySandbox(input: $input) {
      __typename
      ... on SandboxDestroyed {
        sandbox {
          id
          name
          status
        }
      }
      ... on UserError {
        message
      }
    }
  }
`);

/** Runs a command; leaving the subscription kills it. */
export const SandboxExecSubscription = graphql(/* GraphQL */ `
  subscription SandboxExec($input: SandboxExecInput!) {
    sandboxExec(input: $input) {
      __typename
      ... on ExecOutputChunk {
        stream
        data
      }
      ... on ExecExited {
        exitCode
        signal
        timedOut
      }
      ... on UserError {
        message
      }
    }
  }
`);
