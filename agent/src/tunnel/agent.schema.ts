import { RookeryError } from '@rookery/wire/errors.ts';
import { DocumentCache } from '@rookery/wire/graphql-operation.ts';
import { guardedSocketOptions } from '@rookery/wire/graphql-socket.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { mapIterator } from '@rookery/wire/push-iterator.ts';
import { SendWindow, STREAM_MESSAGE_BYTES, windowed } from '@rookery/wire/stream-window.ts';
import { buildSchema, execute, subscribe } from 'graphql';
import { makeServer, type Server } from 'graphql-ws';
import { AGENT_SDL } from '../embedded.ts';
import type { ExecEvent, ExecRequest } from '../runtime/runtime.ts';
import type { Inventory, ObservedSandbox } from '../sandboxes/inventory.ts';
import type { DesiredState, SandboxSpec } from '../sandboxes/sandbox.state.ts';
import type { SandboxSupervisor } from '../sandboxes/sandbox.supervisor.ts';

/** Longest command, in ms (a day); a longer one is a mistake or belongs into the background. */
const MAX_EXEC_MS = 86_400_000;

/** Largest window of a stream that is granted, in bytes: what a reader who has gone away can leave in our memory. */
const MAX_WINDOW_BYTES = 16 * 1024 * 1024;

/** What is, and as of which epoch. */
type DatedSandbox = ObservedSandbox & { readonly epoch: number };

/** What a stream of a command says; that it has begun, before everything else. */
type StreamEvent = ExecEvent | { readonly kind: 'STARTED' };

interface ExecEventPayload {
  readonly kind: StreamEvent['kind'];
  readonly data: string | null;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly timedOut: boolean | null;
  readonly truncated: boolean | null;
}

interface ExecInput extends Omit<ExecRequest, 'cwd' | 'env' | 'stdin' | 'maxOutputBytes' | 'onStarted'> {
  readonly sandboxId: string;
  readonly maxOutputBytes?: number | null;
  readonly streamId?: string | null;
  readonly windowBytes?: number | null;
  readonly cwd?: string | null;
  readonly env?: readonly { readonly name: string; readonly value: string }[] | null;
  readonly stdin?: string | null;
}

/** The resolvers of the private schema, one method per root field: graphql-js finds them on its root value. */
export class AgentRoot {
  readonly #supervisor: SandboxSupervisor;
  readonly #instance: string;
  readonly #onWelcome: () => void;
  /** Of the streams that are open, by the names that control has given them. */
  readonly #windows = new Map<string, SendWindow>();

  /**
   * @param instance  names this process to control.
   * @param onWelcome called when control has written down that it reaches this host.
   */
  constructor(supervisor: SandboxSupervisor, instance: string, onWelcome: () => void = () => {}) {
    this.#supervisor = supervisor;
    this.#instance = instance;
    this.#onWelcome = onWelcome;
  }

  welcome(): boolean {
    this.#onWelcome();
    return true;
  }

  inventory(): Omit<Inventory, 'sandboxes'> & { instance: string; sandboxes: DatedSandbox[] } {
    const inventory = this.#supervisor.inventory();
    return {
      ...inventory,
      instance: this.#instance,
      sandboxes: inventory.sandboxes.map((sandbox) => ({ ...sandbox, epoch: inventory.epoch })),
    };
  }

  async applySandbox({
    spec,
    generation,
  }: {
    spec: Omit<SandboxSpec, 'timeoutSeconds'> & { desiredState: DesiredState; timeoutSeconds?: number | null };
    generation: number;
  }): Promise<DatedSandbox> {
    const { desiredState, ...asked } = spec;
    const rest: SandboxSpec = { ...asked, timeoutSeconds: asked.timeoutSeconds ?? null };
    if (rest.vcpus <= 0 || rest.memoryMb <= 0 || rest.diskMb <= 0 || rest.id === '') {
      throw new RookeryError('BAD_USER_INPUT', 'A sandbox needs an id, and more than nothing of CPU, memory and disk.');
    }
    if (rest.timeoutSeconds !== null && rest.timeoutSeconds <= 0) {
      throw new RookeryError('BAD_USER_INPUT', 'The timeout must be more than nothing.');
    }
    const sandbox = await this.#supervisor.apply(rest, desiredState, generation);
    return { ...sandbox, epoch: this.#supervisor.inventory().epoch };
  }

  async removeSandbox({
    id,
    generation,
  }: {
    id: string;
    generation: number;
  }): Promise<{ id: string; existed: boolean }> {
    return { id, existed: await this.#supervisor.remove(id, generation) };
  }

  async exec({ input }: { input: ExecInput }): Promise<AsyncIterator<{ exec: ExecEventPayload }>> {
    if (input.command.length === 0) throw new RookeryError('BAD_USER_INPUT', 'The command is empty.');
    if (input.timeoutMs <= 0 || input.timeoutMs > MAX_EXEC_MS) {
      throw new RookeryError('BAD_USER_INPUT', `The timeout must be between 1 and ${MAX_EXEC_MS} ms.`);
    }
    const { streamId, maxOutputBytes, windowBytes } = input;
    if ((maxOutputBytes ?? 0) < 0) throw new RookeryError('BAD_USER_INPUT', 'The output limit must not be negative.');
    if (windowBytes != null && (windowBytes <= 0 || windowBytes > MAX_WINDOW_BYTES))
      throw new RookeryError('BAD_USER_INPUT', `The window must be between 1 and ${MAX_WINDOW_BYTES} bytes.`);
    if (streamId != null && this.#windows.has(streamId))
      throw new RookeryError('BAD_USER_INPUT', 'There is a stream of this name already.');
    const window = new SendWindow(windowBytes ?? Number.POSITIVE_INFINITY);
    if (streamId != null) this.#windows.set(streamId, window);
    const forget = (): void => {
      if (streamId != null) this.#windows.delete(streamId);
    };
    try {
      let onStarted = (): void => {};
      const begun = new Promise<void>((resolve) => (onStarted = resolve));
      const events = startingWith(begun, await this.#exec(input, onStarted));
      const sized = windowed(events, window, streamBytes, forget);
      return mapIterator(sized, (event) => ({ exec: toPayload(event) }));
    } catch (error) {
      forget();
      throw error;
    }
  }

  acknowledgeStream({ streamId, consumedBytes }: { streamId: string; consumedBytes: number }): boolean {
    const window = this.#windows.get(streamId);
    window?.acknowledge(consumedBytes);
    return window !== undefined;
  }

  #exec(input: ExecInput, onStarted: () => void): Promise<AsyncIterableIterator<ExecEvent>> {
    return this.#supervisor.exec(input.sandboxId, {
      command: input.command,
      cwd: input.cwd ?? undefined,
      env: input.env ?? undefined,
      stdin: input.stdin ?? undefined,
      timeoutMs: input.timeoutMs,
      maxOutputBytes: input.maxOutputBytes ?? Number.POSITIVE_INFINITY,
      onStarted,
    });
  }
}

let documents: DocumentCache | undefined;

/** One schema for all agents of a process: a simulation has thousands. */
const sharedDocuments = (): DocumentCache => (documents ??= new DocumentCache(buildSchema(AGENT_SDL)));

/** What the server knows of one tunnel. */
export interface TunnelExtra {
  /** Called when control asks something: the tunnel is admitted. */
  readonly onAsked: () => void;
}

/** The graphql-ws server that control talks to through the tunnel. */
export function agentServer(root: AgentRoot, log: Logger): Server<TunnelExtra> {
  const guarded = guardedSocketOptions(sharedDocuments(), log, () => ({}));
  return makeServer({
    ...guarded,
    // Ours and not graphql-ws' own, so that schema and executor are of one copy of graphql wherever modules are resolved differently.
    execute,
    subscribe,
    // No check of who is there: we have dialled, and TLS has said whom.
    async onSubscribe(socket, id, payload) {
      (socket.extra as TunnelExtra).onAsked();
      const args = await guarded.onSubscribe?.(socket as never, id, payload);
      return args && 'document' in args ? { ...args, rootValue: root } : args;
    },
  });
}

/** Says when the command has begun, so that control can tell one that prints nothing from one that does not start. */
function startingWith(begun: Promise<void>, events: AsyncIterator<ExecEvent>): AsyncIterator<StreamEvent> {
  let said = false;
  let first: Promise<IteratorResult<ExecEvent>> | undefined;
  return {
    async next() {
      if (said) {
        const step = first ?? events.next();
        first = undefined;
        return step;
      }
      said = true;
      first = events.next();
      // One that fails before it has begun has not begun.
      await Promise.race([begun, first]);
      return { done: false, value: { kind: 'STARTED' } };
    },
    async return() {
      await events.return?.();
      return { done: true, value: undefined };
    },
  };
}

const streamBytes = (event: StreamEvent): number => STREAM_MESSAGE_BYTES + ('data' in event ? event.data.length : 0);

const NOTHING = { data: null, exitCode: null, signal: null, timedOut: null, truncated: null };

function toPayload(event: StreamEvent): ExecEventPayload {
  if (event.kind === 'STARTED') return { ...NOTHING, kind: event.kind };
  if (event.kind === 'EXIT') return { ...event, data: null };
  return { ...NOTHING, kind: event.kind, data: event.data.toString('base64') };
}
