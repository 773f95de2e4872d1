import { graphql } from '#lib/gql/generated/gql.ts';

export const ViewerQuery = graphql(/* GraphQL */ `
  query Viewer {
    viewer {
      user {
        id
        email
        name
      }
      isAdmin
      memberships {
        role
        team {
          id
          name
          isByoc
        }
      }
      invitations {
        id
        teamName
        role
        expiresAt
      }
    }
  }
`);

export const SignInMethodsQuery = graphql(/* GraphQL */ `
  query SignInMethods {
    signInMethods {
      password
      oidc {
        name
      }
    }
  }
`);
