import { StartupError } from '@rookery/wire/errors.ts';
import { makeDirectory } from '@rookery/wire/files.ts';
import { acquireLock } from '@rookery/wire/process-lock.ts';
import { join } from 'node:path';

/**
 * Takes the data directory for this process, for as long as it is not disposed. What an earlier run
 * left running below it may be stopped by whoever holds it, and by nobody else.
 *
 * @throws {StartupError} when it cannot be written, or another Rookery has it.
 */
export async function claimDataDirectory(directory: string): Promise<AsyncDisposable> {
  try {
    await makeDirectory(directory, 0o755);
    return await acquireLock(
      join(directory, 'rookery.pid'),
      (pid) =>
        `Another Rookery (process ${pid}) uses the data directory ${directory}; stop it or set ROOKERY_DATA_DIR.`,
    );
  } catch (cause) {
    if (cause instanceof StartupError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    throw new StartupError(
      `The data directory ${directory} cannot be written (${code ?? 'unknown error'}); set ROOKERY_DATA_DIR to one that can.`,
      { cause },
    );
  }
}
