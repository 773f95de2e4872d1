import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** What happens to a request that fits. */
export type Fault =
  /** It goes through, and its answer is lost. */
  | { readonly kind: 'drop-response' }
  /** It is lost on its way. */
  | { readonly kind: 'drop-request' }
  /** Somebody else answers, and it does not go through. */
  | { readonly kind: 'answer'; readonly status: number; readonly body: string }
  /** It goes through, and its answer is kept until {@link Rule.release} or lost by {@link Rule.drop}. */
  | { readonly kind: 'hold-response' };

/** A fault that is switched on, and what it has done. */
export class Rule {
  readonly fault: Fault;
  readonly fits: (what: string) => boolean;
  /** How many more requests it is for. */
  left: number;
  hits = 0;
  readonly #held: ((deliver: boolean) => void)[] = [];
  readonly #reached: (() => void)[] = [];

  constructor(fault: Fault, fits: (what: string) => boolean, times: number) {
    this.fault = fault;
    this.fits = fits;
    this.left = times;
  }

  /** Resolves when it has been applied this often; with `hold-response`, when the answer has come from behind the proxy. */
  async reached(times: number): Promise<void> {
    while (this.hits < times) await new Promise<void>((resolve) => this.#reached.push(resolve));
  }

  release(): void {
    for (const decide of this.#held.splice(0)) decide(true);
  }

  drop(): void {
    for (const decide of this.#held.splice(0)) decide(false);
  }

  hit(): void {
    this.hits += 1;
    for (const resolve of this.#reached.splice(0)) resolve();
  }

  /** @returns whether to deliver. */
  hold(): Promise<boolean> {
    const decided = new Promise<boolean>((resolve) => this.#held.push(resolve));
    this.hit();
    return decided;
  }
}

/**
 * A proxy between agents and control that loses, holds and invents answers as a test says. It reads
 * plain HTTP requests whole, so that it knows them by their operation; WebSockets it passes on byte by
 * byte, and can cut or freeze them.
 */
export class FaultProxy implements AsyncDisposable {
  readonly url: string;
  readonly #server;
  readonly #targetPort: number;
  readonly #sockets = new Set<Socket>();
  readonly #pipes = new Set<[Duplex, Socket]>();
  #rules: Rule[] = [];
  /** Told of every answer that has left for the agent: the name of its operation. */
  onAnswered: (what: string) => void = () => {};

  private constructor(server: ReturnType<typeof createServer>, targetPort: number) {
    this.#server = server;
    this.#targetPort = targetPort;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('connection', (socket) => this.#own(socket));
    server.on('request', (request, response) => void this.#pass(request, response).catch(() => response.destroy()));
    server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
  }

  static async start(targetPort: number): Promise<FaultProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new FaultProxy(server, targetPort);
  }

  /**
   * Switches a fault on.
   *
   * @param what  an operation's name (`RegisterHost`), `upgrade`, or undefined for everything.
   * @param times for how many requests.
   */
  fault(fault: Fault, what?: string, times = Number.POSITIVE_INFINITY): Rule {
    const rule = new Rule(fault, (name) => what === undefined || name === what, times);
    this.#rules.push(rule);
    return rule;
  }

  /** Switches all faults off. */
  heal(): void {
    for (const rule of this.#rules) rule.drop();
    this.#rules = [];
  }

  /** Breaks every connection that is open. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Every WebSocket that is open goes half-open: it stays, and nothing comes through any more in either direction. */
  freeze(): void {
    for (const [front, back] of this.#pipes) {
      front.unpipe(back);
      back.unpipe(front);
      // Still read and thrown away, as by a router that has forgotten the connection.
      front.resume();
      back.resume();
    }
    this.#pipes.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.heal();
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const what = /(?:mutation|query) (\w+)/.exec(body.toString())?.[1] ?? '';
    const rule = this.#ruleFor(what);
    if (rule?.fault.kind === 'drop-request') return (rule.hit(), void request.socket.destroy());
    if (rule?.fault.kind === 'answer') {
      response.writeHead(rule.fault.status, { 'content-type': 'text/html' }).end(rule.fault.body);
      return rule.hit();
    }
    const answer = await this.#ask(request, body);
    if (rule?.fault.kind === 'drop-response') return (rule.hit(), void request.socket.destroy());
    if (rule?.fault.kind === 'hold-response' && !(await rule.hold())) return void request.socket.destroy();
    response.writeHead(answer.status, { 'content-type': answer.type }).end(answer.body, () => this.onAnswered(what));
  }

  async #ask(request: IncomingMessage, body: Buffer): Promise<{ status: number; type: string; body: Buffer }> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    httpRequest({
      port: this.#targetPort,
      host: '127.0.0.1',
      method: request.method,
      path: request.url,
      headers: { ...request.headers, connection: 'close' },
    })
      .once('response', resolve)
      .once('error', reject)
      .end(body);
    const response = await promise;
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    const type = response.headers['content-type'] ?? '';
    return { status: response.statusCode ?? 502, type, body: Buffer.concat(chunks) };
  }

  #upgrade(request: IncomingMessage, front: Duplex, head: Buffer): void {
    front.on('error', () => front.destroy());
    const rule = this.#ruleFor('upgrade');
    if (rule?.fault.kind === 'answer') {
      const { status, body } = rule.fault;
      front.end(`HTTP/1.1 ${status} Fault\r\ncontent-type: text/html\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
      return rule.hit();
    }
    if (rule) return (rule.hit(), void front.destroy());
    const back = connect(this.#targetPort, '127.0.0.1');
    this.#own(back);
    const pipe: [Duplex, Socket] = [front, back];
    this.#pipes.add(pipe);
    const end = (): void => {
      if (!this.#pipes.delete(pipe)) return;
      front.destroy();
      back.destroy();
    };
    front.once('close', end);
    back.once('close', end);
    const headers = Object.entries(request.headers).map(([name, value]) => `${name}: ${String(value)}\r\n`);
    back.write(`GET ${request.url} HTTP/1.1\r\n${headers.join('')}\r\n`);
    back.write(head);
    back.pipe(front);
    front.pipe(back);
  }

  #ruleFor(what: string): Rule | undefined {
    const rule = this.#rules.find(({ fits, left }) => left > 0 && fits(what));
    if (rule) rule.left -= 1;
    return rule;
  }

  #own(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
