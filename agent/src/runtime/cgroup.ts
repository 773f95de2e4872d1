import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long a killed command may take to be gone before we stop looking, in ms; a frozen one dies only when thawed. */
const KILL_WAIT_MS = 2_000;
const KILL_POLL_MS = 10;

/** Groups of execs are directories of this prefix below their container's cgroup. */
const EXEC_PREFIX = 'exec-';

/** Groups that an exec has made and may not have filled yet: not to be swept away under it. */
const groupsInUse = new Set<string>();

/** Where this machine keeps the cgroups the agent works with. */
export interface CgroupTree {
  readonly version: 1 | 2;
  /** The mount of the pids controller (v1) or of the unified hierarchy (v2). */
  readonly mount: string;
  /** Whether swap can be limited. */
  readonly swap: boolean;
}

/** Finds the cgroup hierarchy, or undefined when the machine has none. */
export async function findCgroups(): Promise<CgroupTree | undefined> {
  if (existsSync('/sys/fs/cgroup/cgroup.controllers')) return { version: 2, mount: '/sys/fs/cgroup', swap: true };
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  for (const line of mounts.split('\n')) {
    const [before, after] = line.split(' - ');
    const options = after?.split(' ')[2]?.split(',') ?? [];
    const mount = before?.split(' ')[4];
    if (mount && after?.startsWith('cgroup ') && options.includes('pids')) {
      return { version: 1, mount, swap: existsSync('/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes') };
    }
  }
  return undefined;
}

/**
 * The processes of one exec.
 *
 * Each exec runs in a cgroup of its own below its container's, because a cgroup is the only thing
 * that a process cannot leave: children inherit it, and neither a new session nor a double fork nor
 * the death of the parent takes them out (the sandbox sees no cgroup file system). Killing a process
 * group would miss daemons, and walking parent pids would miss orphans.
 */
export class ExecGroup {
  readonly #tree: CgroupTree;
  readonly #container: string;
  readonly #name: string;

  constructor(tree: CgroupTree, container: string, name: string) {
    this.#tree = tree;
    this.#container = container;
    this.#name = name;
  }

  /** @param containerPath the container's `cgroupsPath`. @param key unique within the container. */
  static async create(tree: CgroupTree, containerPath: string, key: string): Promise<ExecGroup> {
    const group = new ExecGroup(tree, join(tree.mount, containerPath), EXEC_PREFIX + key);
    // Before it is there: the release of another exec sweeps whatever it finds that nobody uses.
    groupsInUse.add(group.#path);
    try {
      await mkdir(group.#path);
    } catch (error) {
      groupsInUse.delete(group.#path);
      throw error;
    }
    return group;
  }

  /** The group of an exec that another agent has begun; it may be gone. */
  static existing(tree: CgroupTree, containerPath: string, key: string): ExecGroup {
    return new ExecGroup(tree, join(tree.mount, containerPath), EXEC_PREFIX + key);
  }

  /** The argument that makes `runc exec` start the process in this group. */
  get argument(): string {
    return this.#tree.version === 1 ? `pids:${this.#name}` : this.#name;
  }

  get #path(): string {
    return join(this.#container, this.#name);
  }

  /**
   * Kills every process of the group, until there is none left and none can come any more.
   *
   * @param isSettled whether the runtime has stopped putting processes into the group.
   */
  async kill(isSettled: () => boolean | Promise<boolean>): Promise<void> {
    // Without this a process that forks faster than we read would survive.
    await writeFile(join(this.#path, 'pids.max'), '0').catch(() => {});
    const deadline = Date.now() + KILL_WAIT_MS;
    while (Date.now() < deadline) {
      // Asked before the processes are read: what comes in between is seen in the next round.
      const settled = await isSettled();
      const pids = await this.#processes();
      if (pids.length === 0 && settled) return;
      for (const pid of pids) signal(pid);
      await sleep(KILL_POLL_MS);
    }
  }

  /** Ends the use of this group, and removes those of the container that have run empty. */
  async release(): Promise<void> {
    groupsInUse.delete(this.#path);
    const names = await readdir(this.#container).catch(() => []);
    const groups = names.filter((name) => name.startsWith(EXEC_PREFIX)).map((name) => join(this.#container, name));
    // One in which a command left something running stays until a later sweep finds it empty.
    await Promise.all(groups.filter((path) => !groupsInUse.has(path)).map((path) => rmdir(path).catch(() => {})));
  }

  async #processes(): Promise<number[]> {
    const text = await readFile(join(this.#path, 'cgroup.procs'), 'utf8').catch(() => '');
    return text.split('\n').filter(Boolean).map(Number);
  }
}

function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone in between.
  }
}

/** Removes the parent of an agent's cgroups where it is empty, in every hierarchy of v1; the next sandbox makes it again. */
export async function removeAgentCgroups(instance: string): Promise<void> {
  const parent = `rookery-${instance}`;
  const hierarchies = await readdir('/sys/fs/cgroup').catch(() => []);
  const paths = ['.', ...hierarchies].map((name) => join('/sys/fs/cgroup', name, parent));
  await Promise.all(paths.map((path) => rmdir(path).catch(() => {})));
}
