import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The root of the checkout. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** How a program that a step needed has ended. */
export interface ProgramResult {
  readonly ok: boolean;
  /** Both streams, as they came. */
  readonly output: string;
}

/**
 * Runs a program to its end and collects what it says. Aborting ends it, and rejects: it runs in a
 * session of its own, so that Ctrl-C in the terminal reaches it only through us.
 */
export async function runProgram(
  command: string,
  args: readonly string[],
  signal: AbortSignal,
  env: NodeJS.ProcessEnv = process.env,
): Promise<ProgramResult> {
  const child = spawn(command, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const stop = (): void => {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
  };
  signal.addEventListener('abort', stop);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  try {
    const code = await new Promise<number | null>((resolve, reject) =>
      child.once('error', reject).once('close', (exitCode) => resolve(exitCode)),
    );
    signal.throwIfAborted();
    return { ok: code === 0, output };
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** The end of a program's output, for a message. */
export const lastLines = (output: string, count: number): string => output.trim().split('\n').slice(-count).join('\n');
