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

export interface SandboxSpec {
  readonly id: string;
  readonly name: string;
  readonly template: string;
  readonly vcpus: number;
  readonly memoryMb: number;
  readonly diskMb: number;
  readonly desiredState: 'RUNNING' | 'PAUSED';
}

export interface ExecRequest {
  readonly sandboxId: string;
  readonly command: readonly string[];
  readonly cwd?: string | null;
  readonly env?: readonly { name: string; value: string }[] | null;
  readonly stdin?: string | null;
  readonly timeoutMs: number;
  readonly maxOutputBytes: number;
}

export type ExecEvent =
  | { readonly kind: 'STDOUT' | 'STDERR'; readonly data: string }
  | {
      readonly kind: 'EXIT';
      readonly exitCode: number | null;
      readonly signal: string | null;
      readonly timedOut: boolean;
      readonly truncated: boolean;
    };

const OBSERVED = 'id generation epoch status statusReason startedAt lastActiveAt';
const INVENTORY = `query Inventory { inventory { epoch sandboxes { ${OBSERVED} } } }`;
const APPLY = `mutation ApplySandbox($spec: SandboxSpecInput!, $generation: Int!) {
  applySandbox(spec: $spec, generation: $generation) { ${OBSERVED} }
}`;
const REMOVE = `mutation RemoveSandbox($id: ID!, $generation: Int!) { removeSandbox(id: $id, generation: $generation) { id existed } }`;
const EXEC = `subscription Exec($input: ExecInput!) { exec(input: $input) { kind data exitCode signal timedOut truncated } }`;

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
    return checked(inventorySchema, await this.#request('inventory', INVENTORY, {}, deadlineMs));
  }

  /** Converges one sandbox; answers with what is there when it is done. */
  async applySandbox(spec: SandboxSpec, generation: number, deadlineMs: number): Promise<ObservedSandbox> {
    return checked(observedSandboxSchema, await this.#request('applySandbox', APPLY, { spec, generation }, deadlineMs));
  }

  /** Removes one sandbox and everything of it. */
  async removeSandbox(id: string, generation: number, deadlineMs: number): Promise<void> {
    await this.#request('removeSandbox', REMOVE, { id, generation }, deadlineMs);
  }

  /** Runs a command; the stream ends with its `EXIT`. Leaving it early kills the command. */
  exec(input: ExecRequest): AsyncIterableIterator<ExecEvent, undefined> & AsyncDisposable {
    let unsubscribe = (): void => {};
    const events = new PushIterator<ExecEvent>(() => unsubscribe());
    unsubscribe = this.#client.subscribe<{ exec: ExecEvent }>(
      { query: EXEC, variables: { input } },
      {
        next: ({ data, errors }) => {
          if (errors?.[0]) events.close(asRookeryError(errors));
          else if (data) events.push(data.exec);
        },
        error: (error) => events.close(asRookeryError(error)),
        complete: () => events.close(),
      },
    );
    return events;
  }

  #request<T>(field: string, query: string, variables: { [name: string]: unknown }, deadlineMs: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const deadline = setTimeout(() => {
        reject(new RookeryError('UNAVAILABLE', `The host did not answer ${field} in ${deadlineMs} ms.`));
        unsubscribe();
      }, deadlineMs);
      const unsubscribe = this.#client.subscribe<{ [name: string]: T }>(
        { query, variables },
        {
          next: ({ data, errors }) => {
            if (errors?.[0]) reject(asRookeryError(errors));
            else resolve(data?.[field] as T);
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
