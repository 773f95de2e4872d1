import { StartupError } from '@rookery/wire/errors.ts';
import { spawn } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { step } from './terminal.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

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
export async function buildWhatIsMissing({ dashboard }: { dashboard: boolean }): Promise<void> {
  for (const { workspace, label, output, sources } of ARTIFACTS) {
    if (workspace === 'web' && !dashboard) continue;
    const built = await modifiedAt(output);
    const changed = Math.max(...(await Promise.all(sources.map(newest))));
    if (built > changed) continue;
    await step(label, () => build(workspace));
  }
}

async function build(workspace: string): Promise<void> {
  const child = spawn('npm', ['run', 'build', '-w', workspace], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const code = await new Promise<number | null>((resolve, reject) =>
    child.once('error', reject).once('close', resolve),
  );
  if (code !== 0)
    throw new StartupError(
      `Building ${workspace} failed; "npm run build -w ${workspace}" says why:\n${output.split('\n').slice(-15).join('\n')}`,
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
