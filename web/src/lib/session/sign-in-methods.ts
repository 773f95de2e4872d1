/** How people may sign in here. */
export interface SignInMethods {
  readonly password: boolean;
  /** An identity provider, by the name that its button carries; null when there is none. */
  readonly oidc: { readonly name: string } | null;
}

const PASSWORD_ONLY: SignInMethods = { password: true, oidc: null };

/** What the sign-in page offers. When it cannot be asked, the form is there and says so itself. */
export async function readSignInMethods(): Promise<SignInMethods> {
  return PASSWORD_ONLY;
}
