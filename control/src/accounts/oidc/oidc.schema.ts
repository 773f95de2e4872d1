import { InvalidInput, UserError } from '../../kernel/user-errors.ts';
import type { AccountsBuilder } from '../builder.ts';
import type { SessionTypes } from '../sessions/session.schema.ts';
import { OidcNotConfigured, OidcRefused, type OidcSignInStarted as Started } from './oidc.service.ts';

/** Signing in at an OpenID Connect provider, and what the sign-in page may offer. */
export function addOidc(builder: AccountsBuilder, { SignedIn }: SessionTypes): void {
  for (const errorClass of [OidcNotConfigured, OidcRefused])
    builder.objectType(errorClass, { name: errorClass.name, interfaces: [UserError] });

  const OidcProvider = builder.objectRef<{ readonly name: string }>('OidcProvider').implement({
    description: 'Somewhere else to sign in.',
    fields: (t) => ({ name: t.exposeString('name', { description: 'For the button: "Sign in with …".' }) }),
  });
  const SignInMethods = builder
    .objectRef<{ readonly password: boolean; readonly oidc: { readonly name: string } | null }>('SignInMethods')
    .implement({
      description: 'How people can sign in.',
      fields: (t) => ({
        password: t.exposeBoolean('password'),
        oidc: t.expose('oidc', {
          type: OidcProvider,
          nullable: true,
          description: 'Null when nobody signs in elsewhere.',
        }),
      }),
    });
  const OidcSignInStarted = builder.objectRef<Started>('OidcSignInStarted').implement({
    fields: (t) => ({
      authorizationUrl: t.exposeString('authorizationUrl', { description: 'Where to send the person.' }),
      flow: t.exposeString('flow', {
        description: 'Keep it with the browser that began, and give it back with the callback within 10 minutes.',
      }),
    }),
  });

  const StartOidcSignInInput = builder.inputType('StartOidcSignInInput', {
    fields: (t) => ({
      redirectUri: t.string({
        required: true,
        description: 'Where the provider sends the person back; it must know it.',
      }),
    }),
  });
  const CompleteOidcSignInInput = builder.inputType('CompleteOidcSignInInput', {
    fields: (t) => ({
      flow: t.string({ required: true }),
      callbackUrl: t.string({ required: true, description: 'Where the person came back to, parameters and all.' }),
    }),
  });

  builder.queryFields((t) => ({
    signInMethods: t.field({
      type: SignInMethods,
      resolve: (_root, _args, { services }) => ({ password: true, oidc: services.oidc.provider }),
    }),
  }));

  builder.mutationFields((t) => ({
    startOidcSignIn: t.field({
      type: OidcSignInStarted,
      description: 'Begins signing in at the identity provider. Browsers follow `/session/oidc` instead.',
      errors: { types: [OidcNotConfigured, OidcRefused, InvalidInput], union: { name: 'StartOidcSignInResult' } },
      args: { input: t.arg({ type: StartOidcSignInInput, required: true }) },
      resolve: (_root, { input }, { services }) => services.oidc.start(input),
    }),
    completeOidcSignIn: t.field({
      type: SignedIn,
      description: 'Ends what `startOidcSignIn` began. Each flow can be ended once.',
      errors: { types: [OidcRefused, OidcNotConfigured, InvalidInput], union: { name: 'CompleteOidcSignInResult' } },
      args: { input: t.arg({ type: CompleteOidcSignInInput, required: true }) },
      resolve: (_root, { input }, { caller, services }) => services.oidc.complete(input, caller),
    }),
  }));
}
