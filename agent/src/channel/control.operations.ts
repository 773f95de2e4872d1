/**
 * What the agent asks of control, typed by codegen from `control/agent-channel.graphql`.
 *
 * Without fragments: each of these goes out as the text it is.
 */
export const REGISTER_HOST = /* GraphQL */ `
  mutation RegisterHost($input: RegisterHostInput!) {
    credentials: registerHost(input: $input) {
      hostId
      hostName
      accessToken
      accessTokenExpiresInSeconds
      refreshToken
      refreshTokenExpiresInSeconds
      controlKeys {
        kid
        publicKey
      }
    }
  }
`;

export const REFRESH_HOST_CREDENTIALS = /* GraphQL */ `
  mutation RefreshHostCredentials($input: RefreshHostCredentialsInput!) {
    credentials: refreshHostCredentials(input: $input) {
      hostId
      hostName
      accessToken
      accessTokenExpiresInSeconds
      refreshToken
      refreshTokenExpiresInSeconds
      controlKeys {
        kid
        publicKey
      }
    }
  }
`;

/** Nothing but a use of the access token: it tells control that the credentials have arrived. */
export const CONFIRM_CREDENTIALS = /* GraphQL */ `
  query ConfirmCredentials {
    hostId
  }
`;

export const HEARTBEAT = /* GraphQL */ `
  mutation Heartbeat($input: HeartbeatInput!) {
    heartbeat(input: $input) {
      nextHeartbeatMs
      wantInventory
      reconnectSpreadMs
    }
  }
`;

export const REPORT_SANDBOXES = /* GraphQL */ `
  mutation ReportSandboxes($input: ReportSandboxesInput!) {
    reportSandboxes(input: $input) {
      epoch
    }
  }
`;

export const SANDBOXES_TO_RUN = /* GraphQL */ `
  query SandboxesToRun($ids: [ID!]!) {
    sandboxesToRun(ids: $ids)
  }
`;

export const LEAVE_FLEET = /* GraphQL */ `
  mutation LeaveFleet($input: LeaveFleetInput!) {
    leaveFleet(input: $input)
  }
`;
