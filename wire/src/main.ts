import { StartupError } from './errors.ts';

/**
 * Runs a process's main function and sets its exit code: 0 when it returns, 1 when it throws. A
 * {@link StartupError} is one sentence for the operator; anything else is a fault of ours and comes
 * with its stack.
 */
export async function runMain(main: () => Promise<void>): Promise<void> {
  try {
    await main();
    process.exitCode ??= 0;
  } catch (error) {
    process.exitCode = 1;
    console.error(error instanceof StartupError ? error.message : error);
  }
}

/** Resolves when the process is asked to stop; a second request ends it at once. */
export function untilStopped(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(signal, () => {
        process.once(signal, () => process.exit(130));
        resolve(signal);
      });
    }
  });
}
