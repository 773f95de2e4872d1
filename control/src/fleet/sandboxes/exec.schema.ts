import { fromGlobalId, NO_SUCH_ROW } from '../../kernel/global-id.ts';
import { InvalidInput, NotFound, NotPermitted, UserError } from '../../kernel/user-errors.ts';
import type { FleetBuilder } from '../builder.ts';
import type { ExecEvent } from '../tunnels/host-client.ts';
import { exitCodeOf, type ExecExit, type ExecOutput } from './exec.output.ts';
import { HostUnavailable, SandboxNotRunning, type ExecStreamItem } from './exec.service.ts';

type ExecChunk = Exclude<ExecEvent, { kind: 'EXIT' }>;

/** Commands in sandboxes: collected by a mutation, streamed by a subscription. */
export function addExec(builder: FleetBuilder): void {
  const ExecCompleted = builder.objectRef<ExecOutput>('ExecCompleted').implement({
    fields: (t) => ({
      exitCode: t.exposeInt('exitCode', { description: '128 + signal number when a signal ended the command.' }),
      signal: t.exposeString('signal', { nullable: true }),
      stdout: t.exposeString('stdout'),
      stderr: t.exposeString('stderr'),
      truncated: t.exposeBoolean('truncated', { description: 'Whether output beyond 1 MiB per stream was dropped.' }),
      timedOut: t.exposeBoolean('timedOut'),
      durationMs: t.exposeInt('durationMs'),
    }),
  });
  const ExecStreamName = builder.enumType('ExecStreamName', { values: ['STDOUT', 'STDERR'] as const });
  const ExecOutputChunk = builder.objectRef<ExecChunk>('ExecOutputChunk').implement({
    description: 'Some of what a command has printed.',
    fields: (t) => ({
      stream: t.field({ type: ExecStreamName, resolve: ({ kind }) => kind }),
      data: t.string({
        description:
          'The bytes as base64, at most 32 KiB of them. A chunk may end in the middle of a character: put the bytes of a stream together before reading them as text.',
        resolve: ({ data }) => data.toString('base64'),
      }),
    }),
  });
  const ExecExited = builder.objectRef<ExecExit>('ExecExited').implement({
    description: 'The command has ended; always the last event of its stream.',
    fields: (t) => ({
      exitCode: t.int({
        description: '128 + signal number when a signal ended the command.',
        resolve: exitCodeOf,
      }),
      signal: t.exposeString('signal', { nullable: true }),
      timedOut: t.exposeBoolean('timedOut'),
    }),
  });
  const SandboxExecEvent = builder.unionType('SandboxExecEvent', {
    description: 'A failure is the only event of its stream, or the last one: HostUnavailable when the host is lost.',
    types: [
      ExecOutputChunk,
      ExecExited,
      InvalidInput,
      NotFound,
      NotPermitted,
      SandboxNotRunning,
      HostUnavailable,
    ] as const,
    resolveType: (item) => (item as unknown as StreamValue).typeName as never,
  });

  const EnvVarInput = builder.inputType('EnvVarInput', {
    fields: (t) => ({ name: t.string({ required: true }), value: t.string({ required: true }) }),
  });
  const ExecInSandboxInput = builder.inputType('ExecInSandboxInput', {
    fields: (t) => ({
      sandboxId: t.id({ required: true }),
      command: t.stringList({ required: true, description: 'Program and arguments; no shell in between.' }),
      cwd: t.string({ description: '/root when not given.' }),
      env: t.field({ type: [EnvVarInput] }),
      stdin: t.string(),
      timeoutSeconds: t.int({ defaultValue: 60, description: 'At most 240.' }),
    }),
  });
  const SandboxExecInput = builder.inputType('SandboxExecInput', {
    fields: (t) => ({
      sandboxId: t.id({ required: true }),
      command: t.stringList({ required: true, description: 'Program and arguments; no shell in between.' }),
      cwd: t.string({ description: '/root when not given.' }),
      env: t.field({ type: [EnvVarInput] }),
      stdin: t.string(),
      timeoutSeconds: t.int({ defaultValue: 3_600, description: 'At most 86,400: a day.' }),
    }),
  });

  builder.mutationFields((t) => ({
    execInSandbox: t.field({
      type: ExecCompleted,
      description:
        'Runs a command to its end and answers with what it printed. Waits for a sandbox that is still starting, and resumes one that was paused for being idle.',
      errors: {
        types: [InvalidInput, NotFound, NotPermitted, SandboxNotRunning, HostUnavailable],
        union: { name: 'ExecInSandboxResult' },
      },
      args: { input: t.arg({ type: ExecInSandboxInput, required: true }) },
      resolve: (_root, { input: { sandboxId, ...input } }, { viewer, services }) =>
        services.exec.run(viewer, fromGlobalId('Sandbox', sandboxId) ?? NO_SUCH_ROW, input),
    }),
  }));

  builder.subscriptionFields((t) => ({
    sandboxExec: t.field({
      type: SandboxExecEvent,
      description:
        'Runs a command and hands out what it prints as it comes, without a limit: reading slowly slows the command down. Leaving the subscription kills the command and all it has started. It cannot be resumed.',
      args: { input: t.arg({ type: SandboxExecInput, required: true }) },
      subscribe: (_root, { input: { sandboxId, ...input } }, { viewer, services }) =>
        services.exec.stream(viewer, fromGlobalId('Sandbox', sandboxId) ?? NO_SUCH_ROW, input),
      resolve: (item) => asValue(item) as never,
    }),
  }));
}

/** An item with the name of its type. */
type StreamValue = Readonly<Record<string, unknown>> & { readonly typeName: string };

function asValue(item: ExecStreamItem): StreamValue {
  // A copy, because graphql-js throws whatever is an Error, also where the schema has a type for it.
  if (item instanceof UserError) return { ...item, message: item.message, typeName: item.name };
  return { ...item, typeName: item.kind === 'EXIT' ? 'ExecExited' : 'ExecOutputChunk' };
}
