import { sendJson } from '@rookery/wire/http.ts';
import type { Logger } from '@rookery/wire/log.ts';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { cookie, type Callers } from '../callers.ts';
import type { Federation } from '../federation.ts';
import { localPath } from './public-url.ts';
import {
  flowCookie,
  flowCookieName,
  OIDC_PATH,
  readFlow,
  sessionCookie,
  type CookieSettings,
} from './session-cookie.ts';
import { run } from './session.operations.ts';

const CALLBACK_PATH = `${OIDC_PATH}/callback`;

/** The page that tells people that it did not work; what exactly is in control's log and on the audit trail. */
const PROBLEM_PAGE = '/sign-in?problem=oidc';

export interface OidcSignInOptions {
  readonly federation: Federation;
  readonly callers: Callers;
  readonly cookie: CookieSettings;
  /** The origin under which a browser reached the gateway; undefined when that is not to be trusted. */
  readonly publicOrigin: (request: IncomingMessage) => string | undefined;
  readonly log: Logger;
}

/**
 * Signing in at an OpenID Connect provider, for browsers: `GET /session/oidc?returnTo=/…` sends them
 * there, `GET /session/oidc/callback` takes them back. Control does the protocol; the gateway keeps the
 * flow in a cookie, so that only the browser that began it can end it.
 */
export class OidcSignIn {
  readonly #options: OidcSignInOptions;

  constructor(options: OidcSignInOptions) {
    this.#options = options;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, search, searchParams } = new URL(request.url ?? '/', 'http://gateway');
    if (request.method !== 'GET')
      return sendJson(response, 405, { error: 'Sign in here by following a link.' }, { allow: 'GET' });
    const origin = this.#options.publicOrigin(request);
    if (origin === undefined) {
      this.#options.log.warn('signing in elsewhere needs ROOKERY_PUBLIC_URL: this host name is not known to be ours');
      return redirect(response, PROBLEM_PAGE, []);
    }
    if (pathname === OIDC_PATH) return this.#start(request, response, origin, searchParams.get('returnTo'));
    if (pathname === CALLBACK_PATH) return this.#complete(request, response, `${origin}${CALLBACK_PATH}${search}`);
    return sendJson(response, 404, { error: 'not found' });
  }

  async #start(
    request: IncomingMessage,
    response: ServerResponse,
    origin: string,
    returnTo: string | null,
  ): Promise<void> {
    const { federation, callers, cookie: settings } = this.#options;
    const input = { redirectUri: `${origin}${CALLBACK_PATH}` };
    const outcome = await run(federation, 'startOidcSignIn', input, callers.origin(request));
    if (!('result' in outcome) || !('authorizationUrl' in outcome.result))
      return redirect(response, PROBLEM_PAGE, [flowCookie(settings, null)]);
    const { authorizationUrl, flow } = outcome.result;
    redirect(response, authorizationUrl, [flowCookie(settings, { flow, returnTo: localPath(returnTo) })]);
  }

  async #complete(request: IncomingMessage, response: ServerResponse, callbackUrl: string): Promise<void> {
    const { federation, callers, cookie: settings } = this.#options;
    const cleared = flowCookie(settings, null);
    const flow = readFlow(cookie(request.headers.cookie, flowCookieName(settings)));
    if (!flow) return redirect(response, PROBLEM_PAGE, [cleared]);
    const input = { flow: flow.flow, callbackUrl };
    const outcome = await run(federation, 'completeOidcSignIn', input, callers.origin(request));
    if (!('result' in outcome) || !('refreshToken' in outcome.result))
      return redirect(response, PROBLEM_PAGE, [cleared]);
    // The cookie is the browser's own to change: what it says about the way back is checked again.
    redirect(response, localPath(flow.returnTo), [cleared, sessionCookie(settings, outcome.result)]);
  }
}

function redirect(response: ServerResponse, location: string, cookies: string[]): void {
  response.writeHead(303, {
    location,
    'set-cookie': cookies,
    'cache-control': 'no-store',
    // The callback's address holds a code; nobody needs to hear of it.
    'referrer-policy': 'no-referrer',
    'content-length': 0,
  });
  response.end();
}
