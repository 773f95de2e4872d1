import { RookeryError } from '@rookery/wire/errors.ts';
import { PushIterator } from '@rookery/wire/push-iterator.ts';
import type { Client } from 'graphql-ws';
import type { ObservedStatus } from '../sandboxes/sandbox.state.ts';

/** What an agent says about one of its sandboxes, as it comes over the wire. */
export interface ObservedSandbox {
  readonly id: string;
  readonly generation: number;
  readonly status: ObservedStatus;
  readonly statusReason?: string | null;
  readonly startedAt?: string | null;
  readonly lastActiveAt?: string | null;
}

/** Everything that a host has. */
export interface Inventory {
  /** Strictly growing per agent state directory, so that an older list is recognised. */
  readonly epoch: number;
  readonly bootId: string;
  readonly digest: string;
  readonly sandboxes: readonly ObservedSandbox[];
}

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

const OBSERVED = 'id generation status statusReason startedAt lastActiveAt';
const INVENTORY = `query Inventory { inventory { epoch bootId digest sandboxes { ${OBSERVED} } } }`;
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

  inventory(deadlineMs: number): Promise<Inventory> {
    return this.#request<Inventory>('inventory', INVENTORY, {}, deadlineMs);
  }

  /** Converges one sandbox; answers with what is there when it is done. */
  applySandbox(spec: SandboxSpec, generation: number, deadlineMs: number): Promise<ObservedSandbox> {
    return this.#request<ObservedSandbox>('applySandbox', APPLY, { spec, generation }, deadlineMs);
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
