import type { Caller } from '@rookery/wire/caller.ts';
import { ERROR_STATUS, type ErrorCode } from '@rookery/wire/errors.ts';
import { readJsonBody, sendJson } from '@rookery/wire/http.ts';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Callers } from '../callers.ts';
import type { Federation } from '../federation.ts';
import { clearedSessionCookie, sessionCookie, type CookieSettings } from './session-cookie.ts';
import { run, type Refusal } from './session.operations.ts';

/** Largest body of a request here, in bytes: a name and a password. */
const MAX_BODY_BYTES = 16 * 1024;

/** Expected failures, as a browser without a GraphQL client understands them. */
const REFUSAL_STATUS: Readonly<Record<string, number>> = {
  InvalidInput: 400,
  InvalidCredentials: 401,
  NotFound: 404,
  AlreadyMember: 409,
  InvitationForSomeoneElse: 409,
  TooManyAttempts: 429,
};

export interface SessionsOptions {
  readonly federation: Federation;
  readonly callers: Callers;
  readonly cookie: CookieSettings;
  /** Sessions were ended: the caller's own, or all of somebody's. */
  readonly onSignedOut: (caller: Caller, everywhere: boolean) => void;
}

/**
 * Browser sessions. `POST /session` signs in and sets the cookie, `DELETE /session` signs out,
 * `DELETE /session?everywhere=1` on every device, `POST /session/invitation` accepts an invitation.
 *
 * Endpoints of their own, because the cookie is HttpOnly: a script that signs in through the API
 * gets a token in its hands, a browser should not.
 */
export class Sessions {
  readonly #options: SessionsOptions;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://gateway');
    if (pathname === '/session/invitation') {
      if (request.method === 'POST') return this.#acceptInvitation(request, response);
      return notAllowed(response, 'POST', 'Accept an invitation with POST.');
    }
    if (pathname !== '/session') return sendJson(response, 404, { error: 'not found' });
    if (request.method === 'POST') return this.#signIn(request, response);
    if (request.method === 'DELETE') return this.#signOut(request, response, searchParams.get('everywhere') === '1');
    return notAllowed(response, 'POST, DELETE', 'Sign in with POST, sign out with DELETE.');
  }

  async #signIn(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { email, password } = await fields(request);
    if (typeof email !== 'string' || typeof password !== 'string')
      return sendJson(response, 400, { error: 'Send an e-mail address and a password.' });
    const { federation, callers, cookie } = this.#options;
    const outcome = await run(federation, 'signIn', { email, password }, callers.origin(request));
    if ('error' in outcome) return fail(response, outcome.error);
    const { result } = outcome;
    if (!('refreshToken' in result)) return refuse(response, result);
    sendJson(response, 200, { viewer: result.viewer }, { 'set-cookie': sessionCookie(cookie, result) });
  }

  /** Joins as whoever is signed in; anyone else gets a session of their own with it. */
  async #acceptInvitation(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { token, name, password } = await fields(request);
    if (typeof token !== 'string') return sendJson(response, 400, { error: 'Send the invitation’s token.' });
    const { federation, callers, cookie } = this.#options;
    const input = { token, ...text('name', name), ...text('password', password) };
    const outcome = await run(federation, 'acceptInvitation', input, callers.of(request));
    if ('error' in outcome) return fail(response, outcome.error);
    const { result } = outcome;
    if (!('signedIn' in result)) return refuse(response, result);
    const { team, signedIn } = result;
    sendJson(
      response,
      200,
      { team, viewer: signedIn?.viewer ?? null },
      signedIn ? { 'set-cookie': sessionCookie(cookie, signedIn) } : {},
    );
  }

  async #signOut(request: IncomingMessage, response: ServerResponse, everywhere: boolean): Promise<void> {
    const { federation, callers, cookie, onSignedOut } = this.#options;
    const caller = callers.of(request);
    let ended = 0;
    if (caller.token ?? caller.session) {
      const outcome = await run(federation, everywhere ? 'signOutEverywhere' : 'signOut', undefined, caller);
      // Whose session is over already is signed out. Anything else, and the session lives on: say so.
      if ('error' in outcome && outcome.error.code !== 'UNAUTHENTICATED') return fail(response, outcome.error);
      if ('result' in outcome) {
        ended = Number(outcome.result);
        onSignedOut(caller, everywhere);
      }
    }
    sendJson(response, 200, { ended }, { 'set-cookie': clearedSessionCookie(cookie) });
  }
}

async function fields(request: IncomingMessage): Promise<Record<string, unknown>> {
  const body = await readJsonBody(request, MAX_BODY_BYTES);
  return (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
}

const text = (key: string, value: unknown): Record<string, string> =>
  typeof value === 'string' && value !== '' ? { [key]: value } : {};

function refuse(response: ServerResponse, { __typename, message, retryAfterSeconds }: Refusal): void {
  const wait = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
  sendJson(
    response,
    REFUSAL_STATUS[__typename] ?? 400,
    { error: message, ...wait },
    retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) },
  );
}

/** What went wrong is not an answer of the API's: control is away, say. */
function fail(response: ServerResponse, { code, message }: { code: string; message: string }): void {
  sendJson(response, code in ERROR_STATUS ? ERROR_STATUS[code as ErrorCode] : 503, { error: message });
}

function notAllowed(response: ServerResponse, allow: string, error: string): void {
  sendJson(response, 405, { error }, { allow });
}
