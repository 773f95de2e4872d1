import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, open, readFile, rm, rmdir, statfs, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RookeryError } from '@rookery/wire/errors.ts';
import { findExecutable, lastLine, runCommand } from './command.ts';

/** Below this an ext4 has no room for its own tables, in MiB. */
const SMALLEST_DISK_MB = 16;

/** New disks are refused when the host has less than this left, in MiB: images are sparse and fill later. */
const HOST_RESERVE_MB = 64;

const IMAGE_OPTIONS = 'loop,nosuid,nodev,noatime';

/** How sandboxes' disks are limited: an ext4 image behind a loop device, or memory when there are none. */
export type DiskKind = 'ext4' | 'tmpfs';

/** Whether this machine can loop-mount ext4 images, and if not what it lacks. */
export async function findDiskKind(searchPath: readonly string[]): Promise<{ kind: DiskKind; missing?: string }> {
  if (!(await findExecutable('mkfs.ext4', searchPath)))
    return { kind: 'tmpfs', missing: 'mkfs.ext4 is missing: apt-get install -y e2fsprogs' };
  if (!existsSync('/dev/loop-control')) return { kind: 'tmpfs', missing: 'there are no loop devices: modprobe loop' };
  return { kind: 'ext4' };
}

/**
 * The writable root file system of one sandbox.
 *
 * An image of its own and not a quota: quotas need a file system the operator has set up for them,
 * and a sandbox that fills its image can never take space or inodes from another one. The image is
 * sparse and without a journal, so that making it takes some 10 ms.
 */
export class SandboxDisk {
  /** Where it is mounted. */
  readonly root: string;
  readonly #dir: string;
  readonly #image: string;
  /** Written when a disk is complete: an agent that dies while making one leaves none behind. */
  readonly #complete: string;

  constructor(dir: string) {
    this.#dir = dir;
    this.root = join(dir, 'rootfs');
    this.#image = join(dir, 'disk.img');
    this.#complete = join(dir, 'disk.complete');
  }

  /** Whether something of an earlier container is there to be used again. */
  get exists(): boolean {
    return existsSync(this.#complete);
  }

  /**
   * Mounts the disk, making it first when it is new.
   *
   * @param hostname what a new one says the sandbox is called.
   * @throws {RookeryError} with the reason.
   */
  async mount(kind: DiskKind, sizeMb: number, hostname: string): Promise<void> {
    if (this.exists && (await this.isMounted())) return;
    if (this.exists && existsSync(this.#image)) {
      await command('mount', ['-o', IMAGE_OPTIONS, this.#image, this.root]);
      return;
    }
    await this.unmount();
    await rm(this.#image, { force: true });
    await mkdir(this.root, { recursive: true, mode: 0o755 });
    if (kind === 'ext4') {
      await this.#format(sizeMb);
      await command('mount', ['-o', IMAGE_OPTIONS, this.#image, this.root]);
    } else {
      await command('mount', ['-t', 'tmpfs', '-o', `size=${sizeMb}m,mode=755,nosuid,nodev`, 'rookery', this.root]);
    }
    // INVARIANT: only a fresh disk is written to from outside. On one that a sandbox has used, any
    // path may be a symbolic link that leads out of it.
    await populate(this.root, hostname);
    await writeFile(this.#complete, '');
  }

  async unmount(): Promise<void> {
    if (!(await this.isMounted())) return;
    const { code } = await runCommand('umount', [this.root]);
    // Lazily, when something (a backup, a shell of the operator) still looks into it.
    if (code !== 0) await command('umount', ['-l', this.root]);
  }

  /** Deletes the disk and all that lies beside it. */
  async delete(): Promise<void> {
    await this.unmount();
    // Fails when it is not empty, which is what keeps a mount that we do not know of from being emptied.
    if (existsSync(this.root)) await rmdir(this.root);
    await rm(this.#dir, { recursive: true, force: true });
  }

  async isMounted(): Promise<boolean> {
    const mounts = await readFile('/proc/self/mountinfo', 'utf8');
    const escaped = this.root.replace(/[ \t\n\\]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`);
    return mounts.split('\n').some((line) => line.split(' ')[4] === escaped);
  }

  async #format(sizeMb: number): Promise<void> {
    const { bavail, bsize } = await statfs(this.#dir);
    if ((bavail * bsize) / 1024 ** 2 < HOST_RESERVE_MB)
      throw new RookeryError('UNAVAILABLE', "the host's disk is full");
    const image = await open(this.#image, 'wx', 0o600);
    await image.truncate(Math.max(sizeMb, SMALLEST_DISK_MB) * 1024 ** 2);
    await image.close();
    const options = ['-q', '-F', '-m', '0', '-O', '^has_journal', '-E', 'lazy_itable_init=1,nodiscard,root_owner=0:0'];
    await command('mkfs.ext4', [...options, this.#image]);
  }
}

async function command(binary: string, args: readonly string[]): Promise<void> {
  const { code, stderr } = await runCommand(binary, args);
  if (code !== 0) throw new RookeryError('UNAVAILABLE', lastLine(stderr) ?? `${binary} failed with exit code ${code}`);
}

/** Files of the host's /etc that programs from the host's /usr need, by copy because they are small. */
const COPIED_FILES = ['ld.so.cache', 'localtime', 'mime.types', 'protocols', 'services', 'shells', 'inputrc'];

const ETC: Readonly<Record<string, string>> = {
  passwd:
    'root:x:0:0:root:/root:/bin/sh\nsandbox:x:1000:1000:sandbox:/home/sandbox:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n',
  group: 'root:x:0:\ntty:x:5:\nsandbox:x:1000:\nnogroup:x:65534:\n',
  'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files\n',
  // Empty: a sandbox has no network, and a name should fail at once instead of after a timeout.
  'resolv.conf': '',
  profile: 'export PS1="\\u@\\h:\\w\\$ "\n',
};

/** Directories with their modes; everything that is not `/usr` is the sandbox's own. */
const DIRECTORIES: readonly (readonly [string, number])[] = [
  ...['dev', 'etc', 'etc/ssl', 'etc/ssl/certs', 'etc/alternatives', 'home', 'home/sandbox', 'media', 'mnt', 'opt'].map(
    (dir) => [dir, 0o755] as const,
  ),
  ...['proc', 'run', 'srv', 'sys', 'usr', 'var', 'var/cache', 'var/lib', 'var/log'].map((dir) => [dir, 0o755] as const),
  ['root', 0o700],
  ['tmp', 0o1777],
  ['var/tmp', 0o1777],
];

/** Lays out a fresh root file system around a `/usr` that is bound in later. */
async function populate(root: string, hostname: string): Promise<void> {
  await rm(join(root, 'lost+found'), { recursive: true, force: true });
  for (const [dir, mode] of DIRECTORIES) {
    await mkdir(join(root, dir));
    // mkdir's mode is cut by the umask.
    await chmod(join(root, dir), mode);
  }
  const links = ['bin', 'sbin', 'lib', 'lib64'].filter((name) => existsSync(`/usr/${name}`));
  await Promise.all([
    ...links.map((name) => symlink(`usr/${name}`, join(root, name))),
    ...Object.entries(ETC).map(([name, content]) => writeFile(join(root, 'etc', name), content, { mode: 0o644 })),
    writeFile(join(root, 'etc/hosts'), `127.0.0.1 localhost ${hostname}\n::1 localhost ${hostname}\n`, { mode: 0o644 }),
    writeFile(join(root, 'etc/hostname'), `${hostname}\n`, { mode: 0o644 }),
    ...COPIED_FILES.filter((name) => existsSync(`/etc/${name}`)).map((name) =>
      copyFile(`/etc/${name}`, join(root, 'etc', name)),
    ),
    symlink('/proc/self/mounts', join(root, 'etc/mtab')),
    symlink('/run', join(root, 'var/run')),
  ]);
}
