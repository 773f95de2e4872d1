import { access, constants, readFile } from 'node:fs/promises';
import { lastLines, runProgram } from './steps.ts';
import { done, step, warn } from './terminal.ts';

/** Looked at besides PATH: a user's PATH often lacks the directories of system programs. */
const SYSTEM_DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** The command that people are told to run. */
const INSTALL_COMMAND = 'apt-get update && apt-get install -y runc';

/**
 * Sees to it that this machine has an OCI runtime: installs `runc` where we may and know how, says
 * what to do elsewhere. Never fails: without a runtime the local host is online and takes no
 * sandboxes, and says why.
 */
export async function ensureOciRuntime(signal: AbortSignal): Promise<void> {
  if (await findRuntime()) return;
  const isRoot = process.getuid?.() === 0;
  if (!isRoot || !(await isDebianLike())) {
    warn(
      `No OCI runtime is installed, so this machine cannot run sandboxes yet. Run: ${isRoot ? INSTALL_COMMAND : `sudo sh -c '${INSTALL_COMMAND}'`}`,
    );
    return;
  }
  const problem = await step('No OCI runtime is installed: installing runc with apt-get', () => installRunc(signal));
  if (problem) return warn(`runc could not be installed (${problem}). Run: ${INSTALL_COMMAND}`);
  if (!(await findRuntime())) warn(`apt-get installed no usable runc. Run: ${INSTALL_COMMAND}`);
  else done('runc is installed');
}

/** @returns what went wrong. */
async function installRunc(signal: AbortSignal): Promise<string | undefined> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  // An update that fails is not the end: the package may be known from an earlier one.
  await runProgram('apt-get', ['update', '-q'], signal, env);
  const { ok, output } = await runProgram(
    'apt-get',
    ['install', '-y', '-q', '--no-install-recommends', 'runc'],
    signal,
    env,
  );
  return ok ? undefined : lastLines(output, 1);
}

async function findRuntime(): Promise<string | undefined> {
  const directories = [...(process.env['PATH'] ?? '').split(':'), ...SYSTEM_DIRECTORIES];
  for (const name of ['runc', 'runsc']) {
    for (const directory of directories) {
      const found = await access(`${directory}/${name}`, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (found) return `${directory}/${name}`;
    }
  }
  return undefined;
}

async function isDebianLike(): Promise<boolean> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release);
}
