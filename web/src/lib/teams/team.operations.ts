import { graphql } from '#lib/gql/generated/gql.ts';

/** Where the teams' events are now. */
export const TeamCursorQuery = graphql(/* GraphQL */ `
  query TeamCursor {
    teams(first: 1) {
      eventCursor
    }
  }
`);

/** That a team has changed; what it is now is read by whoever shows it. */
export const TeamTouchedSubscription = graphql(/* GraphQL */ `
  subscription TeamTouched($after: String) {
    teamChanged(after: $after) {
      kind
      cursor
      teamId
    }
  }
`);

/** Everything the team's page shows. */
export const TeamQuery = graphql(/* GraphQL */ `
  query Team($id: ID!) {
    team(id: $id) {
      id
      name
      isByoc
      createdAt
      members {
        role
        joinedAt
        user {
          id
          name
          email
        }
      }
      invitations {
        id
        email
        role
        createdAt
        expiresAt
        invitedBy {
          id
          name
        }
      }
    }
  }
`);

export const CreateTeamMutation = graphql(/* GraphQL */ `
  mutation CreateTeam($input: CreateTeamInput!) {
    createTeam(input: $input) {
      __typename
      ... on TeamCreated {
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

export const RenameTeamMutation = graphql(/* GraphQL */ `
  mutation RenameTeam($input: RenameTeamInput!) {
    renameTeam(input: $input) {
      __typename
      ... on TeamRenamed {
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

export const AddTeamMemberMutation = graphql(/* GraphQL */ `
  mutation AddTeamMember($input: AddTeamMemberInput!) {
    addTeamMember(input: $input) {
      __typename
      ... on TeamMemberInvited {
        invitation {
          id
          email
          role
          expiresAt
        }
        acceptPath
      }
      ... on UserError {
        message
        path
      }
    }
  }
`);

export const CancelInvitationMutation = graphql(/* GraphQL */ `
  mutation CancelInvitation($input: CancelInvitationInput!) {
    cancelInvitation(input: $input) {
      __typename
      ... on UserError {
        message
      }
    }
  }
`);

export const UpdateTeamMemberRoleMutation = graphql(/* GraphQL */ `
  mutation UpdateTeamMemberRole($input: UpdateTeamMemberRoleInput!) {
    updateTeamMemberRole(input: $input) {
      __typename
      ... on UserError {
        message
      }
    }
  }
`);

export const RemoveTeamMemberMutation = graphql(/* GraphQL */ `
  mutation RemoveTeamMember($input: RemoveTeamMemberInput!) {
    removeTeamMember(input: $input) {
      __typename
      ... on UserError {
        message
      }
    }
  }
`);

export const LeaveTeamMutation = graphql(/* GraphQL */ `
  mutation LeaveTeam($input: LeaveTeamInput!) {
    leaveTeam(input: $input) {
      __typename
      ... on UserError {
        message
      }
    }
  }
`);
