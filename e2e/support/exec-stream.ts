import { WebSocket, type RawData } from 'ws';
import type { Api } from './api.ts';

const EXEC = `subscription ($input: SandboxExecInput!) { sandboxExec(input: $input) {
  __typename ... on ExecOutputChunk { stream data } ... on ExecExited { exitCode signal } ... on UserError { code message }
} }`;

interface ExecEvent {
  readonly __typename: string;
  readonly stream?: 'STDOUT' | 'STDERR';
  readonly data?: string;
  readonly exitCode?: number;
  readonly code?: string;
}

/**
 * A streamed command on a socket of its own, read by hand: unlike a GraphQL client's, this reader can
 * stop, and then the kernel's buffers fill and the gateway finds that its socket takes no more.
 */
export class ExecStream implements Disposable {
  readonly out: Record<'STDOUT' | 'STDERR', Buffer[]> = { STDOUT: [], STDERR: [] };
  /** Resolves with the last event that is no output, when the stream is over or its socket closed. */
  readonly ended: Promise<ExecEvent | undefined>;
  received = 0;
  readonly #socket: WebSocket;

  constructor(api: Api, sandboxId: string, script: string) {
    this.#socket = new WebSocket(api.socketUrl, 'graphql-transport-ws');
    let last: ExecEvent | undefined;
    const { promise, resolve } = Promise.withResolvers<ExecEvent | undefined>();
    this.ended = promise;
    const send = (message: object): void => this.#socket.send(JSON.stringify(message));
    this.#socket.on('open', () => send({ type: 'connection_init', payload: { authorization: api.authorization } }));
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => resolve(last));
    this.#socket.on('message', (raw: RawData) => {
      const message = JSON.parse(String(raw)) as { type: string; payload?: { data?: { sandboxExec: ExecEvent } } };
      if (message.type === 'connection_ack') {
        const variables = { input: { sandboxId, command: ['sh', '-c', script] } };
        send({ id: 'exec', type: 'subscribe', payload: { query: EXEC, variables } });
      }
      if (message.type === 'complete' || message.type === 'error') resolve(last);
      const event = message.payload?.data?.sandboxExec;
      if (!event) return;
      if (event.stream === undefined) return void (last = event);
      const data = Buffer.from(event.data ?? '', 'base64');
      this.received += data.length;
      this.out[event.stream].push(data);
    });
  }

  stopReading(): void {
    this.#socket.pause();
  }

  readOn(): void {
    this.#socket.resume();
  }

  /** Cancels the subscription and keeps the socket. */
  cancel(): void {
    this.#socket.send(JSON.stringify({ id: 'exec', type: 'complete' }));
  }

  [Symbol.dispose](): void {
    this.#socket.terminate();
  }
}
