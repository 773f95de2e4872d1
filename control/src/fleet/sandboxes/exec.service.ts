import { RookeryError } from '@rookery/wire/errors.ts';
import { MAX_MESSAGE_BYTES } from '@rookery/wire/graphql-socket.ts';
import { endWith } from '@rookery/wire/push-iterator.ts';
import { z } from 'zod';
import { authorize, may, signedIn } from '../../kernel/authority.ts';
import { parseInput } from '../../kernel/input.ts';
import type { RightsAware } from '../../kernel/subgraph.ts';
import { InvalidInput, UserError } from '../../kernel/user-errors.ts';
import type { Viewer } from '../../kernel/viewer.ts';
import type { EventHub } from '../../kernel/events/event-hub.ts';
import type { FleetDatabase, SandboxRow } from '../tables.ts';
import { EXEC_BEGIN_MS, type ExecEvent } from '../tunnels/host-client.ts';
import type { HostClientPool } from '../tunnels/host-client-pool.ts';
import { collect, inChunks, MAX_OUTPUT_BYTES, withinTime, type ExecOutput } from './exec.output.ts';
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

/** How long a command may wait altogether until it begins, in ms: for a sandbox that is on its way to RUNNING, and for its host. */
const BEGIN_WITHIN_MS = EXEC_BEGIN_MS;

/** What is left of it for the host at least, in ms, when its sandbox has taken the rest. */
const MIN_HOST_MS = 5_000;

const ON_THE_WAY: readonly SandboxStatus[] = ['PENDING', 'STARTING', 'RESUMING'];

/** Longest argument or environment variable, in bytes; Linux takes 131,072 with the NUL at its end. */
const MAX_ARGUMENT_BYTES = 130_000;

/** All arguments and the environment together, in bytes: half of what Linux takes, for the rest is the host's. */
const MAX_ARGUMENTS_BYTES = 1_000_000;

const MAX_STDIN_BYTES = 1024 * 1024;

/** Largest request as it goes to the host, in bytes: a message that its socket would not take would cost it the tunnel. */
const MAX_REQUEST_BYTES = MAX_MESSAGE_BYTES - 64 * 1024;

/** Longest command whose output is collected, in seconds: its caller waits with an open request. */
const MAX_COLLECTED_SECONDS = 240;

/** Longest command whose output is streamed, in seconds. */
const MAX_STREAMED_SECONDS = 86_400;

const bytes = (text: string): number => Buffer.byteLength(text);

const execInput = (maxSeconds: number, defaultSeconds: number) =>
  z
    .object({
      command: z
        .array(z.string().refine((argument) => bytes(argument) <= MAX_ARGUMENT_BYTES, tooLong(MAX_ARGUMENT_BYTES)))
        .min(1, 'must name a program')
        .max(1_024),
      cwd: z.string().startsWith('/', 'must be an absolute path').max(4_096).nullish(),
      env: z
        .array(
          z
            .object({ name: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is not a variable name'), value: z.string() })
            .refine(({ name, value }) => bytes(`${name}=${value}`) <= MAX_ARGUMENT_BYTES, tooLong(MAX_ARGUMENT_BYTES)),
        )
        .max(256)
        .nullish(),
      stdin: z
        .string()
        .refine((text) => bytes(text) <= MAX_STDIN_BYTES, tooLong(MAX_STDIN_BYTES))
        .nullish(),
      timeoutSeconds: z
        .int()
        .min(1, 'must be at least 1')
        .max(maxSeconds, `must be at most ${maxSeconds}`)
        .nullish()
        .transform((seconds) => seconds ?? defaultSeconds),
    })
    .refine(
      ({ command, env }) =>
        [...command, ...(env ?? []).map(({ name, value }) => `${name}=${value}`)].reduce(
          (sum, text) => sum + bytes(text) + 1,
          0,
        ) <= MAX_ARGUMENTS_BYTES,
      { path: ['command'], error: `is too long: with the environment at most ${MAX_ARGUMENTS_BYTES} bytes` },
    )
    .refine((request) => bytes(JSON.stringify(request)) <= MAX_REQUEST_BYTES, {
      path: ['stdin'],
      error: 'is too long together with the command and its environment',
    });

function tooLong(limit: number): string {
  return `must be at most ${limit} bytes`;
}

type ExecRequestInput = z.output<ReturnType<typeof execInput>>;

const collectedInput = execInput(MAX_COLLECTED_SECONDS, 60);
const streamedInput = execInput(MAX_STREAMED_SECONDS, 3_600);

/** What a stream of a command delivers: its output, how it ended, or why it has none. */
export type ExecStreamItem = ExecEvent | UserError;

/** A command's output as it comes. */
export interface ExecStream extends AsyncIterableIterator<ExecStreamItem>, RightsAware {}

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
    const someone = signedIn(viewer);
    const sandbox = await this.#authorized(someone, sandboxId);
    const request = parseInput(collectedInput, input);
    try {
      const events = await this.#open(someone, sandbox, request, MAX_OUTPUT_BYTES);
      try {
        const output = await collect(events);
        if (!output) throw lost();
        return output;
      } finally {
        await events.return?.();
      }
    } catch (error) {
      throw asUserError(error, sandbox);
    }
  }

  /**
   * Runs a command and hands out its output as it comes, without a limit: whoever reads slowly slows
   * the command down. Leaving the stream kills the command. What a caller is expected to handle comes
   * as the one item of the stream, or as its last.
   *
   * @throws {RookeryError} `UNAUTHENTICATED`.
   */
  async stream(viewer: Viewer | null, sandboxId: string, input: unknown): Promise<ExecStream> {
    const someone = signedIn(viewer);
    try {
      const sandbox = await this.#authorized(someone, sandboxId);
      const request = parseInput(streamedInput, input);
      const events = await this.#open(someone, sandbox, request, null).catch((error: unknown) => {
        throw asUserError(error, sandbox);
      });
      const items = endWith<ExecStreamItem>(endingWithExit(inChunks(events)), (error) => {
        const known = asUserError(error, sandbox);
        if (known instanceof UserError) return known;
        throw known;
      });
      return withRights(items, (now) => now !== null && may(now, 'sandbox:exec', sandbox));
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      return withRights(only(error), () => true);
    }
  }

  async #authorized(viewer: Viewer | null, sandboxId: string): Promise<SandboxRow> {
    const someone = signedIn(viewer);
    const sandbox = (await this.#deps.sandboxes.find(someone, sandboxId)) ?? undefined;
    authorize(someone, 'sandbox:exec', sandbox, 'sandbox');
    return sandbox;
  }

  /**
   * Has the command begun when it resolves. A sandbox that is starting is waited for, one that was paused
   * for being idle is resumed, also when only its host knows that as yet.
   *
   * @throws {SandboxNotRunning | HostUnavailable | RookeryError} at the end of {@link BEGIN_WITHIN_MS} at the latest.
   */
  async #open(
    viewer: Viewer,
    sandbox: SandboxRow,
    request: ExecRequestInput,
    maxOutputBytes: number | null,
  ): Promise<AsyncIterableIterator<ExecEvent>> {
    const deadline = Date.now() + BEGIN_WITHIN_MS;
    const woken = await this.#woken(viewer, sandbox, false, deadline);
    try {
      return await this.#begin(woken, request, maxOutputBytes, deadline);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      // The host refused it, so it has not begun: it may just have been paused for being idle.
      const again = await this.#woken(viewer, woken, true, deadline);
      if (again.generation <= woken.generation) throw error;
      return this.#begin(again, request, maxOutputBytes, deadline);
    }
  }

  async #begin(
    sandbox: SandboxRow,
    { command, cwd, env, stdin, timeoutSeconds }: ExecRequestInput,
    maxOutputBytes: number | null,
    deadline: number,
  ): Promise<AsyncIterableIterator<ExecEvent>> {
    const running = await this.#whenStarted(sandbox, deadline);
    if (running.status === 'MISSING') throw new HostUnavailable('The sandbox’s host has not been heard from.');
    if (running.status !== 'RUNNING') throw new SandboxNotRunning(running);
    const host = await this.#deps.pool.find(running.hostId);
    if (!host) throw new HostUnavailable('The sandbox’s host is not connected.');
    const timeoutMs = timeoutSeconds * 1_000;
    const events = host.exec(
      {
        sandboxId: running.id,
        command,
        cwd: cwd ?? null,
        env: env ?? null,
        stdin: stdin ?? null,
        timeoutMs,
        maxOutputBytes,
      },
      Math.max(deadline - Date.now(), MIN_HOST_MS),
    );
    await events.begun;
    return withinTime(events, timeoutMs);
  }

  /** @param hostSays as in `SandboxOperations.wake`, which may wait longer than a command does. */
  async #woken(viewer: Viewer, sandbox: SandboxRow, hostSays: boolean, deadline: number): Promise<SandboxRow> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      const giveUp = () => reject(new HostUnavailable('The sandbox’s host has not resumed it in time.'));
      timer = setTimeout(giveUp, Math.max(deadline - Date.now(), MIN_HOST_MS));
    });
    try {
      return await Promise.race([this.#deps.operations.wake(viewer, sandbox, hostSays), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #whenStarted(sandbox: SandboxRow, deadline: number): Promise<SandboxRow> {
    const { hub, database } = this.#deps;
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

const lost = (): HostUnavailable =>
  new HostUnavailable('The host was lost while the command ran; how it ended is not known.');

/** Whether the host has refused to begin. */
const isRefusal = (error: unknown): boolean =>
  error instanceof RookeryError && (error.code === 'NOT_FOUND' || error.code === 'CONFLICT');

/** What went wrong on the host, as the caller is told; what is no news to a caller stays as it is. */
function asUserError(error: unknown, sandbox: SandboxRow): unknown {
  if (!(error instanceof RookeryError)) return error;
  switch (error.code) {
    case 'UNAVAILABLE':
      return new HostUnavailable(error.message);
    case 'BAD_USER_INPUT':
      return new InvalidInput(error.message, ['input']);
    case 'NOT_FOUND':
    case 'CONFLICT':
      return new SandboxNotRunning({ ...sandbox, status: 'STOPPED', statusReason: error.message });
    default:
      return error;
  }
}

/** A stream that ends without saying how its command did has lost it. */
function endingWithExit(events: AsyncIterator<ExecEvent>): AsyncIterator<ExecEvent> {
  let exited = false;
  return {
    async next() {
      const step = await events.next();
      if (step.done && !exited) throw lost();
      if (!step.done) exited = step.value.kind === 'EXIT';
      return step;
    },
    async return() {
      exited = true;
      await events.return?.();
      return { done: true, value: undefined };
    },
  };
}

async function* only<T>(item: T): AsyncGenerator<T, undefined> {
  yield item;
}

const withRights = (
  items: AsyncIterableIterator<ExecStreamItem>,
  mayGoOn: (viewer: Viewer | null) => boolean,
): ExecStream => Object.assign(items, { mayGoOn });

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
