import { RookeryError, ERROR_STATUS } from '@rookery/wire/errors.ts';
import { listen, reachableAddress, refuseUpgrade, sendJson, TOO_LARGE } from '@rookery/wire/http.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Callers, refuseInternalHeaders } from './callers.ts';
import type { GatewayConfig } from './config.ts';
import { serveDashboard } from './dashboard.ts';
import { createFederation, type Federation } from './federation.ts';
import { createGraphQLEndpoint } from './graphql-endpoint.ts';
import { OperationLimits } from './limits/limits.ts';
import { RequestRates, TooManyRequests } from './limits/rates.ts';
import { OidcSignIn } from './sessions/oidc-sign-in.ts';
import { publicOrigin } from './sessions/public-url.ts';
import { run } from './sessions/session.operations.ts';
import { Sessions } from './sessions/sessions.ts';
import { createSubscriptions } from './subscriptions.ts';
import type { SubgraphTransport } from './transports/transport.ts';
import type { SignedInCheck } from './viewer-sockets.ts';

const SUPERGRAPH = new URL('../../supergraph.graphql', import.meta.url);

export interface GatewayDeps {
  readonly config: GatewayConfig;
  /** Disposed together with the gateway. */
  readonly transport: SubgraphTransport;
  readonly log: Logger;
}

/** A running gateway. */
export interface Gateway extends AsyncDisposable {
  /** Where the dashboard and the API are, as seen from this machine. */
  readonly url: string;
  readonly port: number;
}

/**
 * Joins the parts of a gateway and starts it: the public API at `/graphql` over HTTP and WebSocket,
 * browser sessions at `/session`, the dashboard everywhere else.
 *
 * @throws {StartupError} in one sentence.
 */
export async function createGateway({ config, transport, log }: GatewayDeps): Promise<Gateway> {
  const stack = new AsyncDisposableStack();
  await using _undoOnFailure = stack;
  stack.use(transport);
  const federation = await createFederation(await readFile(SUPERGRAPH, 'utf8'), transport, log);
  const callers = new Callers({
    cookieName: config.ROOKERY_COOKIE_NAME,
    trustedProxies: config.ROOKERY_TRUSTED_PROXIES,
  });
  const limits = new OperationLimits(federation.schema, config, config.ROOKERY_INTROSPECTION);
  const rates = new RequestRates(config);
  const graphql = stack.use(
    await createGraphQLEndpoint({ federation, limits, maxBodyBytes: config.ROOKERY_MAX_BODY_BYTES, log }),
  );
  const isAllowedOrigin = originCheck(config.ROOKERY_ALLOWED_ORIGINS);
  const subscriptions = createSubscriptions({
    federation,
    callers,
    isSignedIn: signedInCheck(federation),
    limits,
    rates,
    settings: config,
    isAllowedOrigin,
    log,
  });
  const cookie = { name: config.ROOKERY_COOKIE_NAME, secure: config.ROOKERY_SECURE_COOKIES };
  const sessions = new Sessions({
    federation,
    callers,
    cookie,
    onSignedOut: (caller, everywhere) =>
      void (everywhere ? subscriptions.sockets.recheckAll() : subscriptions.sockets.recheck(caller)),
  });
  const oidc = new OidcSignIn({
    federation,
    callers,
    cookie,
    publicOrigin: (request) =>
      publicOrigin(
        {
          publicUrl: config.ROOKERY_PUBLIC_URL,
          allowedOrigins: config.ROOKERY_ALLOWED_ORIGINS,
          host: config.ROOKERY_HOST,
          port: listening.port,
          secure: config.ROOKERY_SECURE_COOKIES,
        },
        request,
      ),
    log,
  });
  const dashboard = serveDashboard();

  async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '/').split('?')[0];
    if (path === '/graphql' || path === '/session' || path?.startsWith('/session/')) {
      refuseInternalHeaders(request);
      const caller = callers.of(request);
      await rates.count(caller);
      // A navigation, which the browser makes for whichever site: it says nothing of an origin, and needs none.
      if (path.startsWith('/session/oidc')) return oidc.handle(request, response);
      // A page of another site must not act with this browser's cookie.
      if (!isAllowedOrigin(request)) throw new RookeryError('FORBIDDEN', 'This origin may not use the API.');
      return path === '/graphql' ? graphql.handle(request, response, { caller }) : sessions.handle(request, response);
    }
    switch (path) {
      case '/healthz':
        return sendJson(response, 200, { status: 'ok' });
      case '/readyz': {
        const ready = await transport.isReady();
        return sendJson(response, ready ? 200 : 503, { status: ready ? 'ready' : 'control plane unreachable' });
      }
      default:
        return dashboard(request, response);
    }
  }

  const listening = stack.use(
    await listen(
      (request, response) => {
        route(request, response).catch((error: unknown) => fail(response, error, log));
      },
      config.ROOKERY_PORT,
      config.ROOKERY_HOST,
      'the dashboard',
      'ROOKERY_PORT',
    ),
  );
  // After the listener, so that it is stopped before: the listener waits for its sockets.
  stack.use(subscriptions);
  listening.server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    if (request.url?.split('?')[0] === '/graphql') subscriptions.upgrade(request, socket, head);
    else refuseUpgrade(socket, 404);
  });

  const running = stack.move();
  const { port } = listening;
  const url = reachableAddress(config.ROOKERY_HOST, port);
  return { port, url, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Whether a caller's credentials stand for anyone at this moment. */
function signedInCheck(federation: Federation): SignedInCheck {
  return async (caller) => {
    if (caller.token === undefined && caller.session === undefined) return 'no';
    const outcome = await run(federation, 'viewer', undefined, caller);
    if ('error' in outcome) return 'unknown';
    return outcome.result === null ? 'no' : 'yes';
  };
}

/** Browsers say where a page comes from; programs that say nothing are not browsers and have no cookie to abuse. */
function originCheck(allowed: readonly string[]): (request: IncomingMessage) => boolean {
  return ({ headers }) => {
    const { origin, host } = headers;
    if (origin === undefined) return true;
    if (allowed.includes(origin)) return true;
    return URL.canParse(origin) && new URL(origin).host === host;
  };
}

function fail(response: ServerResponse, error: unknown, log: Logger): void {
  if (!(error instanceof RookeryError)) {
    log.error({ err: error }, 'a request failed');
    return answer(response, 500, new RookeryError('INTERNAL', 'Something went wrong on our side.'));
  }
  answer(response, error.reason === TOO_LARGE ? 413 : ERROR_STATUS[error.code], error);
}

/** As a GraphQL client understands it, and beside the API also as `/session` says what is wrong. */
function answer(response: ServerResponse, status: number, error: RookeryError): void {
  const wait = error instanceof TooManyRequests ? error.retryAfterSeconds : undefined;
  const isGraphQL = /^\/graphql(\?|$)/.test(response.req.url ?? '');
  sendJson(
    response,
    status,
    {
      ...(isGraphQL ? {} : { error: error.message, ...(wait === undefined ? {} : { retryAfterSeconds: wait }) }),
      errors: [{ message: error.message, extensions: error.extensions }],
    },
    wait === undefined ? {} : { 'retry-after': String(wait) },
  );
}
