import { existsSync } from 'node:fs';
import { machine } from 'node:os';
import { seccompProfile } from './seccomp.ts';
import type { ContainerSpec } from './runtime.ts';

/** Processes and threads a sandbox may have at once: enough for a parallel build, too few for a fork bomb to hurt. */
const MAX_PIDS = 512;

/** The period of the CPU quota, in µs (the kernel's default). */
const CPU_PERIOD_US = 100_000;

/** Memory that `/dev/shm` may take of the sandbox's own limit, in KiB. */
const SHM_KB = 65_536;

/** What every command in a sandbox gets unless it says otherwise. */
export const DEFAULT_ENV: Readonly<Record<string, string>> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  USER: 'root',
  LANG: 'C.UTF-8',
};

/**
 * Process 1: waits for ever, and by waiting reaps whatever is orphaned to it. The shell's `wait`
 * takes any child that ends, not only the one it names. Ends at once on TERM.
 */
const INIT = "trap 'exit 0' TERM INT; while :; do sleep 1000000 & wait $!; done";

/** Host directories that are bound read-only besides `/usr`, where they exist. */
const BOUND_ETC = ['/etc/ssl/certs', '/etc/alternatives'];

const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];

const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

export interface BundleOptions {
  readonly root: string;
  readonly cgroupsPath: string;
  readonly cgroupVersion: 1 | 2;
  readonly limitSwap: boolean;
}

/** The OCI runtime specification (`config.json`) of a sandbox from the built-in `host` template. */
export function ociSpec(spec: ContainerSpec, { root, cgroupsPath, cgroupVersion, limitSwap }: BundleOptions): object {
  const memory = spec.memoryMb * 1024 ** 2;
  return {
    ociVersion: '1.0.2',
    hostname: hostName(spec.name),
    root: { path: root, readonly: false },
    process: {
      terminal: false,
      user: { uid: 0, gid: 0, umask: 0o022 },
      args: ['/bin/sh', '-c', INIT],
      env: Object.entries(DEFAULT_ENV).map(([name, value]) => `${name}=${value}`),
      cwd: '/',
      // Not one capability, though uid is 0: everything the sandbox may touch belongs to root, so
      // being the owner suffices to install software and edit files. What is lost (chown to others,
      // raw sockets, low ports, device nodes) is what a sandbox without a network can do without.
      capabilities: { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] },
      // Open files are left as the agent has them: raising them needs a capability that not every root has.
      rlimits: [{ type: 'RLIMIT_CORE', hard: 0, soft: 0 }],
      noNewPrivileges: true,
    },
    mounts: [
      mount('/proc', 'proc', ['nosuid', 'noexec', 'nodev']),
      mount('/dev', 'tmpfs', ['nosuid', 'noexec', 'strictatime', 'mode=755', 'size=64k']),
      mount('/dev/pts', 'devpts', ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5']),
      mount('/dev/shm', 'tmpfs', ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${SHM_KB}k`]),
      mount('/dev/mqueue', 'mqueue', ['nosuid', 'noexec', 'nodev']),
      mount('/sys', 'sysfs', ['nosuid', 'noexec', 'nodev', 'ro']),
      // Not recursive: what the operator has mounted below /usr stays outside.
      bind('/usr'),
      ...BOUND_ETC.filter((path) => existsSync(path)).map(bind),
    ],
    linux: {
      cgroupsPath,
      namespaces: [
        ...['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
        // A fresh network namespace has a loopback and nothing else: no way out, and none to the host.
        { type: 'network' },
        ...(cgroupVersion === 2 ? [{ type: 'cgroup' }] : []),
      ],
      resources: {
        devices: [{ allow: false, access: 'rwm' }],
        // `swap` is memory and swap together: the same number allows no swap at all.
        memory: { limit: memory, ...(limitSwap ? { swap: memory } : {}) },
        cpu: { period: CPU_PERIOD_US, quota: Math.max(1_000, Math.round(spec.vcpus * CPU_PERIOD_US)) },
        pids: { limit: MAX_PIDS },
      },
      rootfsPropagation: 'private',
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
      seccomp: seccompProfile(machine()),
    },
  };
}

const mount = (destination: string, type: string, options: readonly string[]): object => ({
  destination,
  type,
  source: type,
  options,
});

const bind = (path: string): object => ({
  destination: path,
  type: 'bind',
  source: path,
  options: ['bind', 'ro', 'nosuid', 'nodev'],
});

/** A name that `sethostname` and people's prompts take. */
export function hostName(name: string): string {
  const clean = name
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63);
  return clean === '' ? 'sandbox' : clean;
}
