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
    }
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

export const LEAVE_FLEET = /* GraphQL */ `
  mutation LeaveFleet($input: LeaveFleetInput!) {
    leaveFleet(input: $input)
  }
`;
