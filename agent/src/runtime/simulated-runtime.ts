import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { RookeryError } from '@rookery/wire/errors.ts';
import { ExecStream } from './exec-stream.ts';
import type { ContainerSpec, ContainerStatus, ExecEvent, ExecRequest, Runtime } from './runtime.ts';

/** What a simulated command does: its output, how long it takes and how it ends. */
interface Script {
  readonly stdout?: string;
  readonly stderr?: string;
  readonly exitCode?: number;
  readonly durationMs?: number;
}

/**
 * A runtime that only remembers, for tests of everything above it and for simulating large fleets.
 * It knows a handful of commands: `echo`, `cat`, `true`, `false`, `sleep`, `sh -c "exit N"`.
 */
export class SimulatedRuntime implements Runtime {
  readonly name = 'simulated';
  readonly version = '1';
  readonly #containers = new Map<string, Exclude<ContainerStatus, 'absent'>>();
  /** What runs in which container. */
  readonly #commands = new Map<AbortController, string>();
  readonly #abandoned = new Set<AbortController>();

  async create(spec: ContainerSpec): Promise<void> {
    if (spec.template !== 'host')
      throw new RookeryError('BAD_USER_INPUT', `this host has no template "${spec.template}"`);
    if (this.#containers.has(spec.id)) throw new RookeryError('CONFLICT', 'a container of this id exists already');
    this.#containers.set(spec.id, 'running');
  }

  async pause(id: string): Promise<void> {
    this.#live(id);
    this.#containers.set(id, 'paused');
  }

  async resume(id: string): Promise<void> {
    this.#live(id);
    this.#containers.set(id, 'running');
  }

  async discard(id: string): Promise<void> {
    this.#containers.delete(id);
  }

  async remove(id: string): Promise<void> {
    this.#containers.delete(id);
  }

  async state(id: string): Promise<ContainerStatus> {
    return this.#containers.get(id) ?? 'absent';
  }

  async list(): Promise<ReadonlyMap<string, ContainerStatus>> {
    return new Map(this.#containers);
  }

  /** Makes a container's process end behind everybody's back. */
  crash(id: string): void {
    this.#live(id);
    this.#containers.set(id, 'stopped');
  }

  exec(id: string, request: ExecRequest): AsyncIterableIterator<ExecEvent> {
    const cancel = new AbortController();
    const stream = new ExecStream(request.maxOutputBytes, () => cancel.abort());
    this.#commands.set(cancel, id);
    void this.#play(id, request, stream, cancel.signal).finally(() => {
      this.#commands.delete(cancel);
      this.#abandoned.delete(cancel);
    });
    return stream.events;
  }

  async endAbandonedExecs(id: string): Promise<void> {
    for (const cancel of this.#abandoned) if (this.#commands.get(cancel) === id) cancel.abort();
  }

  /** As if the agent had been killed now: its commands go on, with nobody to take their output. */
  loseAgent(): void {
    for (const cancel of this.#commands.keys()) this.#abandoned.add(cancel);
  }

  async #play(id: string, request: ExecRequest, stream: ExecStream, signal: AbortSignal): Promise<void> {
    try {
      if (this.#live(id) === 'paused') throw new RookeryError('CONFLICT', 'The sandbox is paused.');
      request.onStarted?.();
      const { stdout = '', stderr = '', exitCode = 0, durationMs = 0 } = script(request);
      const timedOut = durationMs > request.timeoutMs;
      await sleep(Math.min(durationMs, request.timeoutMs), undefined, { signal });
      stream.attach('STDOUT', Readable.from([Buffer.from(stdout)]));
      stream.attach('STDERR', Readable.from([Buffer.from(stderr)]));
      await stream.finish(
        timedOut ? { exitCode: null, signal: 'SIGKILL', timedOut } : { exitCode, signal: null, timedOut },
      );
    } catch (error) {
      stream.fail(error);
    }
  }

  #live(id: string): ContainerStatus {
    const status = this.#containers.get(id);
    if (status !== 'running' && status !== 'paused') throw new RookeryError('NOT_FOUND', 'The sandbox is not running.');
    return status;
  }
}

function script({ command, stdin }: ExecRequest): Script {
  const [program = '', ...args] = command;
  switch (program) {
    case 'true':
      return {};
    case 'false':
      return { exitCode: 1 };
    case 'echo':
      return { stdout: `${args.join(' ')}\n` };
    case 'cat':
      return { stdout: stdin ?? '' };
    case 'sleep':
      return { durationMs: Number(args[0]) * 1_000 };
    case 'sh': {
      const code = /^exit (\d+)$/.exec(args[1] ?? '')?.[1];
      return code === undefined ? { stdout: `simulated: ${args[1]}\n` } : { exitCode: Number(code) };
    }
    default:
      return { stderr: `sh: 1: ${program}: not found\n`, exitCode: 127 };
  }
}
