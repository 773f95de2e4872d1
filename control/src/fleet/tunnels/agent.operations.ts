/** What control asks of an agent through its tunnel, typed by codegen from `agent/schema.graphql`. */
export const INVENTORY = /* GraphQL */ `
  query Inventory {
    inventory {
      epoch
      sandboxes {
        id
        generation
        epoch
        status
        statusReason
        startedAt
        lastActiveAt
        autoPaused
        errorCause
      }
    }
  }
`;

/** Which agent process is there. */
export const IDENTITY = /* GraphQL */ `
  query Identity {
    inventory {
      instance
      bootId
    }
  }
`;

/** The host may be placed on from now on. */
export const WELCOME = /* GraphQL */ `
  mutation Welcome {
    welcome
  }
`;

export const APPLY_SANDBOX = /* GraphQL */ `
  mutation ApplySandbox($spec: SandboxSpecInput!, $generation: Int!) {
    applySandbox(spec: $spec, generation: $generation) {
      id
      generation
      epoch
      status
      statusReason
      startedAt
      lastActiveAt
      autoPaused
      errorCause
    }
  }
`;

export const REMOVE_SANDBOX = /* GraphQL */ `
  mutation RemoveSandbox($id: ID!, $generation: Int!) {
    removeSandbox(id: $id, generation: $generation) {
      id
      existed
    }
  }
`;

export const EXEC = /* GraphQL */ `
  subscription Exec($input: ExecInput!) {
    exec(input: $input) {
      kind
      data
      exitCode
      signal
      timedOut
      truncated
    }
  }
`;

export const ACKNOWLEDGE_STREAM = /* GraphQL */ `
  mutation AcknowledgeStream($streamId: ID!, $consumedBytes: Float!) {
    acknowledgeStream(streamId: $streamId, consumedBytes: $consumedBytes)
  }
`;
