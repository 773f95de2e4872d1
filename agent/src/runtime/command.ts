import { spawn } from 'node:child_process';
import { constants, access } from 'node:fs/promises';
import { join } from 'node:path';

/** How long a command of the runtime or of mount may take before it is killed, in ms; a healthy one takes 50. */
const COMMAND_TIMEOUT_MS = 30_000;

export interface CommandResult {
  /** Null when the command was killed. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a command to its end and collects what it says. Never rejects for an exit code.
 *
 * It gets a session of its own, so that Ctrl-C in the agent's terminal does not cut a runtime in
 * the middle of its work.
 *
 * @param quiet gives it `/dev/null` instead of pipes: what it leaves running must not hold ours.
 */
export function runCommand(binary: string, args: readonly string[], { quiet = false } = {}): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const out = quiet ? 'ignore' : 'pipe';
    const child = spawn(binary, args, { stdio: ['ignore', out, out], detached: true });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
    const deadline = setTimeout(() => child.kill('SIGKILL'), COMMAND_TIMEOUT_MS);
    child.once('error', (error) => {
      clearTimeout(deadline);
      reject(error);
    });
    child.once('close', (code) => {
      clearTimeout(deadline);
      resolve({ code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() });
    });
  });
}

/** The last line of a text that says anything. */
export const lastLine = (text: string): string | undefined =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)
    .at(-1);

/** The absolute path of an executable, or undefined. @param name a bare name, or a path. */
export async function findExecutable(name: string, searchPath: readonly string[]): Promise<string | undefined> {
  const candidates = name.includes('/') ? [name] : searchPath.map((dir) => join(dir, name));
  for (const candidate of candidates) {
    try {
      await access(candidate, constants.X_OK);
      return candidate;
    } catch {
      // Not here; the next directory may have it.
    }
  }
  return undefined;
}
