import { StartupError } from './errors.ts';

/** After everything is disposed nothing should hold the process; what still does gets this long, in ms. */
const EXIT_GRACE_MS = 1_000;

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
  setTimeout(() => process.exit(), EXIT_GRACE_MS).unref();
}

/** Signals within this time of the first are the same request: npm passes Ctrl-C on to us, who got it from the terminal too. In ms. */
const SAME_REQUEST_MS = 1_000;

/**
 * A signal that aborts when the process is asked to stop. Asking again later ends it at once.
 *
 * The handlers stay: without one, Node would end the process in the middle of stopping.
 */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  let askedAt: number | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      askedAt ??= Date.now();
      if (!stop.signal.aborted) stop.abort();
      else if (Date.now() - askedAt > SAME_REQUEST_MS) process.exit(130);
    });
  }
  return stop.signal;
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
