import { execFile } from 'node:child_process';
import { access, constants, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { done, step, warn } from './terminal.ts';

const run = promisify(execFile);

/** Looked at besides PATH: a user's PATH often lacks the directories of system programs. */
const SYSTEM_DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** The command that people are told to run. */
const INSTALL_COMMAND = 'apt-get update && apt-get install -y runc';

/**
 * Sees to it that this machine has an OCI runtime: installs `runc` where we may and know how, says
 * what to do elsewhere. Never fails: without a runtime the local host is online and takes no
 * sandboxes, and says why.
 */
export async function ensureOciRuntime(): Promise<void> {
  if (await findRuntime()) return;
  const isRoot = process.getuid?.() === 0;
  if (!isRoot || !(await isDebianLike())) {
    warn(
      `No OCI runtime is installed, so this machine cannot run sandboxes yet. Run: ${isRoot ? INSTALL_COMMAND : `sudo sh -c '${INSTALL_COMMAND}'`}`,
    );
    return;
  }
  try {
    await step('No OCI runtime is installed: installing runc with apt-get', async () => {
      const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
      await run('apt-get', ['update', '-q'], { env });
      await run('apt-get', ['install', '-y', '-q', '--no-install-recommends', 'runc'], { env });
    });
  } catch (error) {
    const detail = (error as { stderr?: string }).stderr?.trim().split('\n').at(-1) ?? String(error);
    warn(`runc could not be installed (${detail}). Run: ${INSTALL_COMMAND}`);
    return;
  }
  if (!(await findRuntime())) warn(`apt-get installed no usable runc. Run: ${INSTALL_COMMAND}`);
  else done('runc is installed');
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
