import { StartupError } from '@rookery/wire/errors.ts';
import { readdir, stat } from 'node:fs/promises';
import { lastLines, runProgram } from './steps.ts';
import { step } from './terminal.ts';

interface Artifact {
  readonly workspace: string;
  readonly label: string;
  /** The file whose age tells when it was built last. */
  readonly output: string;
  readonly sources: readonly string[];
}

const ARTIFACTS: readonly Artifact[] = [
  {
    workspace: 'agent',
    label: 'Building the agent that other machines download',
    output: 'agent/dist/rookery-agent.mjs',
    sources: ['agent/src', 'agent/build.ts', 'agent/schema.graphql', 'wire/src'],
  },
  {
    workspace: 'web',
    label: 'Building the dashboard',
    output: 'web/build/index.html',
    sources: ['web/src', 'web/static', 'web/vite.config.ts', 'web/package.json'],
  },
];

/** Builds what has never been built, or has changed since. */
export async function buildWhatIsMissing({ dashboard }: { dashboard: boolean }, signal: AbortSignal): Promise<void> {
  for (const { workspace, label, output, sources } of ARTIFACTS) {
    if (workspace === 'web' && !dashboard) continue;
    const built = await modifiedAt(output);
    const changed = Math.max(...(await Promise.all(sources.map(newest))));
    if (built > changed) continue;
    await step(label, () => build(workspace, signal));
  }
}

async function build(workspace: string, signal: AbortSignal): Promise<void> {
  const { ok, output } = await runProgram('npm', ['run', 'build', '-w', workspace], signal);
  if (ok) return;
  throw new StartupError(
    `Building ${workspace} failed; "npm run build -w ${workspace}" says why:\n${lastLines(output, 15)}`,
  );
}

/** The newest modification of a file or of anything below a folder, in ms since the epoch; 0 when it is not there. */
async function newest(path: string): Promise<number> {
  const entries = await readdir(new URL(`../${path}`, import.meta.url), { recursive: true }).catch(() => []);
  const times = await Promise.all(entries.map((entry) => modifiedAt(`${path}/${entry}`)));
  return Math.max(await modifiedAt(path), 0, ...times);
}

async function modifiedAt(path: string): Promise<number> {
  return stat(new URL(`../${path}`, import.meta.url)).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
}
