import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What a story's directory still holds on this machine. */
export interface Leftovers {
  /** Names of containers. */
  readonly containers: string[];
  readonly mounts: string[];
  /** Command lines of processes that name the directory. */
  readonly processes: string[];
}

/** A port that nothing listens on at the moment. */
export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => probe.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

interface Process {
  readonly pid: number;
  readonly group: number;
  readonly command: string;
}

/** Every process that is alive; a zombie is not. */
async function processes(): Promise<Process[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (name) => {
      const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
      // The command name may hold spaces and brackets; fields are counted after its last bracket.
      const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (!stat || state === 'Z') return [];
      const command = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
      return [{ pid: Number(name), group: Number(group), command: command.replaceAll('\0', ' ').trim() }];
    }),
  );
  return found.flat();
}

/** The processes of a process group that are alive. */
export async function processesOfGroup(group: number): Promise<Process[]> {
  return (await processes()).filter((process) => process.group === group);
}

/** Processes whose command line names a directory: its PostgreSQL, its agents. */
export async function processesNaming(directory: string): Promise<Process[]> {
  return (await processes()).filter(({ pid, command }) => pid !== process.pid && command.includes(directory));
}

/** Names and states of the containers that the agent of a state directory runs. */
export async function containersOf(stateDir: string): Promise<{ id: string; status: string }[]> {
  const lists = await Promise.all(
    (await runtimesOf(stateDir)).map(async (runtime) => {
      const { stdout } = await run(runtime, ['--root', join(stateDir, 'oci', runtime), 'list', '--format', 'json']);
      return (JSON.parse(stdout) ?? []) as { id: string; status: string }[];
    }),
  );
  return lists.flat();
}

export async function leftovers(directory: string, stateDirs: readonly string[]): Promise<Leftovers> {
  const containers = await Promise.all(stateDirs.map(containersOf));
  return {
    containers: containers.flat().map(({ id }) => id),
    mounts: await mountsBelow(directory),
    processes: (await processesNaming(directory)).map(({ command }) => command),
  };
}

/** Ends and removes all that a story left behind. */
export async function wipe(directory: string, stateDirs: readonly string[]): Promise<void> {
  // Agents first: they would put back what is taken from them.
  for (const { pid } of await processesNaming(directory)) killIfAlive(pid);
  for (const stateDir of stateDirs) {
    for (const runtime of await runtimesOf(stateDir)) {
      for (const { id } of await containersOf(stateDir)) {
        await run(runtime, ['--root', join(stateDir, 'oci', runtime), 'delete', '--force', id]).catch(() => {});
      }
    }
  }
  for (const mount of (await mountsBelow(directory)).reverse()) await run('umount', ['--lazy', mount]).catch(() => {});
  for (const stateDir of stateDirs) await removeCgroups(stateDir);
  // A PostgreSQL that was killed a moment ago may still write.
  await rm(directory, { recursive: true, force: true, maxRetries: 5 });
}

/** OCI runtimes that a state directory has containers of. */
async function runtimesOf(stateDir: string): Promise<string[]> {
  return readdir(join(stateDir, 'oci')).catch(() => []);
}

async function mountsBelow(directory: string): Promise<string[]> {
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  return mounts
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${directory}/`));
}

/** The empty parent of an agent's cgroups, which it keeps for its return. */
async function removeCgroups(stateDir: string): Promise<void> {
  const name = `rookery-${createHash('sha256').update(stateDir).digest('hex').slice(0, 8)}`;
  const hierarchies = await readdir('/sys/fs/cgroup').catch(() => []);
  await Promise.all(
    ['.', ...hierarchies].map((hierarchy) => rmdir(join('/sys/fs/cgroup', hierarchy, name)).catch(() => {})),
  );
}

export function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
