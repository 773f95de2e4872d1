import { readJsonBody, bearerToken, sendJson } from '@rookery/wire/http.ts';
import { parse, type FormattedExecutionResult } from 'graphql';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Federation, GatewayContext } from './federation.ts';

const SIGN_IN = parse(`mutation SignIn($input: SignInInput!) {
  signIn(input: $input) {
    __typename
    ... on SignedIn { refreshToken refreshTokenExpiresAt viewer { isAdmin user { id name email } } }
    ... on UserError { message }
  }
}`);
const SIGN_OUT = parse('mutation SignOut { signOut }');
const VIEWER = parse('query Viewer { viewer { isAdmin } }');

interface SignInOutcome {
  signIn:
    | { __typename: 'SignedIn'; refreshToken: string; refreshTokenExpiresAt: string; viewer: unknown }
    | { __typename: 'InvalidCredentials' | 'InvalidInput'; message: string };
}

export interface SessionsOptions {
  readonly federation: Federation;
  readonly secureCookies: boolean;
  /** Name of the cookie that holds a browser's session token, out of reach of scripts. Cookies know no ports: two Rookeries on one machine need two names. */
  readonly cookieName: string;
}

/**
 * Browser sessions: `POST /session` signs in and sets the cookie, `DELETE /session` signs out.
 *
 * An endpoint of its own, because the cookie is HttpOnly: a script that signs in through the API
 * gets a token in its hands, a browser should not.
 */
export class Sessions {
  readonly #options: SessionsOptions;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** Who sends a request, by its bearer token or else its cookie. */
  contextOf({ headers }: Pick<IncomingMessage, 'headers'>): GatewayContext {
    const token = bearerToken(headers.authorization);
    return { caller: token === undefined ? { session: cookie(headers.cookie, this.#options.cookieName) } : { token } };
  }

  /** Whether a token stands for anyone at this moment; `unknown` when nobody could be asked. */
  async isSignedIn(context: GatewayContext): Promise<'yes' | 'no' | 'unknown'> {
    if (context.caller.token === undefined && context.caller.session === undefined) return 'no';
    const { data, errors } = await this.#run(VIEWER, 'query', {}, context);
    if (errors || !data) return 'unknown';
    return data['viewer'] === null ? 'no' : 'yes';
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === 'POST') return this.#signIn(request, response);
    if (request.method === 'DELETE') return this.#signOut(request, response);
    response.setHeader('allow', 'POST, DELETE');
    sendJson(response, 405, { error: 'Sign in with POST, sign out with DELETE.' });
  }

  async #signIn(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readJsonBody(request);
    const { email, password } = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
    if (typeof email !== 'string' || typeof password !== 'string')
      return sendJson(response, 400, { error: 'Send an e-mail address and a password.' });
    const { data, errors } = await this.#run(SIGN_IN, 'mutation', { input: { email, password } }, { caller: {} });
    const outcome = (data as SignInOutcome | null | undefined)?.signIn;
    if (!outcome)
      return sendJson(response, 503, { error: errors?.[0]?.message ?? 'Signing in does not work at the moment.' });
    if (outcome.__typename !== 'SignedIn') return sendJson(response, 401, { error: outcome.message });
    const maxAge = Math.max(0, Math.floor((Date.parse(outcome.refreshTokenExpiresAt) - Date.now()) / 1_000));
    sendJson(response, 200, { viewer: outcome.viewer }, { 'set-cookie': this.#cookie(outcome.refreshToken, maxAge) });
  }

  async #signOut(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const context = this.contextOf(request);
    if (context.caller.token ?? context.caller.session) await this.#run(SIGN_OUT, 'mutation', {}, context);
    sendJson(response, 200, {}, { 'set-cookie': this.#cookie('', 0) });
  }

  #cookie(token: string, maxAgeSeconds: number): string {
    const { secureCookies, cookieName } = this.#options;
    const secure = secureCookies ? '; Secure' : '';
    return `${cookieName}=${token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=${maxAgeSeconds}${secure}`;
  }

  async #run(
    document: typeof VIEWER,
    operationType: 'query' | 'mutation',
    variables: Record<string, unknown>,
    context: GatewayContext,
  ): Promise<FormattedExecutionResult> {
    return (await this.#options.federation.execute(
      { document, variables, operationName: null, operationType },
      context,
    )) as FormattedExecutionResult;
  }
}

function cookie(header: string | undefined, name: string): string | undefined {
  for (const pair of header?.split(';') ?? []) {
    const [key, value] = pair.split('=', 2);
    if (key?.trim() === name && value) return value.trim();
  }
  return undefined;
}
