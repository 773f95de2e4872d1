import { parse, type DocumentNode, type FormattedExecutionResult } from 'graphql';
import type { Caller } from '@rookery/wire/caller.ts';
import type { Federation } from '../federation.ts';

/** What the gateway itself asks of the API on behalf of browsers, whose cookie no script may read. */

const SIGNED_IN = `refreshToken refreshTokenExpiresAt viewer { isAdmin user { id name email } }`;

const documents = {
  signIn: parse(`mutation SignIn($input: SignInInput!) {
    result: signIn(input: $input) {
      __typename
      ... on SignedIn { ${SIGNED_IN} }
      ... on TooManyAttempts { retryAfterSeconds }
      ... on UserError { message }
    }
  }`),
  acceptInvitation: parse(`mutation AcceptInvitation($input: AcceptInvitationInput!) {
    result: acceptInvitation(input: $input) {
      __typename
      ... on InvitationAccepted { team { id name } signedIn { ${SIGNED_IN} } }
      ... on TooManyAttempts { retryAfterSeconds }
      ... on UserError { message }
    }
  }`),
  startOidcSignIn: parse(`mutation StartOidcSignIn($input: StartOidcSignInInput!) {
    result: startOidcSignIn(input: $input) {
      __typename
      ... on OidcSignInStarted { authorizationUrl flow }
      ... on UserError { message }
    }
  }`),
  completeOidcSignIn: parse(`mutation CompleteOidcSignIn($input: CompleteOidcSignInInput!) {
    result: completeOidcSignIn(input: $input) {
      __typename
      ... on SignedIn { ${SIGNED_IN} }
      ... on UserError { message }
    }
  }`),
  signOut: parse('mutation SignOut { result: signOut }'),
  signOutEverywhere: parse('mutation SignOutEverywhere { result: signOutEverywhere }'),
  viewer: parse('query Viewer { result: viewer { isAdmin } }'),
} satisfies Record<string, DocumentNode>;

/** What begins a browser's session. */
export interface SignedIn {
  readonly refreshToken: string;
  readonly refreshTokenExpiresAt: string;
  readonly viewer: unknown;
}

/** An expected failure, as one member of a result's union. */
export interface Refusal {
  readonly __typename: string;
  readonly message: string;
  /** Of `TooManyAttempts`. */
  readonly retryAfterSeconds?: number;
}

/** What each of the operations answers with. */
interface Results {
  signIn: ({ readonly __typename: 'SignedIn' } & SignedIn) | Refusal;
  acceptInvitation:
    { readonly __typename: 'InvitationAccepted'; readonly team: unknown; readonly signedIn: SignedIn | null } | Refusal;
  startOidcSignIn:
    { readonly __typename: 'OidcSignInStarted'; readonly authorizationUrl: string; readonly flow: string } | Refusal;
  completeOidcSignIn: ({ readonly __typename: 'SignedIn' } & SignedIn) | Refusal;
  signOut: boolean;
  signOutEverywhere: number;
  viewer: { readonly isAdmin: boolean } | null;
}

/** The result, or the error that was answered instead. */
export type Outcome<T> =
  { readonly result: T } | { readonly error: { readonly code: string; readonly message: string } };

/** Runs one of the gateway's own operations for a caller. */
export async function run<Name extends keyof Results>(
  federation: Federation,
  name: Name,
  input: Readonly<Record<string, unknown>> | undefined,
  caller: Caller,
): Promise<Outcome<Results[Name]>> {
  const { data, errors } = (await federation.execute(
    {
      document: documents[name],
      variables: input ? { input } : {},
      operationName: null,
      operationType: name === 'viewer' ? 'query' : 'mutation',
    },
    { caller },
  )) as FormattedExecutionResult<{ result: Results[Name] }>;
  const [error] = errors ?? [];
  if (!error && data && data.result !== undefined) return { result: data.result };
  return {
    error: {
      code: String(error?.extensions?.['code'] ?? 'UNAVAILABLE'),
      message: error?.message ?? 'The control plane cannot answer at the moment.',
    },
  };
}
