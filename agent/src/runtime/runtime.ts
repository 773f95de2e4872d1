/** What a runtime says of a container. `absent`: it does not know it. `stopped`: known, but its process is gone. */
export const CONTAINER_STATUSES = ['absent', 'running', 'paused', 'stopped'] as const;
export type ContainerStatus = (typeof CONTAINER_STATUSES)[number];

export interface ContainerSpec {
  /** Unique on this host; the runtime makes a safe file name of it. */
  readonly id: string;
  /** Becomes the host name inside. */
  readonly name: string;
  readonly template: string;
  /** Share of CPUs, for example 0.5. */
  readonly vcpus: number;
  /** Limit of memory and swap together, in MiB. */
  readonly memoryMb: number;
  /** Size of the writable root file system, in MiB. */
  readonly diskMb: number;
}

export interface ExecRequest {
  readonly command: readonly string[];
  /** Default `/root`. */
  readonly cwd?: string | undefined;
  readonly env?: readonly { readonly name: string; readonly value: string }[] | undefined;
  /** Written to standard input, which is then closed. */
  readonly stdin?: string | undefined;
  /** After this the command and all it started are killed, in ms. */
  readonly timeoutMs: number;
  /** Per stream; the rest is read and dropped. */
  readonly maxOutputBytes: number;
  /** Called when the command has begun, or is about to. */
  readonly onStarted?: (() => void) | undefined;
}

export type ExecEvent =
  | { readonly kind: 'STDOUT' | 'STDERR'; readonly data: Buffer }
  | {
      readonly kind: 'EXIT';
      /** Null when a signal ended the command. */
      readonly exitCode: number | null;
      readonly signal: string | null;
      readonly timedOut: boolean;
      readonly truncated: boolean;
    };

/**
 * What runs sandboxes. Every implementation passes `runtime.contract.test.ts`.
 *
 * All methods but {@link create} are idempotent. Expected failures are {@link RookeryError}s with a
 * reason in plain words.
 */
export interface Runtime {
  /** As control shows it: `runc`, `runsc`, `simulated`. */
  readonly name: string;
  readonly version: string;

  /**
   * Makes and starts a container; a disk that an earlier container of this id left is used again.
   * After a failure nothing of the attempt is left.
   */
  create(spec: ContainerSpec): Promise<void>;

  /** Freezes all processes; memory stays. */
  pause(id: string): Promise<void>;
  resume(id: string): Promise<void>;

  /** Kills and forgets the container but keeps its disk. */
  discard(id: string): Promise<void>;

  /** Kills and deletes everything, the disk included. */
  remove(id: string): Promise<void>;

  /** @throws when the runtime could not tell, which is not the same as `absent`. */
  state(id: string): Promise<ContainerStatus>;

  /** All containers of this agent, with one command. @throws when the runtime could not tell. */
  list(): Promise<ReadonlyMap<string, ContainerStatus>>;

  /**
   * Runs a command. The stream ends with one `EXIT`; leaving it early kills the command and
   * everything that it started. A command that cannot be started makes the first read reject.
   */
  exec(id: string, request: ExecRequest): AsyncIterableIterator<ExecEvent>;

  /**
   * Kills the commands that an agent which was itself killed has left running, with nobody to take
   * their output. What a command that had ended left in the background goes on, and so do the
   * commands of this agent. Harmless for a container that is not there.
   */
  endAbandonedExecs(id: string): Promise<void>;
}
