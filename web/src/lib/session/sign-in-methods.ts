import { query } from '#lib/gql/client.ts';
import type { SignInMethodsQuery as SignInMethodsData } from '#lib/gql/generated/graphql.ts';
import { SignInMethodsQuery } from './session.operations.ts';

/** How people may sign in here: with a password, at an identity provider, or both. */
export type SignInMethods = SignInMethodsData['signInMethods'];

/** What the sign-in page offers. When it cannot be asked, the form is there, and says itself what is wrong. */
export async function readSignInMethods(): Promise<SignInMethods> {
  try {
    return (await query(SignInMethodsQuery, {})).signInMethods;
  } catch {
    return { password: true, oidc: null };
  }
}
