import { RookeryError, ERROR_STATUS } from '@rookery/wire/errors.ts';
import { listen, reachableAddress, refuseUpgrade, sendJson } from '@rookery/wire/http.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { GatewayConfig } from './config.ts';
import { serveDashboard } from './dashboard.ts';
import { createFederation } from './federation.ts';
import { createGraphQLEndpoint } from './graphql-endpoint.ts';
import { Sessions } from './sessions.ts';
import { createSubscriptions } from './subscriptions.ts';
import type { SubgraphTransport } from './transports/transport.ts';

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
  const sessions = new Sessions({
    federation,
    secureCookies: config.ROOKERY_SECURE_COOKIES,
    cookieName: config.ROOKERY_COOKIE_NAME,
  });
  const graphql = stack.use(await createGraphQLEndpoint(federation, config.ROOKERY_INTROSPECTION));
  const isAllowedOrigin = originCheck(config.ROOKERY_ALLOWED_ORIGINS);
  const subscriptions = createSubscriptions({ federation, sessions, isAllowedOrigin, log });
  const dashboard = serveDashboard();

  async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '/').split('?')[0];
    switch (path) {
      case '/graphql':
      case '/session':
        // A page of another site must not act with this browser's cookie.
        if (!isAllowedOrigin(request)) throw new RookeryError('FORBIDDEN', 'This origin may not use the API.');
        return path === '/graphql'
          ? graphql.handle(request, response, sessions.contextOf(request))
          : sessions.handle(request, response);
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
  if (error instanceof RookeryError) {
    return sendJson(response, ERROR_STATUS[error.code], {
      errors: [{ message: error.message, extensions: error.extensions }],
    });
  }
  log.error({ err: error }, 'a request failed');
  sendJson(response, 500, {
    errors: [{ message: 'Something went wrong on our side.', extensions: { code: 'INTERNAL' } }],
  });
}
