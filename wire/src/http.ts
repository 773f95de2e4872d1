import {
  createServer,
  STATUS_CODES,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import {
  createServer as createNetServer,
  type AddressInfo,
  type ListenOptions,
  type Server as NetServer,
  type Socket,
} from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Duplex } from 'node:stream';
import { RookeryError, StartupError } from './errors.ts';

/** Largest request body taken, in bytes; the largest legitimate one is a full inventory of some hundred sandboxes. */
export const MAX_BODY_BYTES = 2 * 1024 * 1024;

/** `extensions.reason` of what is refused for its size. */
export const TOO_LARGE = 'TOO_LARGE';

/**
 * Reads a JSON request body.
 *
 * @throws {RookeryError} `BAD_USER_INPUT` when it is too large, not declared as JSON, or not JSON.
 */
export async function readJsonBody(request: IncomingMessage, maxBytes = MAX_BODY_BYTES): Promise<unknown> {
  // Browsers cannot send this type across origins without a preflight, which is never granted.
  if (!/^application\/(graphql\+)?json\b/.test(request.headers['content-type'] ?? '')) {
    throw new RookeryError('BAD_USER_INPUT', 'The content type must be application/json.');
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) {
      throw new RookeryError('BAD_USER_INPUT', `The request is larger than ${maxBytes} bytes.`, { reason: TOO_LARGE });
    }
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (cause) {
    throw new RookeryError('BAD_USER_INPUT', 'The request is not valid JSON.', { cause });
  }
}

/** Answers with JSON. */
export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  if (response.headersSent) return;
  // A body that was not read to its end is still on its way; nothing can follow it.
  if (!response.req.complete) headers = { ...headers, connection: 'close' };
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    ...headers,
  });
  response.end(text);
}

/** The bearer token of an `Authorization` value, if there is one. */
export function bearerToken(header: string | undefined): string | undefined {
  const match = /^Bearer ([\w.~+/=-]+)$/i.exec(header ?? '');
  return match?.[1];
}

/** An HTTP server that is listening, with the port it got. */
export interface ListeningServer extends AsyncDisposable {
  readonly server: Server;
  readonly port: number;
}

/**
 * Starts an HTTP server.
 *
 * @param port 0 for any free one.
 * @param role what the port is for, as the operator knows it: "the dashboard".
 * @throws {StartupError} in one sentence when the port is taken or not allowed.
 */
export async function listen(
  handler: RequestListener,
  port: number,
  host: string,
  role: string,
  variable: string,
): Promise<ListeningServer> {
  const server = createServer(handler);
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const isShared = await openPort(server, port, host).catch((cause: NodeJS.ErrnoException) => {
    throw listenError(cause, port, host, role, variable);
  });
  const own = server.address() as AddressInfo;
  const others = isShared ? openOthers(server, own) : Promise.resolve([]);
  return {
    server,
    port: own.port,
    async [Symbol.asyncDispose]() {
      const allClosed = Promise.all([server, ...(await others)].map(closed));
      server.closeIdleConnections();
      // Requests that are under way get a moment; what is still open then is cut, also what was upgraded.
      const deadline = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, CLOSE_DEADLINE_MS);
      await allClosed;
      clearTimeout(deadline);
    },
  };
}

/**
 * Listening sockets of a server. Node takes one connection from each in a turn of its event loop
 * (https://github.com/libuv/libuv/pull/3696): with one of them a busy process takes some hundred in a second, and lets a
 * fleet that comes back wait until it gives up.
 */
const LISTENERS = 16;

/** Opens a server's own listening socket. @returns whether others may listen beside it. */
async function openPort(server: Server, port: number, host: string): Promise<boolean> {
  // Whoever is ready to share a port shares it with every process of its user that is: so it is asked for alone first.
  if (port !== 0) await closed(await opened(createNetServer(), { port, host }));
  try {
    await opened(server, { port, host, reusePort: true });
    return true;
  } catch (error) {
    if (!CANNOT_SHARE.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    await opened(server, { port, host });
    return false;
  }
}

/** Opens the others, which hand their connections to the server. */
async function openOthers(server: Server, { address: host, port }: AddressInfo): Promise<NetServer[]> {
  const others = Array.from({ length: LISTENERS - 1 }, () =>
    // As an HTTP server makes its own.
    createNetServer({ allowHalfOpen: true, noDelay: true }, (socket) => void server.emit('connection', socket)),
  );
  const outcomes = await Promise.allSettled(others.map((other) => opened(other, { port, host, reusePort: true })));
  for (const outcome of outcomes) if (outcome.status === 'rejected') process.emitWarning(outcome.reason as Error);
  return others.filter((other) => other.listening);
}

/** What systems say that know of no shared ports. */
const CANNOT_SHARE = new Set(['ENOTSUP', 'EOPNOTSUPP', 'ENOPROTOOPT', 'EINVAL']);

function opened<T extends NetServer>(server: T, options: ListenOptions): Promise<T> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      server.off('listening', listening);
      reject(error);
    };
    const listening = (): void => {
      server.off('error', failed);
      // Out of file descriptors, say. Whoever waits to connect tries again.
      server.on('error', (error) => process.emitWarning(error));
      resolve(server);
    };
    server.once('error', failed).once('listening', listening).listen(options);
  });
}

const closed = (server: NetServer): Promise<unknown> => new Promise((resolve) => server.close(resolve));

/** How long open requests may take when a server stops, in ms. */
const CLOSE_DEADLINE_MS = 2_000;

/** The address by which a listener on `host` is reached from this machine: one that listens everywhere has none of its own. */
export function reachableAddress(host: string, port: number): string {
  const name = host === '0.0.0.0' || host === '::' ? 'localhost' : host;
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`;
}

/** The address by which a listener on `host` is reached from other machines of its network, as far as it is. */
export function networkAddress(host: string, port: number): string {
  const listensEverywhere = host === '0.0.0.0' || host === '::';
  const addresses = Object.values(networkInterfaces()).flatMap((ofOne) => ofOne ?? []);
  const own = addresses.find(({ family, internal }) => family === 'IPv4' && !internal);
  return reachableAddress(listensEverywhere && own ? own.address : host, port);
}

/** Refuses a WebSocket upgrade, and lets go of the socket whether or not the peer does. */
export function refuseUpgrade(socket: Duplex, status: 400 | 401 | 403 | 404 | 429 | 503): void {
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}

function listenError(
  cause: NodeJS.ErrnoException,
  port: number,
  host: string,
  role: string,
  variable: string,
): StartupError {
  if (cause.code === 'EADDRINUSE') {
    return new StartupError(`Port ${port} for ${role} is already in use; set ${variable} to another one.`, { cause });
  }
  if (cause.code === 'EACCES') {
    return new StartupError(
      `Port ${port} for ${role} may not be opened by this user; set ${variable} to one above 1023.`,
      { cause },
    );
  }
  return new StartupError(`Cannot listen on ${host}:${port} for ${role}: ${cause.message}.`, { cause });
}
