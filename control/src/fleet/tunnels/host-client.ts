import { RookeryError } from '@rookery/wire/errors.ts';
import { PushIterator } from '@rookery/wire/push-iterator.ts';
import type { Client } from 'graphql-ws';
import type { z } from 'zod';
import {
  inventorySchema,
  observedSandboxSchema,
  type Inventory,
  type ObservedSandbox,
} from '../sandboxes/sandbox.report.ts';
import { APPLY_SANDBOX, EXEC, INVENTORY, REMOVE_SANDBOX } from './agent.operations.ts';
import type {
  ApplySandboxMutation,
  ApplySandboxMutationVariables,
  ExecInput,
  ExecSubscription,
  InventoryQuery,
  InventoryQueryVariables,
  RemoveSandboxMutation,
  RemoveSandboxMutationVariables,
  SandboxSpecInput,
} from './generated/agent-operations.ts';

export type ExecEvent =
  | { readonly kind: 'STDOUT' | 'STDERR'; readonly data: string }
  | {
      readonly kind: 'EXIT';
      readonly exitCode: number | null;
      readonly signal: string | null;
      readonly timedOut: boolean;
      readonly truncated: boolean;
    };

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

  /** Runs a command; the stream ends with its `EXIT`. Leaving it early kills the command. */
  exec(input: ExecInput): AsyncIterableIterator<ExecEvent, undefined> & AsyncDisposable {
    let unsubscribe = (): void => {};
    // Not at once: graphql-ws counts a subscription twice that is left while its last result is being handed out,
    // if its completion comes with it, and then closes the tunnel because nobody seems to need it.
    const events = new PushIterator<ExecEvent>(() => void setImmediate(() => unsubscribe()));
    unsubscribe = this.#client.subscribe<ExecSubscription>(
      { query: EXEC, variables: { input } },
      {
        next: ({ data, errors }) => {
          if (errors?.[0]) events.close(asRookeryError(errors));
          else if (data) events.push(toExecEvent(data.exec));
        },
        error: (error) => events.close(asRookeryError(error)),
        complete: () => events.close(),
      },
    );
    return events;
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
function toExecEvent({ kind, data, exitCode, signal, timedOut, truncated }: ExecSubscription['exec']): ExecEvent {
  return kind === 'EXIT'
    ? { kind, exitCode, signal, timedOut: timedOut ?? false, truncated: truncated ?? false }
    : { kind, data: data ?? '' };
}

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
