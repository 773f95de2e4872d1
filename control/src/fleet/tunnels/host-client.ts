import { RookeryError } from '@rookery/wire/errors.ts';
import { mapIterator, PushIterator } from '@rookery/wire/push-iterator.ts';
import { ReceiveWindow, STREAM_MESSAGE_BYTES } from '@rookery/wire/stream-window.ts';
import { MAX_MESSAGE_BYTES } from '@rookery/wire/graphql-socket.ts';
import type { Client } from 'graphql-ws';
import { randomUUID } from 'node:crypto';
import type { z } from 'zod';
import {
  identitySchema,
  inventorySchema,
  observedSandboxSchema,
  type Inventory,
  type ObservedSandbox,
} from '../sandboxes/sandbox.report.ts';
import {
  ACKNOWLEDGE_STREAM,
  APPLY_SANDBOX,
  EXEC,
  IDENTITY,
  INVENTORY,
  REMOVE_SANDBOX,
  WELCOME,
} from './agent.operations.ts';
import type {
  AcknowledgeStreamMutation,
  AcknowledgeStreamMutationVariables,
  ApplySandboxMutation,
  ApplySandboxMutationVariables,
  ExecInput,
  ExecSubscription,
  IdentityQuery,
  IdentityQueryVariables,
  InventoryQuery,
  InventoryQueryVariables,
  RemoveSandboxMutation,
  RemoveSandboxMutationVariables,
  WelcomeMutation,
  WelcomeMutationVariables,
  SandboxSpecInput,
} from './generated/agent-operations.ts';

export type ExecEvent =
  | { readonly kind: 'STDOUT' | 'STDERR'; readonly data: Buffer }
  | {
      readonly kind: 'EXIT';
      readonly exitCode: number | null;
      readonly signal: string | null;
      readonly timedOut: boolean;
      readonly truncated: boolean;
    };

/**
 * Output of a command that may be under way from a host without having been consumed here, in bytes.
 * More lets a command run further ahead of a slow reader; less costs fast ones round trips.
 */
const EXEC_WINDOW_BYTES = 256 * 1024;

/** How long a host may take to begin with a command, in ms; how long that then takes is its caller's to say. */
export const EXEC_BEGIN_MS = 15_000;

/** How long a host may take to answer an acknowledgement, in ms; nobody waits for it. */
const ACKNOWLEDGE_DEADLINE_MS = 30_000;

/** What a command says. `begun` rejects when the host refuses it, or has not begun it in time. */
export interface ExecEvents extends AsyncIterableIterator<ExecEvent> {
  readonly begun: Promise<void>;
}

/** What to run; how much of its output is under way is not the caller's to say. */
export type ExecRequest = Omit<ExecInput, 'streamId' | 'windowBytes'>;

/**
 * One agent as control talks to it: the client side of the private schema in `agent/schema.graphql`.
 *
 * graphql-ws has no time limit of its own, so every call takes a deadline. After one that was missed
 * the outcome is unknown; generations make it safe to ask again.
 */
export class HostClient {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  async inventory(deadlineMs: number): Promise<Inventory> {
    const answer = await this.#request<InventoryQuery, InventoryQueryVariables>(INVENTORY, {}, deadlineMs);
    return checked(inventorySchema, answer.inventory);
  }

  /** Tells the agent that its host may be placed on. */
  async welcome(deadlineMs: number): Promise<void> {
    await this.#request<WelcomeMutation, WelcomeMutationVariables>(WELCOME, {}, deadlineMs);
  }

  /** Which agent process answers, and since which boot of its machine. */
  async identity(deadlineMs: number): Promise<{ readonly instance: string; readonly bootId: string }> {
    const answer = await this.#request<IdentityQuery, IdentityQueryVariables>(IDENTITY, {}, deadlineMs);
    return checked(identitySchema, answer.inventory);
  }

  /** Converges one sandbox; answers with what is there when it is done. */
  async applySandbox(spec: SandboxSpecInput, generation: number, deadlineMs: number): Promise<ObservedSandbox> {
    const answer = await this.#request<ApplySandboxMutation, ApplySandboxMutationVariables>(
      APPLY_SANDBOX,
      { spec, generation },
      deadlineMs,
    );
    return checked(observedSandboxSchema, answer.applySandbox);
  }

  /** Removes one sandbox and everything of it. */
  async removeSandbox(id: string, generation: number, deadlineMs: number): Promise<void> {
    await this.#request<RemoveSandboxMutation, RemoveSandboxMutationVariables>(
      REMOVE_SANDBOX,
      { id, generation },
      deadlineMs,
    );
  }

  /**
   * Runs a command; the stream ends with its `EXIT`. Leaving it early kills the command, reading it
   * slowly slows the command down.
   *
   * @param beginWithinMs a command that the host has not begun by then is given up as `UNAVAILABLE`.
   */
  exec(request: ExecRequest, beginWithinMs = EXEC_BEGIN_MS): ExecEvents {
    const streamId = randomUUID();
    const input: ExecInput = { ...request, streamId, windowBytes: EXEC_WINDOW_BYTES };
    let unsubscribe = (): void => {};
    let waiting = 0;
    // Not at once: graphql-ws counts a subscription twice that is left while its last result is being handed out,
    // if its completion comes with it, and then closes the tunnel because nobody seems to need it.
    const events = new PushIterator<ExecEvent>(() => {
      clearTimeout(deadline);
      setImmediate(() => unsubscribe());
    });
    const window = new ReceiveWindow(EXEC_WINDOW_BYTES, (total) => this.#acknowledge(streamId, total));
    const begun = Promise.withResolvers<void>();
    // Whoever reads hears of it anyway.
    begun.promise.catch(() => {});
    const close = (error?: RookeryError): void => {
      begun.reject(error ?? ended());
      events.close(error);
    };
    const deadline = setTimeout(() => close(notBegun(beginWithinMs)), beginWithinMs);
    unsubscribe = this.#client.subscribe<ExecSubscription>(
      { query: EXEC, variables: { input } },
      {
        next: ({ data, errors }) => {
          if (errors?.[0]) return close(asRookeryError(errors));
          if (!data) return;
          clearTimeout(deadline);
          begun.resolve();
          const { kind } = data.exec;
          if (kind === 'STARTED') return window.consumed(STREAM_MESSAGE_BYTES);
          const event = toExecEvent({ ...data.exec, kind });
          waiting += sizeOf(event);
          // An agent that does not keep to the window must not be able to fill this process.
          if (waiting > EXEC_WINDOW_BYTES + MAX_MESSAGE_BYTES) close(overrun());
          else events.push(event);
        },
        error: (error) => close(asRookeryError(error)),
        complete: () => close(),
      },
    );
    const consumed = mapIterator(events, (event) => {
      waiting -= sizeOf(event);
      window.consumed(sizeOf(event));
      return event;
    });
    return Object.assign(consumed, { begun: begun.promise });
  }

  #acknowledge(streamId: string, consumedBytes: number): void {
    this.#request<AcknowledgeStreamMutation, AcknowledgeStreamMutationVariables>(
      ACKNOWLEDGE_STREAM,
      { streamId, consumedBytes },
      ACKNOWLEDGE_DEADLINE_MS,
    ).catch(() => {
      // The stream itself tells that the connection broke, or has ended already.
    });
  }

  #request<Data, Variables extends Record<string, unknown>>(
    query: string,
    variables: Variables,
    deadlineMs: number,
  ): Promise<Data> {
    return new Promise<Data>((resolve, reject) => {
      const deadline = setTimeout(() => {
        reject(new RookeryError('UNAVAILABLE', `The host did not answer in ${deadlineMs} ms.`));
        unsubscribe();
      }, deadlineMs);
      const unsubscribe = this.#client.subscribe<Data>(
        { query, variables },
        {
          next: ({ data, errors }) => {
            if (errors?.[0]) reject(asRookeryError(errors));
            else if (data) resolve(data);
          },
          error: (error) => {
            clearTimeout(deadline);
            reject(asRookeryError(error));
          },
          complete: () => {
            clearTimeout(deadline);
            reject(new RookeryError('UNAVAILABLE', 'The host’s connection closed before it answered.'));
          },
        },
      );
    });
  }
}

/** What came, in a shape that says what each kind has. */
function toExecEvent({
  kind,
  data,
  exitCode,
  signal,
  timedOut,
  truncated,
}: ExecSubscription['exec'] & { kind: ExecEvent['kind'] }): ExecEvent {
  return kind === 'EXIT'
    ? { kind, exitCode, signal, timedOut: timedOut ?? false, truncated: truncated ?? false }
    : { kind, data: Buffer.from(data ?? '', 'base64') };
}

const sizeOf = (event: ExecEvent): number => STREAM_MESSAGE_BYTES + (event.kind === 'EXIT' ? 0 : event.data.length);

const ended = (): RookeryError => new RookeryError('UNAVAILABLE', 'The host’s connection closed before it answered.');

const notBegun = (ms: number): RookeryError =>
  new RookeryError('UNAVAILABLE', `The host has not begun with the command in ${Math.round(ms / 1_000)} s.`);

const overrun = (): RookeryError => new RookeryError('UNAVAILABLE', 'The host sent more output than it was asked for.');

/** An agent's answer, if it is one. */
function checked<T extends z.ZodType>(schema: T, answer: unknown): z.output<T> {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new RookeryError('UNAVAILABLE', 'The host answered something that is not of the protocol.', {
    cause: parsed.error,
  });
}

/** What graphql-ws reports is GraphQL errors, a close event or an exception. */
function asRookeryError(error: unknown): RookeryError {
  const [first] = Array.isArray(error) ? (error as { message: string; extensions?: { code?: string } }[]) : [];
  if (first) {
    const code = first.extensions?.code;
    return new RookeryError(
      code === 'NOT_FOUND' || code === 'CONFLICT' || code === 'BAD_USER_INPUT' ? code : 'UNAVAILABLE',
      first.message,
      { cause: error },
    );
  }
  return new RookeryError('UNAVAILABLE', 'The host’s connection broke before it answered.', { cause: error });
}
