import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  ClientSecretBasic,
  ClientSecretPost,
  discovery,
  fetchUserInfo,
  None,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
  type ClientAuth,
  type Configuration,
} from 'openid-client';
import type { OidcSettings } from './oidc.config.ts';

/** How long the provider may take for one answer, in seconds. People wait for it. */
const TIMEOUT_SECONDS = 10;

/** How long what the provider says about itself is believed, in ms. */
const METADATA_MS = 3_600_000;

/** What has to be kept of a sign-in while the person is at the provider. */
export interface StartedFlow {
  readonly authorizationUrl: string;
  readonly state: string;
  readonly nonce: string;
  readonly codeVerifier: string;
}

/** Whom the provider says that somebody is. */
export interface OidcClaims {
  readonly issuer: string;
  readonly subject: string;
  readonly email: string | undefined;
  /** Whether the provider vouches for the address. */
  readonly emailVerified: boolean;
  readonly name: string | undefined;
}

/** Speaks OpenID Connect with one provider: authorization code, PKCE, state and nonce. */
export class OidcClient {
  readonly #settings: OidcSettings;
  #found: { readonly configuration: Promise<Configuration>; readonly at: number } | undefined;

  constructor(settings: OidcSettings) {
    this.#settings = settings;
  }

  /** @throws when the provider cannot be reached. */
  async start(redirectUri: string): Promise<StartedFlow> {
    const configuration = await this.#configuration();
    const [state, nonce, codeVerifier] = [randomState(), randomNonce(), randomPKCECodeVerifier()];
    const url = buildAuthorizationUrl(configuration, {
      redirect_uri: redirectUri,
      scope: this.#settings.scopes.join(' '),
      code_challenge: await calculatePKCECodeChallenge(codeVerifier),
      code_challenge_method: 'S256',
      state,
      nonce,
    });
    return { authorizationUrl: url.href, state, nonce, codeVerifier };
  }

  /**
   * Trades the code in a callback for who the person is.
   *
   * @param callback where the person came back to, with what the provider sent along.
   * @throws when the provider refused, or the answer is not the one to this flow.
   */
  async complete(callback: URL, flow: Omit<StartedFlow, 'authorizationUrl'>): Promise<OidcClaims> {
    const configuration = await this.#configuration();
    const tokens = await authorizationCodeGrant(configuration, callback, {
      expectedState: flow.state,
      expectedNonce: flow.nonce,
      pkceCodeVerifier: flow.codeVerifier,
      idTokenExpected: true,
    });
    const claims = tokens.claims();
    if (!claims) throw new Error('the provider sent no ID token');
    // Many providers keep the address out of the ID token.
    const info =
      claims['email'] === undefined || claims['email_verified'] === undefined
        ? await this.#userInfo(configuration, tokens.access_token, claims.sub)
        : undefined;
    // Both from one place: a verdict on one address must not count for another.
    const about = info?.['email'] === undefined ? claims : info;
    return {
      issuer: claims.iss,
      subject: claims.sub,
      email: text(about['email']),
      emailVerified: about['email_verified'] === true,
      name: text(claims['name']) ?? text(info?.['name']),
    };
  }

  async #userInfo(
    configuration: Configuration,
    accessToken: string,
    subject: string,
  ): Promise<Readonly<Record<string, unknown>> | undefined> {
    if (!configuration.serverMetadata().userinfo_endpoint) return undefined;
    return fetchUserInfo(configuration, accessToken, subject);
  }

  /** Asked for at the first sign-in rather than at the start: a provider that is away must not keep control from starting. */
  async #configuration(): Promise<Configuration> {
    const found = this.#found;
    if (found && Date.now() - found.at < METADATA_MS) return found.configuration;
    const { issuer, clientId, clientSecret } = this.#settings;
    const isPlain = issuer.protocol === 'http:';
    const configuration = discovery(issuer, clientId, clientSecret, authentication(clientSecret), {
      timeout: TIMEOUT_SECONDS,
      ...(isPlain ? { execute: [allowInsecureRequests] } : {}),
    });
    this.#found = { configuration, at: Date.now() };
    configuration.catch(() => {
      this.#found = undefined;
    });
    return configuration;
  }
}

/** By `Authorization: Basic` as the standard would have it, in the body where only that is taken, or not at all. */
function authentication(secret: string | undefined): ClientAuth {
  if (secret === undefined) return None();
  return (server, ...rest) => {
    const { token_endpoint_auth_methods_supported: methods = ['client_secret_basic'] } = server;
    const authenticate = methods.includes('client_secret_basic') ? ClientSecretBasic(secret) : ClientSecretPost(secret);
    authenticate(server, ...rest);
  };
}

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
