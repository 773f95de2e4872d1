import { StartupError } from '@rookery/wire/errors.ts';
import { spawn } from 'node:child_process';
import { ROOT } from './steps.ts';

/** The dashboard served from its sources, with hot reload. */
export interface DevServer extends AsyncDisposable {
  readonly url: string;
}

/** How long the dev server may take to say where it is, in ms. */
const START_DEADLINE_MS = 30_000;

/** Starts Vite's dev server, which passes API calls on to the gateway at `gatewayPort`. */
export async function startDevServer(gatewayPort: number): Promise<DevServer> {
  const vite = spawn('npm', ['run', 'dev', '-w', 'web'], {
    cwd: ROOT,
    env: { ...process.env, ROOKERY_PORT: String(gatewayPort), NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
    // npm and Vite in one group of their own, so that both can be stopped.
    detached: true,
  });
  const exited = new Promise<void>((resolve) => vite.once('exit', () => resolve()));
  let output = '';
  const url = await new Promise<string>((resolve, reject) => {
    const deadline = setTimeout(
      () => reject(new StartupError(`The dev server did not start:\n${output}`)),
      START_DEADLINE_MS,
    );
    void exited.then(() => reject(new StartupError(`The dev server ended:\n${output}`)));
    vite.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      const found = /Local:\s+(http\S+)/.exec(output)?.[1];
      if (!found) return;
      clearTimeout(deadline);
      resolve(found);
    });
  });
  return {
    url,
    async [Symbol.asyncDispose]() {
      if (vite.pid !== undefined && vite.exitCode === null && vite.signalCode === null)
        process.kill(-vite.pid, 'SIGTERM');
      await exited;
    },
  };
}
