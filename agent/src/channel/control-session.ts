import { ClientSocket } from '@rookery/wire/client-socket.ts';
import { CloseCode } from '@rookery/wire/close-codes.ts';
import { AgentEndpoint } from '@rookery/wire/endpoints.ts';
import { MAX_MESSAGE_BYTES } from '@rookery/wire/graphql-socket.ts';
import type { FormattedExecutionResult } from 'graphql';
import { createClient, type Client } from 'graphql-ws';

/** How long control may take to answer one operation, in ms; then the socket counts as dead. */
export const ANSWER_DEADLINE_MS = 10_000;

/** Why a session ended, as far as it matters for what comes next. */
export type SessionEnd = { readonly kind: 'unauthenticated' | 'deleted' | 'restart' | 'lost'; readonly reason: string };

/** Control said no to an operation of the channel. */
export class ChannelError extends Error {
  override readonly name = 'ChannelError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * One connection of the agent channel, from dialling to its end.
 *
 * graphql-ws could reconnect by itself, but takes 4401 for fatal, where we renew the credentials
 * and go on: so its retries are off, and each connection has a client of its own.
 */
export class ControlSession {
  /** Resolves, and never rejects, when the connection is gone. */
  readonly ended: Promise<SessionEnd>;
  readonly #client: Client;

  constructor(controlUrl: string, authorization: string) {
    let end: (value: SessionEnd) => void = () => {};
    this.ended = new Promise((resolve) => (end = resolve));
    this.#client = createClient({
      url: controlUrl.replace(/^http/, 'ws') + AgentEndpoint.channel,
      connectionParams: () => ({ authorization }),
      webSocketImpl: BoundedWebSocket,
      lazy: false,
      retryAttempts: 0,
      onNonLazyError: (error) => end(endOf(error)),
      on: {
        closed: (event) => end(endOf(event)),
        error: (error) => end(endOf(error)),
      },
    });
  }

  /**
   * Runs a query or mutation.
   *
   * @throws {ChannelError} what control answered; `UNAVAILABLE` without an answer in time.
   */
  run<T, Variables extends Record<string, unknown>>(query: string, variables: Variables): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const deadline = setTimeout(
        () => reject(new ChannelError('UNAVAILABLE', 'control did not answer in time')),
        ANSWER_DEADLINE_MS,
      );
      const settle = (action: () => void): void => {
        clearTimeout(deadline);
        action();
      };
      const unsubscribe = this.#client.subscribe<T>(
        { query, variables },
        {
          next: (result) =>
            settle(() => (result.data && !result.errors ? resolve(result.data) : reject(refusalOf(result)))),
          error: (error) =>
            settle(() =>
              reject(
                Array.isArray(error)
                  ? refusalOf({ errors: error })
                  : new ChannelError('UNAVAILABLE', endOf(error).reason),
              ),
            ),
          complete: () =>
            settle(() => reject(new ChannelError('UNAVAILABLE', 'control ended the operation without an answer'))),
        },
      );
      void this.ended.then((end) => {
        settle(() => reject(new ChannelError('UNAVAILABLE', end.reason)));
        unsubscribe();
      });
    });
  }

  /** Drops the connection without a handshake: the other side may be long gone. */
  terminate(): void {
    this.#client.terminate();
  }

  async close(): Promise<void> {
    await Promise.resolve(this.#client.dispose()).catch(() => {});
  }
}

class BoundedWebSocket extends ClientSocket {
  constructor(url: string, protocols?: string | string[]) {
    super(url, protocols, {
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
      handshakeTimeout: ANSWER_DEADLINE_MS,
    });
  }
}

function endOf(problem: unknown): SessionEnd {
  const { code, reason, message } = problem as { code?: unknown; reason?: unknown; message?: unknown };
  const text = String(reason || message || `closed with ${String(code)}`);
  if (code === CloseCode.Unauthorized || code === CloseCode.Forbidden) return { kind: 'unauthenticated', reason: text };
  // An upgrade that is refused comes as an Error of ws with the status in its text.
  if (/Unexpected server response: 40[13]\b/.test(text)) return { kind: 'unauthenticated', reason: text };
  if (code === CloseCode.HostDeleted) return { kind: 'deleted', reason: text };
  if (code === CloseCode.ServiceRestart) return { kind: 'restart', reason: text };
  return { kind: 'lost', reason: text };
}

function refusalOf({ errors }: { readonly errors?: FormattedExecutionResult['errors'] | undefined }): ChannelError {
  const [error] = errors ?? [];
  const code = error?.extensions?.['code'];
  return new ChannelError(
    typeof code === 'string' ? code : 'INTERNAL',
    error?.message ?? 'control answered without data',
  );
}
