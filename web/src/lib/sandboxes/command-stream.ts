import { stringifyDocument } from '@urql/core';
import type { Client } from 'graphql-ws';
import { ApiError, describeError, type WireError } from '#lib/gql/errors.ts';
import type { SandboxExecInput, SandboxExecSubscription as ExecData } from '#lib/gql/generated/graphql.ts';
import { closeCode, CLOSED_UNAUTHORIZED } from '#lib/live/connection.ts';
import { SandboxExecSubscription } from './sandbox.operations.ts';

type ExecEvent = ExecData['sandboxExec'];
export type OutputChunk = Extract<ExecEvent, { __typename: 'ExecOutputChunk' }>;
export type Exited = Extract<ExecEvent, { __typename: 'ExecExited' }>;

/** How a command came to its end. */
export type CommandEnd =
  | { readonly kind: 'exited'; readonly exit: Exited }
  /** Ended from here, which killed it. */
  | { readonly kind: 'stopped' }
  /** It did not start, or it was cut off. */
  | { readonly kind: 'failed'; readonly message: string };

/** What is said when nobody can tell any more how it went. */
export const LOST = 'The connection was lost, which stops the command.';

/**
 * Runs one command and hands out what it prints. Never rejects.
 *
 * No acknowledgements are needed: between browser and gateway the socket itself is what slows a command down that
 * prints more than is read.
 *
 * @param socket must not resubscribe by itself: the command would run again.
 * @param signal aborting it kills the command.
 */
export function runCommand(
  socket: Client,
  input: SandboxExecInput,
  onChunk: (chunk: OutputChunk) => void,
  signal: AbortSignal,
): Promise<CommandEnd> {
  return new Promise((resolve) => {
    let last: ExecEvent | null = null;
    let isOver = false;
    const leave = socket.subscribe<ExecData>(
      { query: stringifyDocument(SandboxExecSubscription), variables: { input } },
      {
        next: ({ data, errors }) => {
          if (errors?.length) return settle({ kind: 'failed', message: describe(errors) });
          if (signal.aborted || !data) return;
          if (data.sandboxExec.__typename === 'ExecOutputChunk') onChunk(data.sandboxExec);
          else last = data.sandboxExec;
        },
        error: (reason) => settle({ kind: 'failed', message: describe(reason) }),
        complete: () => settle(endOf(last)),
      },
    );
    const stop = () => settle({ kind: 'stopped' });
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();

    function settle(end: CommandEnd): void {
      // Leaving completes the sink, which comes back here.
      if (isOver) return;
      isOver = true;
      resolve(end);
      signal.removeEventListener('abort', stop);
      leave();
    }
  });
}

function endOf(last: ExecEvent | null): CommandEnd {
  if (last === null || last.__typename === 'ExecOutputChunk') return { kind: 'failed', message: LOST };
  if (last.__typename === 'ExecExited') return { kind: 'exited', exit: last };
  return { kind: 'failed', message: last.message };
}

function describe(reason: unknown): string {
  if (Array.isArray(reason)) return describeError(ApiError.fromGraphQL(reason as readonly WireError[]));
  if (closeCode(reason) === CLOSED_UNAUTHORIZED) return 'The session is over.';
  return LOST;
}
