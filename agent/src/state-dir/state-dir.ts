import { createHash } from 'node:crypto';
import { access, constants, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { StartupError } from '@rookery/wire/errors.ts';
import { makeDirectory } from '@rookery/wire/files.ts';
import { acquireLock } from '@rookery/wire/process-lock.ts';

/** Everything one agent remembers, as paths. Two agents on one machine need two of these. */
export interface StateDir {
  readonly root: string;
  readonly hostKey: string;
  readonly credentials: string;
  /** What control said of them last, for `rookery-agent status`. */
  readonly credentialStatus: string;
  readonly requestSequence: string;
  readonly lock: string;
  readonly epoch: string;
  /** Of sandboxes that were removed. */
  readonly tombstones: string;
  /** One record per sandbox. */
  readonly sandboxes: string;
  /** Bundle, disk and root file system per container. */
  readonly containers: string;
  /** What the OCI runtime itself remembers (`--root`). */
  readonly runtimeState: string;
  /** Tells this agent's cgroups from those of another agent on the same machine. */
  readonly instance: string;
}

export function stateDirAt(root: string): StateDir {
  return {
    root,
    hostKey: join(root, 'host-key.json'),
    credentials: join(root, 'credentials.json'),
    credentialStatus: join(root, 'credential-status.json'),
    requestSequence: join(root, 'request-sequence'),
    lock: join(root, 'agent.pid'),
    epoch: join(root, 'epoch'),
    tombstones: join(root, 'tombstones'),
    sandboxes: join(root, 'sandboxes'),
    containers: join(root, 'containers'),
    runtimeState: join(root, 'oci'),
    instance: createHash('sha256').update(root).digest('hex').slice(0, 8),
  };
}

/** @throws {StartupError} while an agent runs on it. */
export const lockStateDir = ({ lock }: StateDir): ReturnType<typeof acquireLock> =>
  acquireLock(
    lock,
    (pid) =>
      `Another agent (pid ${pid}) already runs on this state directory; stop it first or choose another one with --state-dir.`,
  );

/** Removes what writes left that a crash has interrupted; there may be secrets in it. For whoever holds the lock. */
export async function removeUnfinishedWrites({ root, sandboxes }: StateDir): Promise<void> {
  for (const dir of [root, sandboxes])
    for (const name of await readdir(dir)) if (name.endsWith('.tmp')) await rm(join(dir, name), { force: true });
}

/**
 * Makes the state directory.
 *
 * @throws {StartupError} when it cannot be written.
 */
export async function createStateDir(root: string): Promise<StateDir> {
  const state = stateDirAt(root);
  try {
    // 0711: sandboxes' root file systems below must be reachable for runtimes that drop to another user.
    await makeDirectory(root, 0o711);
    for (const dir of [state.sandboxes, state.containers, state.runtimeState]) await makeDirectory(dir, 0o700);
    await access(root, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new StartupError(
      `The state directory ${root} cannot be written (${code ?? 'unknown error'}); run as root or choose another one with --state-dir.`,
      { cause },
    );
  }
  return state;
}
