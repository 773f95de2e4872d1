/* eslint-disable */
import * as types from './graphql';
import type { TypedDocumentNode as DocumentNode } from '@graphql-typed-document-node/core';

/**
 * Map of all GraphQL operations in the project.
 *
 * This map has several performance disadvantages:
 * 1. It is not tree-shakeable, so it will include all operations in the project.
 * 2. It is not minifiable, so the string of a GraphQL query will be multiple times inside the bundle.
 * 3. It does not support dead code elimination, so it will add unused operations.
 *
 * Therefore it is highly recommended to use the babel or swc plugin for production.
 * Learn more about it here: https://the-guild.dev/graphql/codegen/plugins/presets/preset-client#reducing-bundle-size
 */
type Documents = {
    "\n  query Sessions {\n    viewer {\n      sessions {\n        id\n        method\n        address\n        userAgent\n        createdAt\n        lastUsedAt\n        expiresAt\n        isCurrent\n      }\n    }\n  }\n": typeof types.SessionsDocument,
    "\n  query OwnSecurityEvents($userId: ID!) {\n    signIns: auditEvents(first: 8, filter: { actorId: $userId, action: \"signIn\" }) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n    }\n    oidcSignIns: auditEvents(first: 8, filter: { actorId: $userId, action: \"completeOidcSignIn\" }) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n    }\n    passwordChanges: auditEvents(first: 8, filter: { actorId: $userId, action: \"changePassword\" }) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n    }\n  }\n": typeof types.OwnSecurityEventsDocument,
    "\n  mutation ChangePassword($input: ChangePasswordInput!) {\n    changePassword(input: $input) {\n      __typename\n      ... on TooManyAttempts {\n        message\n        retryAfterSeconds\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": typeof types.ChangePasswordDocument,
    "\n  mutation EndSession($input: EndSessionInput!) {\n    endSession(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.EndSessionDocument,
    "\n  fragment AdminTeamFields on Team {\n    id\n    name\n    isByoc\n    createdAt\n    members {\n      role\n      user {\n        id\n        email\n      }\n    }\n  }\n": typeof types.AdminTeamFieldsFragmentDoc,
    "\n  query AdminTeams($after: String) {\n    teams(first: 200, after: $after) {\n      edges {\n        node {\n          ...AdminTeamFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n": typeof types.AdminTeamsDocument,
    "\n  subscription AdminTeamChanged($after: String) {\n    teamChanged(after: $after) {\n      kind\n      cursor\n      teamId\n      team {\n        ...AdminTeamFields\n      }\n    }\n  }\n": typeof types.AdminTeamChangedDocument,
    "\n  mutation SetTeamByoc($input: SetTeamByocInput!) {\n    setTeamByoc(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.SetTeamByocDocument,
    "\n  query Users($search: String, $first: Int!, $after: String) {\n    users(search: $search, first: $first, after: $after) {\n      edges {\n        node {\n          id\n          name\n          email\n          isAdmin\n          createdAt\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      totalCount\n    }\n  }\n": typeof types.UsersDocument,
    "\n  mutation SetPlatformAdmin($input: SetPlatformAdminInput!) {\n    setPlatformAdmin(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.SetPlatformAdminDocument,
    "\n  fragment ApiKeyFields on ApiKey {\n    id\n    name\n    prefix\n    scopes\n    createdAt\n    expiresAt\n    lastUsedAt\n    lastUsedAddress\n    createdBy {\n      id\n      name\n      email\n    }\n  }\n": typeof types.ApiKeyFieldsFragmentDoc,
    "\n  query ApiKeys($teamId: ID!) {\n    team(id: $teamId) {\n      id\n      apiKeys {\n        ...ApiKeyFields\n      }\n    }\n  }\n": typeof types.ApiKeysDocument,
    "\n  mutation CreateApiKey($input: CreateApiKeyInput!) {\n    createApiKey(input: $input) {\n      __typename\n      ... on ApiKeyCreated {\n        apiKey {\n          ...ApiKeyFields\n        }\n        secret\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": typeof types.CreateApiKeyDocument,
    "\n  mutation RevokeApiKey($input: RevokeApiKeyInput!) {\n    revokeApiKey(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.RevokeApiKeyDocument,
    "\n  fragment AuditFields on AuditEvent {\n    id\n    at\n    action\n    actorKind\n    actorId\n    actorLabel\n    resourceType\n    resourceId\n    team {\n      id\n      name\n    }\n    outcome\n    code\n    detail\n    address\n    userAgent\n  }\n": typeof types.AuditFieldsFragmentDoc,
    "\n  query AuditEvents($first: Int!, $after: String, $filter: AuditFilter) {\n    auditEvents(first: $first, after: $after, filter: $filter) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n": typeof types.AuditEventsDocument,
    "\n  subscription AuditEventAdded($after: String, $filter: AuditFilter) {\n    auditEventAdded(after: $after, filter: $filter) {\n      kind\n      cursor\n      auditEvent {\n        ...AuditFields\n      }\n    }\n  }\n": typeof types.AuditEventAddedDocument,
    "\n  fragment HealthFields on FleetHealth {\n    state\n    reason\n    since\n    checkedAt\n    heardHosts\n    silentHosts\n    lostHosts\n    unreachableHosts\n  }\n": typeof types.HealthFieldsFragmentDoc,
    "\n  query FleetHealth {\n    fleetHealth {\n      ...HealthFields\n    }\n  }\n": typeof types.FleetHealthDocument,
    "\n  subscription FleetHealthChanged($after: String) {\n    fleetHealthChanged(after: $after) {\n      cursor\n      fleetHealth {\n        ...HealthFields\n      }\n    }\n  }\n": typeof types.FleetHealthChangedDocument,
    "\n  query FleetReport {\n    fleetHealth {\n      ...HealthFields\n      orphans\n      replicas {\n        id\n        startedAt\n        seenAt\n        isLeader\n        loops {\n          name\n          description\n          periodMs\n          standsBy\n          runs\n          lastRunAt\n          lastDurationMs\n          lastCount\n          lastError\n        }\n      }\n    }\n  }\n": typeof types.FleetReportDocument,
    "\n  fragment HostFields on Host {\n    __typename\n    id\n    revision\n    createdAt\n    name\n    kind\n    status\n    schedulable\n    conditions {\n      type\n      message\n      blocksPlacement\n    }\n    team {\n      id\n    }\n    teamName\n    provider\n    availabilityZone\n    labels {\n      key\n      value\n    }\n    arch\n    cpuCores\n    memoryMb\n    diskGb\n    allocated {\n      sandboxes\n      vcpus\n      memoryMb\n      diskMb\n    }\n    used {\n      load1\n      memoryUsedMb\n      diskUsedMb\n    }\n    agentVersion\n    runtime {\n      name\n      version\n    }\n    lastHeartbeatAt\n    registeredAt\n    createsFailing {\n      since\n    }\n    drain {\n      state\n      policy\n      total\n      done\n      failed\n      deadlineAt\n      finishedAt\n    }\n  }\n": typeof types.HostFieldsFragmentDoc,
    "\n  query Hosts($after: String) {\n    hosts(first: 200, after: $after) {\n      edges {\n        node {\n          ...HostFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n": typeof types.HostsDocument,
    "\n  subscription HostChanged($after: String) {\n    hostChanged(after: $after) {\n      kind\n      cursor\n      hostId\n      host {\n        ...HostFields\n      }\n    }\n  }\n": typeof types.HostChangedDocument,
    "\n  mutation CreateHost($input: CreateHostInput!) {\n    createHost(input: $input) {\n      __typename\n      ... on HostCreated {\n        host {\n          id\n          name\n        }\n        registrationToken\n        registrationTokenExpiresAt\n        joinCommand\n        warnings {\n          code\n          message\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": typeof types.CreateHostDocument,
    "\n  query HostCredentials($id: ID!) {\n    host(id: $id) {\n      id\n      credentials {\n        state\n        quarantineCause\n        quarantinedAt\n        holders {\n          address\n          bootId\n          machineId\n          seenAt\n        }\n      }\n    }\n  }\n": typeof types.HostCredentialsDocument,
    "\n  mutation RegenerateHostToken($input: RegenerateHostTokenInput!) {\n    regenerateHostToken(input: $input) {\n      __typename\n      ... on HostTokenRegenerated {\n        host {\n          id\n          name\n        }\n        registrationToken\n        registrationTokenExpiresAt\n        joinCommand\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.RegenerateHostTokenDocument,
    "\n  mutation CordonHost($input: CordonHostInput!) {\n    cordonHost(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.CordonHostDocument,
    "\n  mutation UncordonHost($input: UncordonHostInput!) {\n    uncordonHost(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.UncordonHostDocument,
    "\n  mutation DrainHost($input: DrainHostInput!) {\n    drainHost(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.DrainHostDocument,
    "\n  query HostDeletionPreview($id: ID!) {\n    host(id: $id) {\n      id\n      deletionPreview {\n        affectedSandboxes {\n          id\n          name\n          status\n        }\n        previewDigest\n      }\n    }\n  }\n": typeof types.HostDeletionPreviewDocument,
    "\n  mutation DeleteHost($input: DeleteHostInput!) {\n    deleteHost(input: $input) {\n      __typename\n      ... on HostDeleted {\n        hostId\n        destroyedSandboxes {\n          id\n        }\n      }\n      ... on HostHasSandboxes {\n        message\n        affectedSandboxes {\n          id\n          name\n          status\n        }\n        previewDigest\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.DeleteHostDocument,
    "\n  query HostReadings($ids: [ID!]!) {\n    nodes(ids: $ids) {\n      __typename\n      ... on Host {\n        ...HostFields\n      }\n    }\n  }\n": typeof types.HostReadingsDocument,
    "\n  query Invitation($token: String!) {\n    invitation(token: $token) {\n      teamName\n      email\n      role\n      expiresAt\n      invitedBy\n    }\n  }\n": typeof types.InvitationDocument,
    "\n  mutation AcceptInvitation($input: AcceptInvitationInput!) {\n    acceptInvitation(input: $input) {\n      __typename\n      ... on InvitationAccepted {\n        team {\n          id\n          name\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": typeof types.AcceptInvitationDocument,
    "\n  fragment SandboxFields on Sandbox {\n    __typename\n    id\n    revision\n    createdAt\n    name\n    status\n    statusReason\n    statusBeforeMissing\n    missingSince\n    pauseCause\n    host {\n      id\n      name\n    }\n    team {\n      id\n      name\n    }\n    template\n    vcpus\n    memoryMb\n    diskMb\n    timeoutSeconds\n    labels {\n      key\n      value\n    }\n    startedAt\n    lastActiveAt\n  }\n": typeof types.SandboxFieldsFragmentDoc,
    "\n  query Sandboxes($after: String) {\n    sandboxes(first: 200, after: $after) {\n      edges {\n        node {\n          ...SandboxFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n": typeof types.SandboxesDocument,
    "\n  subscription SandboxChanged($after: String) {\n    sandboxChanged(after: $after) {\n      kind\n      cursor\n      sandboxId\n      sandbox {\n        ...SandboxFields\n      }\n    }\n  }\n": typeof types.SandboxChangedDocument,
    "\n  query SandboxPlacement($id: ID!) {\n    sandbox(id: $id) {\n      id\n      placement {\n        strategy\n        candidates\n        considered\n        sampled\n        rejections {\n          filter\n          hosts\n        }\n        failedAttempts {\n          host {\n            id\n            name\n          }\n          error\n        }\n      }\n    }\n  }\n": typeof types.SandboxPlacementDocument,
    "\n  mutation CreateSandbox($input: CreateSandboxInput!) {\n    createSandbox(input: $input) {\n      __typename\n      ... on SandboxCreated {\n        sandbox {\n          id\n          name\n        }\n      }\n      ... on NoHostFits {\n        message\n        candidates\n        never\n        rejections {\n          filter\n          hosts\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": typeof types.CreateSandboxDocument,
    "\n  mutation PauseSandbox($input: PauseSandboxInput!) {\n    pauseSandbox(input: $input) {\n      __typename\n      ... on SandboxPaused {\n        sandbox {\n          id\n          status\n        }\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.PauseSandboxDocument,
    "\n  mutation ResumeSandbox($input: ResumeSandboxInput!) {\n    resumeSandbox(input: $input) {\n      __typename\n      ... on SandboxResumed {\n        sandbox {\n          id\n          status\n        }\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.ResumeSandboxDocument,
    "\n  mutation DestroySandbox($input: DestroySandboxInput!) {\n    destroySandbox(input: $input) {\n      __typename\n      ... on SandboxDestroyed {\n        sandbox {\n          id\n          name\n          status\n        }\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.DestroySandboxDocument,
    "\n  subscription SandboxExec($input: SandboxExecInput!) {\n    sandboxExec(input: $input) {\n      __typename\n      ... on ExecOutputChunk {\n        stream\n        data\n      }\n      ... on ExecExited {\n        exitCode\n        signal\n        timedOut\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.SandboxExecDocument,
    "\n  query Viewer {\n    viewer {\n      user {\n        id\n        email\n        name\n      }\n      isAdmin\n      memberships {\n        role\n        team {\n          id\n          name\n          isByoc\n        }\n      }\n      invitations {\n        id\n        teamName\n        role\n        expiresAt\n      }\n    }\n  }\n": typeof types.ViewerDocument,
    "\n  query SignInMethods {\n    signInMethods {\n      password\n      oidc {\n        name\n      }\n    }\n  }\n": typeof types.SignInMethodsDocument,
    "\n  query TeamCursor {\n    teams(first: 1) {\n      eventCursor\n    }\n  }\n": typeof types.TeamCursorDocument,
    "\n  subscription TeamTouched($after: String) {\n    teamChanged(after: $after) {\n      kind\n      cursor\n      teamId\n    }\n  }\n": typeof types.TeamTouchedDocument,
    "\n  query Team($id: ID!) {\n    team(id: $id) {\n      id\n      name\n      isByoc\n      createdAt\n      members {\n        role\n        joinedAt\n        user {\n          id\n          name\n          email\n        }\n      }\n      invitations {\n        id\n        email\n        role\n        createdAt\n        expiresAt\n        invitedBy {\n          id\n          name\n        }\n      }\n    }\n  }\n": typeof types.TeamDocument,
    "\n  mutation CreateTeam($input: CreateTeamInput!) {\n    createTeam(input: $input) {\n      __typename\n      ... on TeamCreated {\n        team {\n          id\n          name\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": typeof types.CreateTeamDocument,
    "\n  mutation RenameTeam($input: RenameTeamInput!) {\n    renameTeam(input: $input) {\n      __typename\n      ... on TeamRenamed {\n        team {\n          id\n          name\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": typeof types.RenameTeamDocument,
    "\n  mutation AddTeamMember($input: AddTeamMemberInput!) {\n    addTeamMember(input: $input) {\n      __typename\n      ... on TeamMemberInvited {\n        invitation {\n          id\n          email\n          role\n          expiresAt\n        }\n        acceptPath\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": typeof types.AddTeamMemberDocument,
    "\n  mutation CancelInvitation($input: CancelInvitationInput!) {\n    cancelInvitation(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.CancelInvitationDocument,
    "\n  mutation UpdateTeamMemberRole($input: UpdateTeamMemberRoleInput!) {\n    updateTeamMemberRole(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.UpdateTeamMemberRoleDocument,
    "\n  mutation RemoveTeamMember($input: RemoveTeamMemberInput!) {\n    removeTeamMember(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.RemoveTeamMemberDocument,
    "\n  mutation LeaveTeam($input: LeaveTeamInput!) {\n    leaveTeam(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": typeof types.LeaveTeamDocument,
};
const documents: Documents = {
    "\n  query Sessions {\n    viewer {\n      sessions {\n        id\n        method\n        address\n        userAgent\n        createdAt\n        lastUsedAt\n        expiresAt\n        isCurrent\n      }\n    }\n  }\n": types.SessionsDocument,
    "\n  query OwnSecurityEvents($userId: ID!) {\n    signIns: auditEvents(first: 8, filter: { actorId: $userId, action: \"signIn\" }) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n    }\n    oidcSignIns: auditEvents(first: 8, filter: { actorId: $userId, action: \"completeOidcSignIn\" }) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n    }\n    passwordChanges: auditEvents(first: 8, filter: { actorId: $userId, action: \"changePassword\" }) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n    }\n  }\n": types.OwnSecurityEventsDocument,
    "\n  mutation ChangePassword($input: ChangePasswordInput!) {\n    changePassword(input: $input) {\n      __typename\n      ... on TooManyAttempts {\n        message\n        retryAfterSeconds\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": types.ChangePasswordDocument,
    "\n  mutation EndSession($input: EndSessionInput!) {\n    endSession(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.EndSessionDocument,
    "\n  fragment AdminTeamFields on Team {\n    id\n    name\n    isByoc\n    createdAt\n    members {\n      role\n      user {\n        id\n        email\n      }\n    }\n  }\n": types.AdminTeamFieldsFragmentDoc,
    "\n  query AdminTeams($after: String) {\n    teams(first: 200, after: $after) {\n      edges {\n        node {\n          ...AdminTeamFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n": types.AdminTeamsDocument,
    "\n  subscription AdminTeamChanged($after: String) {\n    teamChanged(after: $after) {\n      kind\n      cursor\n      teamId\n      team {\n        ...AdminTeamFields\n      }\n    }\n  }\n": types.AdminTeamChangedDocument,
    "\n  mutation SetTeamByoc($input: SetTeamByocInput!) {\n    setTeamByoc(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.SetTeamByocDocument,
    "\n  query Users($search: String, $first: Int!, $after: String) {\n    users(search: $search, first: $first, after: $after) {\n      edges {\n        node {\n          id\n          name\n          email\n          isAdmin\n          createdAt\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      totalCount\n    }\n  }\n": types.UsersDocument,
    "\n  mutation SetPlatformAdmin($input: SetPlatformAdminInput!) {\n    setPlatformAdmin(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.SetPlatformAdminDocument,
    "\n  fragment ApiKeyFields on ApiKey {\n    id\n    name\n    prefix\n    scopes\n    createdAt\n    expiresAt\n    lastUsedAt\n    lastUsedAddress\n    createdBy {\n      id\n      name\n      email\n    }\n  }\n": types.ApiKeyFieldsFragmentDoc,
    "\n  query ApiKeys($teamId: ID!) {\n    team(id: $teamId) {\n      id\n      apiKeys {\n        ...ApiKeyFields\n      }\n    }\n  }\n": types.ApiKeysDocument,
    "\n  mutation CreateApiKey($input: CreateApiKeyInput!) {\n    createApiKey(input: $input) {\n      __typename\n      ... on ApiKeyCreated {\n        apiKey {\n          ...ApiKeyFields\n        }\n        secret\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": types.CreateApiKeyDocument,
    "\n  mutation RevokeApiKey($input: RevokeApiKeyInput!) {\n    revokeApiKey(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.RevokeApiKeyDocument,
    "\n  fragment AuditFields on AuditEvent {\n    id\n    at\n    action\n    actorKind\n    actorId\n    actorLabel\n    resourceType\n    resourceId\n    team {\n      id\n      name\n    }\n    outcome\n    code\n    detail\n    address\n    userAgent\n  }\n": types.AuditFieldsFragmentDoc,
    "\n  query AuditEvents($first: Int!, $after: String, $filter: AuditFilter) {\n    auditEvents(first: $first, after: $after, filter: $filter) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n": types.AuditEventsDocument,
    "\n  subscription AuditEventAdded($after: String, $filter: AuditFilter) {\n    auditEventAdded(after: $after, filter: $filter) {\n      kind\n      cursor\n      auditEvent {\n        ...AuditFields\n      }\n    }\n  }\n": types.AuditEventAddedDocument,
    "\n  fragment HealthFields on FleetHealth {\n    state\n    reason\n    since\n    checkedAt\n    heardHosts\n    silentHosts\n    lostHosts\n    unreachableHosts\n  }\n": types.HealthFieldsFragmentDoc,
    "\n  query FleetHealth {\n    fleetHealth {\n      ...HealthFields\n    }\n  }\n": types.FleetHealthDocument,
    "\n  subscription FleetHealthChanged($after: String) {\n    fleetHealthChanged(after: $after) {\n      cursor\n      fleetHealth {\n        ...HealthFields\n      }\n    }\n  }\n": types.FleetHealthChangedDocument,
    "\n  query FleetReport {\n    fleetHealth {\n      ...HealthFields\n      orphans\n      replicas {\n        id\n        startedAt\n        seenAt\n        isLeader\n        loops {\n          name\n          description\n          periodMs\n          standsBy\n          runs\n          lastRunAt\n          lastDurationMs\n          lastCount\n          lastError\n        }\n      }\n    }\n  }\n": types.FleetReportDocument,
    "\n  fragment HostFields on Host {\n    __typename\n    id\n    revision\n    createdAt\n    name\n    kind\n    status\n    schedulable\n    conditions {\n      type\n      message\n      blocksPlacement\n    }\n    team {\n      id\n    }\n    teamName\n    provider\n    availabilityZone\n    labels {\n      key\n      value\n    }\n    arch\n    cpuCores\n    memoryMb\n    diskGb\n    allocated {\n      sandboxes\n      vcpus\n      memoryMb\n      diskMb\n    }\n    used {\n      load1\n      memoryUsedMb\n      diskUsedMb\n    }\n    agentVersion\n    runtime {\n      name\n      version\n    }\n    lastHeartbeatAt\n    registeredAt\n    createsFailing {\n      since\n    }\n    drain {\n      state\n      policy\n      total\n      done\n      failed\n      deadlineAt\n      finishedAt\n    }\n  }\n": types.HostFieldsFragmentDoc,
    "\n  query Hosts($after: String) {\n    hosts(first: 200, after: $after) {\n      edges {\n        node {\n          ...HostFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n": types.HostsDocument,
    "\n  subscription HostChanged($after: String) {\n    hostChanged(after: $after) {\n      kind\n      cursor\n      hostId\n      host {\n        ...HostFields\n      }\n    }\n  }\n": types.HostChangedDocument,
    "\n  mutation CreateHost($input: CreateHostInput!) {\n    createHost(input: $input) {\n      __typename\n      ... on HostCreated {\n        host {\n          id\n          name\n        }\n        registrationToken\n        registrationTokenExpiresAt\n        joinCommand\n        warnings {\n          code\n          message\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": types.CreateHostDocument,
    "\n  query HostCredentials($id: ID!) {\n    host(id: $id) {\n      id\n      credentials {\n        state\n        quarantineCause\n        quarantinedAt\n        holders {\n          address\n          bootId\n          machineId\n          seenAt\n        }\n      }\n    }\n  }\n": types.HostCredentialsDocument,
    "\n  mutation RegenerateHostToken($input: RegenerateHostTokenInput!) {\n    regenerateHostToken(input: $input) {\n      __typename\n      ... on HostTokenRegenerated {\n        host {\n          id\n          name\n        }\n        registrationToken\n        registrationTokenExpiresAt\n        joinCommand\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.RegenerateHostTokenDocument,
    "\n  mutation CordonHost($input: CordonHostInput!) {\n    cordonHost(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.CordonHostDocument,
    "\n  mutation UncordonHost($input: UncordonHostInput!) {\n    uncordonHost(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.UncordonHostDocument,
    "\n  mutation DrainHost($input: DrainHostInput!) {\n    drainHost(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.DrainHostDocument,
    "\n  query HostDeletionPreview($id: ID!) {\n    host(id: $id) {\n      id\n      deletionPreview {\n        affectedSandboxes {\n          id\n          name\n          status\n        }\n        previewDigest\n      }\n    }\n  }\n": types.HostDeletionPreviewDocument,
    "\n  mutation DeleteHost($input: DeleteHostInput!) {\n    deleteHost(input: $input) {\n      __typename\n      ... on HostDeleted {\n        hostId\n        destroyedSandboxes {\n          id\n        }\n      }\n      ... on HostHasSandboxes {\n        message\n        affectedSandboxes {\n          id\n          name\n          status\n        }\n        previewDigest\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.DeleteHostDocument,
    "\n  query HostReadings($ids: [ID!]!) {\n    nodes(ids: $ids) {\n      __typename\n      ... on Host {\n        ...HostFields\n      }\n    }\n  }\n": types.HostReadingsDocument,
    "\n  query Invitation($token: String!) {\n    invitation(token: $token) {\n      teamName\n      email\n      role\n      expiresAt\n      invitedBy\n    }\n  }\n": types.InvitationDocument,
    "\n  mutation AcceptInvitation($input: AcceptInvitationInput!) {\n    acceptInvitation(input: $input) {\n      __typename\n      ... on InvitationAccepted {\n        team {\n          id\n          name\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": types.AcceptInvitationDocument,
    "\n  fragment SandboxFields on Sandbox {\n    __typename\n    id\n    revision\n    createdAt\n    name\n    status\n    statusReason\n    statusBeforeMissing\n    missingSince\n    pauseCause\n    host {\n      id\n      name\n    }\n    team {\n      id\n      name\n    }\n    template\n    vcpus\n    memoryMb\n    diskMb\n    timeoutSeconds\n    labels {\n      key\n      value\n    }\n    startedAt\n    lastActiveAt\n  }\n": types.SandboxFieldsFragmentDoc,
    "\n  query Sandboxes($after: String) {\n    sandboxes(first: 200, after: $after) {\n      edges {\n        node {\n          ...SandboxFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n": types.SandboxesDocument,
    "\n  subscription SandboxChanged($after: String) {\n    sandboxChanged(after: $after) {\n      kind\n      cursor\n      sandboxId\n      sandbox {\n        ...SandboxFields\n      }\n    }\n  }\n": types.SandboxChangedDocument,
    "\n  query SandboxPlacement($id: ID!) {\n    sandbox(id: $id) {\n      id\n      placement {\n        strategy\n        candidates\n        considered\n        sampled\n        rejections {\n          filter\n          hosts\n        }\n        failedAttempts {\n          host {\n            id\n            name\n          }\n          error\n        }\n      }\n    }\n  }\n": types.SandboxPlacementDocument,
    "\n  mutation CreateSandbox($input: CreateSandboxInput!) {\n    createSandbox(input: $input) {\n      __typename\n      ... on SandboxCreated {\n        sandbox {\n          id\n          name\n        }\n      }\n      ... on NoHostFits {\n        message\n        candidates\n        never\n        rejections {\n          filter\n          hosts\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": types.CreateSandboxDocument,
    "\n  mutation PauseSandbox($input: PauseSandboxInput!) {\n    pauseSandbox(input: $input) {\n      __typename\n      ... on SandboxPaused {\n        sandbox {\n          id\n          status\n        }\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.PauseSandboxDocument,
    "\n  mutation ResumeSandbox($input: ResumeSandboxInput!) {\n    resumeSandbox(input: $input) {\n      __typename\n      ... on SandboxResumed {\n        sandbox {\n          id\n          status\n        }\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.ResumeSandboxDocument,
    "\n  mutation DestroySandbox($input: DestroySandboxInput!) {\n    destroySandbox(input: $input) {\n      __typename\n      ... on SandboxDestroyed {\n        sandbox {\n          id\n          name\n          status\n        }\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.DestroySandboxDocument,
    "\n  subscription SandboxExec($input: SandboxExecInput!) {\n    sandboxExec(input: $input) {\n      __typename\n      ... on ExecOutputChunk {\n        stream\n        data\n      }\n      ... on ExecExited {\n        exitCode\n        signal\n        timedOut\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.SandboxExecDocument,
    "\n  query Viewer {\n    viewer {\n      user {\n        id\n        email\n        name\n      }\n      isAdmin\n      memberships {\n        role\n        team {\n          id\n          name\n          isByoc\n        }\n      }\n      invitations {\n        id\n        teamName\n        role\n        expiresAt\n      }\n    }\n  }\n": types.ViewerDocument,
    "\n  query SignInMethods {\n    signInMethods {\n      password\n      oidc {\n        name\n      }\n    }\n  }\n": types.SignInMethodsDocument,
    "\n  query TeamCursor {\n    teams(first: 1) {\n      eventCursor\n    }\n  }\n": types.TeamCursorDocument,
    "\n  subscription TeamTouched($after: String) {\n    teamChanged(after: $after) {\n      kind\n      cursor\n      teamId\n    }\n  }\n": types.TeamTouchedDocument,
    "\n  query Team($id: ID!) {\n    team(id: $id) {\n      id\n      name\n      isByoc\n      createdAt\n      members {\n        role\n        joinedAt\n        user {\n          id\n          name\n          email\n        }\n      }\n      invitations {\n        id\n        email\n        role\n        createdAt\n        expiresAt\n        invitedBy {\n          id\n          name\n        }\n      }\n    }\n  }\n": types.TeamDocument,
    "\n  mutation CreateTeam($input: CreateTeamInput!) {\n    createTeam(input: $input) {\n      __typename\n      ... on TeamCreated {\n        team {\n          id\n          name\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": types.CreateTeamDocument,
    "\n  mutation RenameTeam($input: RenameTeamInput!) {\n    renameTeam(input: $input) {\n      __typename\n      ... on TeamRenamed {\n        team {\n          id\n          name\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": types.RenameTeamDocument,
    "\n  mutation AddTeamMember($input: AddTeamMemberInput!) {\n    addTeamMember(input: $input) {\n      __typename\n      ... on TeamMemberInvited {\n        invitation {\n          id\n          email\n          role\n          expiresAt\n        }\n        acceptPath\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n": types.AddTeamMemberDocument,
    "\n  mutation CancelInvitation($input: CancelInvitationInput!) {\n    cancelInvitation(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.CancelInvitationDocument,
    "\n  mutation UpdateTeamMemberRole($input: UpdateTeamMemberRoleInput!) {\n    updateTeamMemberRole(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.UpdateTeamMemberRoleDocument,
    "\n  mutation RemoveTeamMember($input: RemoveTeamMemberInput!) {\n    removeTeamMember(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.RemoveTeamMemberDocument,
    "\n  mutation LeaveTeam($input: LeaveTeamInput!) {\n    leaveTeam(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n": types.LeaveTeamDocument,
};

/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 *
 *
 * @example
 * ```ts
 * const query = graphql(`query GetUser($id: ID!) { user(id: $id) { name } }`);
 * ```
 *
 * The query argument is unknown!
 * Please regenerate the types.
 */
export function graphql(source: string): unknown;

/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Sessions {\n    viewer {\n      sessions {\n        id\n        method\n        address\n        userAgent\n        createdAt\n        lastUsedAt\n        expiresAt\n        isCurrent\n      }\n    }\n  }\n"): (typeof documents)["\n  query Sessions {\n    viewer {\n      sessions {\n        id\n        method\n        address\n        userAgent\n        createdAt\n        lastUsedAt\n        expiresAt\n        isCurrent\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query OwnSecurityEvents($userId: ID!) {\n    signIns: auditEvents(first: 8, filter: { actorId: $userId, action: \"signIn\" }) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n    }\n    oidcSignIns: auditEvents(first: 8, filter: { actorId: $userId, action: \"completeOidcSignIn\" }) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n    }\n    passwordChanges: auditEvents(first: 8, filter: { actorId: $userId, action: \"changePassword\" }) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n    }\n  }\n"): (typeof documents)["\n  query OwnSecurityEvents($userId: ID!) {\n    signIns: auditEvents(first: 8, filter: { actorId: $userId, action: \"signIn\" }) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n    }\n    oidcSignIns: auditEvents(first: 8, filter: { actorId: $userId, action: \"completeOidcSignIn\" }) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n    }\n    passwordChanges: auditEvents(first: 8, filter: { actorId: $userId, action: \"changePassword\" }) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation ChangePassword($input: ChangePasswordInput!) {\n    changePassword(input: $input) {\n      __typename\n      ... on TooManyAttempts {\n        message\n        retryAfterSeconds\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation ChangePassword($input: ChangePasswordInput!) {\n    changePassword(input: $input) {\n      __typename\n      ... on TooManyAttempts {\n        message\n        retryAfterSeconds\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation EndSession($input: EndSessionInput!) {\n    endSession(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation EndSession($input: EndSessionInput!) {\n    endSession(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  fragment AdminTeamFields on Team {\n    id\n    name\n    isByoc\n    createdAt\n    members {\n      role\n      user {\n        id\n        email\n      }\n    }\n  }\n"): (typeof documents)["\n  fragment AdminTeamFields on Team {\n    id\n    name\n    isByoc\n    createdAt\n    members {\n      role\n      user {\n        id\n        email\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query AdminTeams($after: String) {\n    teams(first: 200, after: $after) {\n      edges {\n        node {\n          ...AdminTeamFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n"): (typeof documents)["\n  query AdminTeams($after: String) {\n    teams(first: 200, after: $after) {\n      edges {\n        node {\n          ...AdminTeamFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  subscription AdminTeamChanged($after: String) {\n    teamChanged(after: $after) {\n      kind\n      cursor\n      teamId\n      team {\n        ...AdminTeamFields\n      }\n    }\n  }\n"): (typeof documents)["\n  subscription AdminTeamChanged($after: String) {\n    teamChanged(after: $after) {\n      kind\n      cursor\n      teamId\n      team {\n        ...AdminTeamFields\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation SetTeamByoc($input: SetTeamByocInput!) {\n    setTeamByoc(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation SetTeamByoc($input: SetTeamByocInput!) {\n    setTeamByoc(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Users($search: String, $first: Int!, $after: String) {\n    users(search: $search, first: $first, after: $after) {\n      edges {\n        node {\n          id\n          name\n          email\n          isAdmin\n          createdAt\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      totalCount\n    }\n  }\n"): (typeof documents)["\n  query Users($search: String, $first: Int!, $after: String) {\n    users(search: $search, first: $first, after: $after) {\n      edges {\n        node {\n          id\n          name\n          email\n          isAdmin\n          createdAt\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      totalCount\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation SetPlatformAdmin($input: SetPlatformAdminInput!) {\n    setPlatformAdmin(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation SetPlatformAdmin($input: SetPlatformAdminInput!) {\n    setPlatformAdmin(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  fragment ApiKeyFields on ApiKey {\n    id\n    name\n    prefix\n    scopes\n    createdAt\n    expiresAt\n    lastUsedAt\n    lastUsedAddress\n    createdBy {\n      id\n      name\n      email\n    }\n  }\n"): (typeof documents)["\n  fragment ApiKeyFields on ApiKey {\n    id\n    name\n    prefix\n    scopes\n    createdAt\n    expiresAt\n    lastUsedAt\n    lastUsedAddress\n    createdBy {\n      id\n      name\n      email\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query ApiKeys($teamId: ID!) {\n    team(id: $teamId) {\n      id\n      apiKeys {\n        ...ApiKeyFields\n      }\n    }\n  }\n"): (typeof documents)["\n  query ApiKeys($teamId: ID!) {\n    team(id: $teamId) {\n      id\n      apiKeys {\n        ...ApiKeyFields\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation CreateApiKey($input: CreateApiKeyInput!) {\n    createApiKey(input: $input) {\n      __typename\n      ... on ApiKeyCreated {\n        apiKey {\n          ...ApiKeyFields\n        }\n        secret\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation CreateApiKey($input: CreateApiKeyInput!) {\n    createApiKey(input: $input) {\n      __typename\n      ... on ApiKeyCreated {\n        apiKey {\n          ...ApiKeyFields\n        }\n        secret\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation RevokeApiKey($input: RevokeApiKeyInput!) {\n    revokeApiKey(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation RevokeApiKey($input: RevokeApiKeyInput!) {\n    revokeApiKey(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  fragment AuditFields on AuditEvent {\n    id\n    at\n    action\n    actorKind\n    actorId\n    actorLabel\n    resourceType\n    resourceId\n    team {\n      id\n      name\n    }\n    outcome\n    code\n    detail\n    address\n    userAgent\n  }\n"): (typeof documents)["\n  fragment AuditFields on AuditEvent {\n    id\n    at\n    action\n    actorKind\n    actorId\n    actorLabel\n    resourceType\n    resourceId\n    team {\n      id\n      name\n    }\n    outcome\n    code\n    detail\n    address\n    userAgent\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query AuditEvents($first: Int!, $after: String, $filter: AuditFilter) {\n    auditEvents(first: $first, after: $after, filter: $filter) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n"): (typeof documents)["\n  query AuditEvents($first: Int!, $after: String, $filter: AuditFilter) {\n    auditEvents(first: $first, after: $after, filter: $filter) {\n      edges {\n        node {\n          ...AuditFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  subscription AuditEventAdded($after: String, $filter: AuditFilter) {\n    auditEventAdded(after: $after, filter: $filter) {\n      kind\n      cursor\n      auditEvent {\n        ...AuditFields\n      }\n    }\n  }\n"): (typeof documents)["\n  subscription AuditEventAdded($after: String, $filter: AuditFilter) {\n    auditEventAdded(after: $after, filter: $filter) {\n      kind\n      cursor\n      auditEvent {\n        ...AuditFields\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  fragment HealthFields on FleetHealth {\n    state\n    reason\n    since\n    checkedAt\n    heardHosts\n    silentHosts\n    lostHosts\n    unreachableHosts\n  }\n"): (typeof documents)["\n  fragment HealthFields on FleetHealth {\n    state\n    reason\n    since\n    checkedAt\n    heardHosts\n    silentHosts\n    lostHosts\n    unreachableHosts\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query FleetHealth {\n    fleetHealth {\n      ...HealthFields\n    }\n  }\n"): (typeof documents)["\n  query FleetHealth {\n    fleetHealth {\n      ...HealthFields\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  subscription FleetHealthChanged($after: String) {\n    fleetHealthChanged(after: $after) {\n      cursor\n      fleetHealth {\n        ...HealthFields\n      }\n    }\n  }\n"): (typeof documents)["\n  subscription FleetHealthChanged($after: String) {\n    fleetHealthChanged(after: $after) {\n      cursor\n      fleetHealth {\n        ...HealthFields\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query FleetReport {\n    fleetHealth {\n      ...HealthFields\n      orphans\n      replicas {\n        id\n        startedAt\n        seenAt\n        isLeader\n        loops {\n          name\n          description\n          periodMs\n          standsBy\n          runs\n          lastRunAt\n          lastDurationMs\n          lastCount\n          lastError\n        }\n      }\n    }\n  }\n"): (typeof documents)["\n  query FleetReport {\n    fleetHealth {\n      ...HealthFields\n      orphans\n      replicas {\n        id\n        startedAt\n        seenAt\n        isLeader\n        loops {\n          name\n          description\n          periodMs\n          standsBy\n          runs\n          lastRunAt\n          lastDurationMs\n          lastCount\n          lastError\n        }\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  fragment HostFields on Host {\n    __typename\n    id\n    revision\n    createdAt\n    name\n    kind\n    status\n    schedulable\n    conditions {\n      type\n      message\n      blocksPlacement\n    }\n    team {\n      id\n    }\n    teamName\n    provider\n    availabilityZone\n    labels {\n      key\n      value\n    }\n    arch\n    cpuCores\n    memoryMb\n    diskGb\n    allocated {\n      sandboxes\n      vcpus\n      memoryMb\n      diskMb\n    }\n    used {\n      load1\n      memoryUsedMb\n      diskUsedMb\n    }\n    agentVersion\n    runtime {\n      name\n      version\n    }\n    lastHeartbeatAt\n    registeredAt\n    createsFailing {\n      since\n    }\n    drain {\n      state\n      policy\n      total\n      done\n      failed\n      deadlineAt\n      finishedAt\n    }\n  }\n"): (typeof documents)["\n  fragment HostFields on Host {\n    __typename\n    id\n    revision\n    createdAt\n    name\n    kind\n    status\n    schedulable\n    conditions {\n      type\n      message\n      blocksPlacement\n    }\n    team {\n      id\n    }\n    teamName\n    provider\n    availabilityZone\n    labels {\n      key\n      value\n    }\n    arch\n    cpuCores\n    memoryMb\n    diskGb\n    allocated {\n      sandboxes\n      vcpus\n      memoryMb\n      diskMb\n    }\n    used {\n      load1\n      memoryUsedMb\n      diskUsedMb\n    }\n    agentVersion\n    runtime {\n      name\n      version\n    }\n    lastHeartbeatAt\n    registeredAt\n    createsFailing {\n      since\n    }\n    drain {\n      state\n      policy\n      total\n      done\n      failed\n      deadlineAt\n      finishedAt\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Hosts($after: String) {\n    hosts(first: 200, after: $after) {\n      edges {\n        node {\n          ...HostFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n"): (typeof documents)["\n  query Hosts($after: String) {\n    hosts(first: 200, after: $after) {\n      edges {\n        node {\n          ...HostFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  subscription HostChanged($after: String) {\n    hostChanged(after: $after) {\n      kind\n      cursor\n      hostId\n      host {\n        ...HostFields\n      }\n    }\n  }\n"): (typeof documents)["\n  subscription HostChanged($after: String) {\n    hostChanged(after: $after) {\n      kind\n      cursor\n      hostId\n      host {\n        ...HostFields\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation CreateHost($input: CreateHostInput!) {\n    createHost(input: $input) {\n      __typename\n      ... on HostCreated {\n        host {\n          id\n          name\n        }\n        registrationToken\n        registrationTokenExpiresAt\n        joinCommand\n        warnings {\n          code\n          message\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation CreateHost($input: CreateHostInput!) {\n    createHost(input: $input) {\n      __typename\n      ... on HostCreated {\n        host {\n          id\n          name\n        }\n        registrationToken\n        registrationTokenExpiresAt\n        joinCommand\n        warnings {\n          code\n          message\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query HostCredentials($id: ID!) {\n    host(id: $id) {\n      id\n      credentials {\n        state\n        quarantineCause\n        quarantinedAt\n        holders {\n          address\n          bootId\n          machineId\n          seenAt\n        }\n      }\n    }\n  }\n"): (typeof documents)["\n  query HostCredentials($id: ID!) {\n    host(id: $id) {\n      id\n      credentials {\n        state\n        quarantineCause\n        quarantinedAt\n        holders {\n          address\n          bootId\n          machineId\n          seenAt\n        }\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation RegenerateHostToken($input: RegenerateHostTokenInput!) {\n    regenerateHostToken(input: $input) {\n      __typename\n      ... on HostTokenRegenerated {\n        host {\n          id\n          name\n        }\n        registrationToken\n        registrationTokenExpiresAt\n        joinCommand\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation RegenerateHostToken($input: RegenerateHostTokenInput!) {\n    regenerateHostToken(input: $input) {\n      __typename\n      ... on HostTokenRegenerated {\n        host {\n          id\n          name\n        }\n        registrationToken\n        registrationTokenExpiresAt\n        joinCommand\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation CordonHost($input: CordonHostInput!) {\n    cordonHost(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation CordonHost($input: CordonHostInput!) {\n    cordonHost(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation UncordonHost($input: UncordonHostInput!) {\n    uncordonHost(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation UncordonHost($input: UncordonHostInput!) {\n    uncordonHost(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation DrainHost($input: DrainHostInput!) {\n    drainHost(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation DrainHost($input: DrainHostInput!) {\n    drainHost(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query HostDeletionPreview($id: ID!) {\n    host(id: $id) {\n      id\n      deletionPreview {\n        affectedSandboxes {\n          id\n          name\n          status\n        }\n        previewDigest\n      }\n    }\n  }\n"): (typeof documents)["\n  query HostDeletionPreview($id: ID!) {\n    host(id: $id) {\n      id\n      deletionPreview {\n        affectedSandboxes {\n          id\n          name\n          status\n        }\n        previewDigest\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation DeleteHost($input: DeleteHostInput!) {\n    deleteHost(input: $input) {\n      __typename\n      ... on HostDeleted {\n        hostId\n        destroyedSandboxes {\n          id\n        }\n      }\n      ... on HostHasSandboxes {\n        message\n        affectedSandboxes {\n          id\n          name\n          status\n        }\n        previewDigest\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation DeleteHost($input: DeleteHostInput!) {\n    deleteHost(input: $input) {\n      __typename\n      ... on HostDeleted {\n        hostId\n        destroyedSandboxes {\n          id\n        }\n      }\n      ... on HostHasSandboxes {\n        message\n        affectedSandboxes {\n          id\n          name\n          status\n        }\n        previewDigest\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query HostReadings($ids: [ID!]!) {\n    nodes(ids: $ids) {\n      __typename\n      ... on Host {\n        ...HostFields\n      }\n    }\n  }\n"): (typeof documents)["\n  query HostReadings($ids: [ID!]!) {\n    nodes(ids: $ids) {\n      __typename\n      ... on Host {\n        ...HostFields\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Invitation($token: String!) {\n    invitation(token: $token) {\n      teamName\n      email\n      role\n      expiresAt\n      invitedBy\n    }\n  }\n"): (typeof documents)["\n  query Invitation($token: String!) {\n    invitation(token: $token) {\n      teamName\n      email\n      role\n      expiresAt\n      invitedBy\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation AcceptInvitation($input: AcceptInvitationInput!) {\n    acceptInvitation(input: $input) {\n      __typename\n      ... on InvitationAccepted {\n        team {\n          id\n          name\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation AcceptInvitation($input: AcceptInvitationInput!) {\n    acceptInvitation(input: $input) {\n      __typename\n      ... on InvitationAccepted {\n        team {\n          id\n          name\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  fragment SandboxFields on Sandbox {\n    __typename\n    id\n    revision\n    createdAt\n    name\n    status\n    statusReason\n    statusBeforeMissing\n    missingSince\n    pauseCause\n    host {\n      id\n      name\n    }\n    team {\n      id\n      name\n    }\n    template\n    vcpus\n    memoryMb\n    diskMb\n    timeoutSeconds\n    labels {\n      key\n      value\n    }\n    startedAt\n    lastActiveAt\n  }\n"): (typeof documents)["\n  fragment SandboxFields on Sandbox {\n    __typename\n    id\n    revision\n    createdAt\n    name\n    status\n    statusReason\n    statusBeforeMissing\n    missingSince\n    pauseCause\n    host {\n      id\n      name\n    }\n    team {\n      id\n      name\n    }\n    template\n    vcpus\n    memoryMb\n    diskMb\n    timeoutSeconds\n    labels {\n      key\n      value\n    }\n    startedAt\n    lastActiveAt\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Sandboxes($after: String) {\n    sandboxes(first: 200, after: $after) {\n      edges {\n        node {\n          ...SandboxFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n"): (typeof documents)["\n  query Sandboxes($after: String) {\n    sandboxes(first: 200, after: $after) {\n      edges {\n        node {\n          ...SandboxFields\n        }\n      }\n      pageInfo {\n        endCursor\n        hasNextPage\n      }\n      eventCursor\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  subscription SandboxChanged($after: String) {\n    sandboxChanged(after: $after) {\n      kind\n      cursor\n      sandboxId\n      sandbox {\n        ...SandboxFields\n      }\n    }\n  }\n"): (typeof documents)["\n  subscription SandboxChanged($after: String) {\n    sandboxChanged(after: $after) {\n      kind\n      cursor\n      sandboxId\n      sandbox {\n        ...SandboxFields\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query SandboxPlacement($id: ID!) {\n    sandbox(id: $id) {\n      id\n      placement {\n        strategy\n        candidates\n        considered\n        sampled\n        rejections {\n          filter\n          hosts\n        }\n        failedAttempts {\n          host {\n            id\n            name\n          }\n          error\n        }\n      }\n    }\n  }\n"): (typeof documents)["\n  query SandboxPlacement($id: ID!) {\n    sandbox(id: $id) {\n      id\n      placement {\n        strategy\n        candidates\n        considered\n        sampled\n        rejections {\n          filter\n          hosts\n        }\n        failedAttempts {\n          host {\n            id\n            name\n          }\n          error\n        }\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation CreateSandbox($input: CreateSandboxInput!) {\n    createSandbox(input: $input) {\n      __typename\n      ... on SandboxCreated {\n        sandbox {\n          id\n          name\n        }\n      }\n      ... on NoHostFits {\n        message\n        candidates\n        never\n        rejections {\n          filter\n          hosts\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation CreateSandbox($input: CreateSandboxInput!) {\n    createSandbox(input: $input) {\n      __typename\n      ... on SandboxCreated {\n        sandbox {\n          id\n          name\n        }\n      }\n      ... on NoHostFits {\n        message\n        candidates\n        never\n        rejections {\n          filter\n          hosts\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation PauseSandbox($input: PauseSandboxInput!) {\n    pauseSandbox(input: $input) {\n      __typename\n      ... on SandboxPaused {\n        sandbox {\n          id\n          status\n        }\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation PauseSandbox($input: PauseSandboxInput!) {\n    pauseSandbox(input: $input) {\n      __typename\n      ... on SandboxPaused {\n        sandbox {\n          id\n          status\n        }\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation ResumeSandbox($input: ResumeSandboxInput!) {\n    resumeSandbox(input: $input) {\n      __typename\n      ... on SandboxResumed {\n        sandbox {\n          id\n          status\n        }\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation ResumeSandbox($input: ResumeSandboxInput!) {\n    resumeSandbox(input: $input) {\n      __typename\n      ... on SandboxResumed {\n        sandbox {\n          id\n          status\n        }\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation DestroySandbox($input: DestroySandboxInput!) {\n    destroySandbox(input: $input) {\n      __typename\n      ... on SandboxDestroyed {\n        sandbox {\n          id\n          name\n          status\n        }\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation DestroySandbox($input: DestroySandboxInput!) {\n    destroySandbox(input: $input) {\n      __typename\n      ... on SandboxDestroyed {\n        sandbox {\n          id\n          name\n          status\n        }\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  subscription SandboxExec($input: SandboxExecInput!) {\n    sandboxExec(input: $input) {\n      __typename\n      ... on ExecOutputChunk {\n        stream\n        data\n      }\n      ... on ExecExited {\n        exitCode\n        signal\n        timedOut\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  subscription SandboxExec($input: SandboxExecInput!) {\n    sandboxExec(input: $input) {\n      __typename\n      ... on ExecOutputChunk {\n        stream\n        data\n      }\n      ... on ExecExited {\n        exitCode\n        signal\n        timedOut\n      }\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Viewer {\n    viewer {\n      user {\n        id\n        email\n        name\n      }\n      isAdmin\n      memberships {\n        role\n        team {\n          id\n          name\n          isByoc\n        }\n      }\n      invitations {\n        id\n        teamName\n        role\n        expiresAt\n      }\n    }\n  }\n"): (typeof documents)["\n  query Viewer {\n    viewer {\n      user {\n        id\n        email\n        name\n      }\n      isAdmin\n      memberships {\n        role\n        team {\n          id\n          name\n          isByoc\n        }\n      }\n      invitations {\n        id\n        teamName\n        role\n        expiresAt\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query SignInMethods {\n    signInMethods {\n      password\n      oidc {\n        name\n      }\n    }\n  }\n"): (typeof documents)["\n  query SignInMethods {\n    signInMethods {\n      password\n      oidc {\n        name\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query TeamCursor {\n    teams(first: 1) {\n      eventCursor\n    }\n  }\n"): (typeof documents)["\n  query TeamCursor {\n    teams(first: 1) {\n      eventCursor\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  subscription TeamTouched($after: String) {\n    teamChanged(after: $after) {\n      kind\n      cursor\n      teamId\n    }\n  }\n"): (typeof documents)["\n  subscription TeamTouched($after: String) {\n    teamChanged(after: $after) {\n      kind\n      cursor\n      teamId\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Team($id: ID!) {\n    team(id: $id) {\n      id\n      name\n      isByoc\n      createdAt\n      members {\n        role\n        joinedAt\n        user {\n          id\n          name\n          email\n        }\n      }\n      invitations {\n        id\n        email\n        role\n        createdAt\n        expiresAt\n        invitedBy {\n          id\n          name\n        }\n      }\n    }\n  }\n"): (typeof documents)["\n  query Team($id: ID!) {\n    team(id: $id) {\n      id\n      name\n      isByoc\n      createdAt\n      members {\n        role\n        joinedAt\n        user {\n          id\n          name\n          email\n        }\n      }\n      invitations {\n        id\n        email\n        role\n        createdAt\n        expiresAt\n        invitedBy {\n          id\n          name\n        }\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation CreateTeam($input: CreateTeamInput!) {\n    createTeam(input: $input) {\n      __typename\n      ... on TeamCreated {\n        team {\n          id\n          name\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation CreateTeam($input: CreateTeamInput!) {\n    createTeam(input: $input) {\n      __typename\n      ... on TeamCreated {\n        team {\n          id\n          name\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation RenameTeam($input: RenameTeamInput!) {\n    renameTeam(input: $input) {\n      __typename\n      ... on TeamRenamed {\n        team {\n          id\n          name\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation RenameTeam($input: RenameTeamInput!) {\n    renameTeam(input: $input) {\n      __typename\n      ... on TeamRenamed {\n        team {\n          id\n          name\n        }\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation AddTeamMember($input: AddTeamMemberInput!) {\n    addTeamMember(input: $input) {\n      __typename\n      ... on TeamMemberInvited {\n        invitation {\n          id\n          email\n          role\n          expiresAt\n        }\n        acceptPath\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation AddTeamMember($input: AddTeamMemberInput!) {\n    addTeamMember(input: $input) {\n      __typename\n      ... on TeamMemberInvited {\n        invitation {\n          id\n          email\n          role\n          expiresAt\n        }\n        acceptPath\n      }\n      ... on UserError {\n        message\n        path\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation CancelInvitation($input: CancelInvitationInput!) {\n    cancelInvitation(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation CancelInvitation($input: CancelInvitationInput!) {\n    cancelInvitation(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation UpdateTeamMemberRole($input: UpdateTeamMemberRoleInput!) {\n    updateTeamMemberRole(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation UpdateTeamMemberRole($input: UpdateTeamMemberRoleInput!) {\n    updateTeamMemberRole(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation RemoveTeamMember($input: RemoveTeamMemberInput!) {\n    removeTeamMember(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation RemoveTeamMember($input: RemoveTeamMemberInput!) {\n    removeTeamMember(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation LeaveTeam($input: LeaveTeamInput!) {\n    leaveTeam(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation LeaveTeam($input: LeaveTeamInput!) {\n    leaveTeam(input: $input) {\n      __typename\n      ... on UserError {\n        message\n      }\n    }\n  }\n"];

export function graphql(source: string) {
  return (documents as any)[source] ?? {};
}

export type DocumentType<TDocumentNode extends DocumentNode<any, any>> = TDocumentNode extends DocumentNode<  infer TType,  any>  ? TType  : never;