import { RookeryError } from '@rookery/wire/errors.ts';
import { z } from 'zod';
import { authorize, signedIn } from '../../kernel/authority.ts';
import { parseInput } from '../../kernel/input.ts';
import { UserError } from '../../kernel/user-errors.ts';
import type { Viewer } from '../../kernel/viewer.ts';
import type { EventHub } from '../../kernel/events/event-hub.ts';
import type { FleetDatabase, SandboxRow } from '../tables.ts';
import type { ExecEvent } from '../tunnels/host-client.ts';
import type { HostClientPool } from '../tunnels/host-client-pool.ts';
import type { SandboxOperations } from './sandbox-operations.service.ts';
import type { SandboxService } from './sandbox.service.ts';
import type { SandboxStatus } from './sandbox.state.ts';

/** The sandbox is in a state in which nothing can run in it. */
export class SandboxNotRunning extends UserError {
  readonly status: SandboxStatus;
  constructor({ status, statusReason }: SandboxRow) {
    super(
      'SANDBOX_NOT_RUNNING',
      `Cannot run a command in a sandbox that is ${status.toLowerCase()}.${statusReason ? ` ${statusReason}` : ''}`,
    );
    this.status = status;
  }
}

/** The sandbox's host cannot be reached at the moment, or was lost while the command ran. */
export class HostUnavailable extends UserError {
  constructor(message: string) {
    super('HOST_UNAVAILABLE', message);
  }
}

export interface ExecOutput {
  /** 128 + signal number when a signal ended the command, as shells have it. */
  readonly exitCode: number;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly truncated: boolean;
  readonly timedOut: boolean;
  readonly durationMs: number;
}

/** Output kept of each stream, in bytes; what comes after is dropped and said to be. */
export const MAX_OUTPUT_BYTES = 1024 * 1024;

/** How long a host may take beyond a command's own timeout to say that it ended, in ms. */
const EXEC_GRACE_MS = 10_000;

/** How long a command waits for a sandbox that is on its way to RUNNING, in ms. */
const START_WAIT_MS = 20_000;

const ON_THE_WAY: readonly SandboxStatus[] = ['PENDING', 'STARTING', 'RESUMING'];

const execInput = z.object({
  command: z.array(z.string().max(131_072)).min(1, 'must name a program').max(1_024),
  cwd: z.string().startsWith('/', 'must be an absolute path').max(4_096).nullish(),
  env: z
    .array(
      z.object({
        name: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is not a variable name'),
        value: z.string().max(131_072),
      }),
    )
    .max(256)
    .nullish(),
  stdin: z.string().max(1_048_576, 'must be at most 1 MiB').nullish(),
  timeoutSeconds: z
    .int()
    .min(1, 'must be at least 1')
    .max(240, 'must be at most 240')
    .nullish()
    .transform((seconds) => seconds ?? 60),
});

export interface ExecServiceDeps {
  readonly database: FleetDatabase;
  readonly hub: EventHub;
  readonly pool: HostClientPool;
  readonly sandboxes: SandboxService;
  readonly operations: SandboxOperations;
}

/** Runs commands in sandboxes, through the tunnel of their host. */
export class ExecService {
  readonly #deps: ExecServiceDeps;

  constructor(deps: ExecServiceDeps) {
    this.#deps = deps;
  }

  /**
   * Runs a command to its end and collects what it printed. Waits a while for a sandbox that is
   * still starting, and resumes one that was paused for being idle.
   *
   * @throws {InvalidInput | NotFound | NotPermitted | SandboxNotRunning | HostUnavailable}
   */
  async run(viewer: Viewer | null, sandboxId: string, input: unknown): Promise<ExecOutput> {
    return this.#run(viewer, sandboxId, input, true);
  }

  async #run(viewer: Viewer | null, sandboxId: string, input: unknown, mayWake: boolean): Promise<ExecOutput> {
    const someone = signedIn(viewer);
    const { command, cwd, env, stdin, timeoutSeconds } = parseInput(execInput, input);
    const sandbox = await this.#deps.sandboxes.find(someone, sandboxId);
    authorize(someone, 'sandbox:exec', sandbox ?? undefined, 'sandbox');
    const awake = await this.#deps.operations.wake(someone, sandbox as SandboxRow);
    const running = await this.#whenStarted(awake);
    if (running.status === 'MISSING') throw new HostUnavailable('The sandbox’s host has not been heard from.');
    if (running.status !== 'RUNNING') throw new SandboxNotRunning(running);
    const host = this.#deps.pool.get(running.hostId);
    if (!host) throw new HostUnavailable('The sandbox’s host is not connected.');

    const deadlineMs = timeoutSeconds * 1_000;
    try {
      await using events = host.exec({
        sandboxId,
        command,
        cwd: cwd ?? null,
        env: env ?? null,
        stdin: stdin ?? null,
        timeoutMs: deadlineMs,
        maxOutputBytes: MAX_OUTPUT_BYTES,
      });
      return await collect(events, deadlineMs + EXEC_GRACE_MS);
    } catch (error) {
      if (error instanceof RookeryError && error.code === 'UNAVAILABLE') throw new HostUnavailable(error.message);
      if (error instanceof RookeryError && (error.code === 'NOT_FOUND' || error.code === 'CONFLICT')) {
        // The host refused it, so it has not begun: it may just have been paused for being idle.
        const woken = mayWake ? await this.#deps.operations.wake(someone, running, true) : running;
        if (woken.generation > running.generation) return this.#run(viewer, sandboxId, input, false);
        throw new SandboxNotRunning({ ...running, status: 'STOPPED', statusReason: error.message });
      }
      throw error;
    }
  }

  async #whenStarted(sandbox: SandboxRow): Promise<SandboxRow> {
    const { hub, database } = this.#deps;
    const deadline = Date.now() + START_WAIT_MS;
    let current = sandbox;
    while (ON_THE_WAY.includes(current.status) && Date.now() < deadline) {
      const seen = hub.position;
      const row = await database.query
        .selectFrom('Sandbox')
        .selectAll()
        .where('id', '=', sandbox.id)
        .executeTakeFirst();
      if (!row) break;
      current = row;
      if (!ON_THE_WAY.includes(current.status)) break;
      await nextEvent(hub, seen, deadline - Date.now());
    }
    return current;
  }
}

/**
 * Collects a command's output to its end. The agent keeps to the bounds it was given; one that does
 * not (it may be a team's own) must not be able to fill this process or keep it waiting.
 */
async function collect(events: AsyncIterableIterator<ExecEvent, undefined>, deadlineMs: number): Promise<ExecOutput> {
  const startedAt = performance.now();
  const output = { STDOUT: new BoundedOutput(), STDERR: new BoundedOutput() };
  const deadline = setTimeout(() => void events.return?.(), deadlineMs);
  try {
    for await (const event of events) {
      if (event.kind !== 'EXIT') {
        output[event.kind].add(event.data);
        continue;
      }
      return {
        exitCode: event.exitCode ?? 255,
        signal: event.signal,
        timedOut: event.timedOut,
        truncated: event.truncated || output.STDOUT.truncated || output.STDERR.truncated,
        stdout: output.STDOUT.text(),
        stderr: output.STDERR.text(),
        durationMs: Math.round(performance.now() - startedAt),
      };
    }
  } finally {
    clearTimeout(deadline);
  }
  throw new HostUnavailable('The host was lost while the command ran; how it ended is not known.');
}

/** The beginning of a stream, up to {@link MAX_OUTPUT_BYTES}. */
class BoundedOutput {
  readonly #chunks: Buffer[] = [];
  #size = 0;
  truncated = false;

  add(base64: string): void {
    const room = MAX_OUTPUT_BYTES - this.#size;
    const chunk = Buffer.from(base64, 'base64');
    if (chunk.length > room) this.truncated = true;
    if (room <= 0) return;
    this.#chunks.push(chunk.subarray(0, room));
    this.#size += Math.min(chunk.length, room);
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}

function nextEvent(hub: EventHub, after: number, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timeout);
      stop();
      resolve();
    };
    const timeout = setTimeout(() => done(), Math.max(timeoutMs, 0));
    let stop = (): void => {};
    stop = hub.onNext(after, () => queueMicrotask(done));
  });
}
