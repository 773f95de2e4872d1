import { createHash } from 'node:crypto';
import { readFile, statfs } from 'node:fs/promises';
import { cpus, hostname, loadavg, machine, release, totalmem, type } from 'node:os';
import type { RuntimeFinding } from '../runtime/runtime-finder.ts';
import { readFileIfThere } from '@rookery/wire/files.ts';
import { AGENT_VERSION } from '../embedded.ts';

/** Below this share of free disk the host asks for no more sandboxes. */
const DISK_PRESSURE_FREE = 0.05;
/** Below this share of available memory the host asks for no more sandboxes. */
const MEMORY_PRESSURE_FREE = 0.05;

const MIB = 1024 ** 2;

export interface AgentCondition {
  readonly type: 'NO_RUNTIME' | 'DISK_PRESSURE' | 'MEMORY_PRESSURE' | 'SANDBOX_RECORD_DAMAGED';
  /** With the command that fixes it, where there is one. */
  readonly message: string;
}

/** What a host is; the shape of the protocol. */
export interface HostSpecs {
  readonly hostname: string;
  readonly arch: string;
  readonly os: string;
  readonly kernel: string;
  readonly cpuCores: number;
  readonly memoryMb: number;
  readonly diskGb: number;
  readonly agentVersion: string;
  readonly bootId: string;
  /** See {@link readMachineId}. */
  readonly machineId: string | null;
  readonly runtime: { readonly name: string; readonly version: string } | null;
  readonly conditions: readonly AgentCondition[];
  /** Templates that sandboxes can be made of here. */
  readonly templates: readonly string[];
  /** Where the machine is, when its operator says so. */
  readonly provider: string | null;
  readonly availabilityZone: string | null;
}

export interface HostLoad {
  readonly load1: number;
  readonly memoryUsedMb: number;
  readonly diskUsedMb: number;
}

/**
 * Measures this machine.
 *
 * @param stateDir the file system that sandboxes' disks live on.
 */
export async function measureHost(
  stateDir: string,
  finding: RuntimeFinding,
  settings: {
    readonly provider: string | undefined;
    readonly zone: string | undefined;
    readonly machineId: string | undefined;
  },
): Promise<{ specs: HostSpecs; load: HostLoad }> {
  const [disk, memory, os, bootId, machineId] = await Promise.all([
    statfs(stateDir),
    readMemory(),
    readOsName(),
    readBootId(),
    readMachineId(settings.machineId),
  ]);
  const diskBytes = disk.blocks * disk.bsize;
  const diskFree = disk.bavail * disk.bsize;
  const { runtime } = finding;
  const conditions: AgentCondition[] = [];
  if (!runtime) conditions.push({ type: 'NO_RUNTIME', message: finding.problem });
  if (diskFree < diskBytes * DISK_PRESSURE_FREE) {
    conditions.push({
      type: 'DISK_PRESSURE',
      // Without figures: a condition that changes with every beat would be a change of the host with every beat.
      message: `Less than ${DISK_PRESSURE_FREE * 100} % of the disk of ${stateDir} is free.`,
    });
  }
  if (memory.available < memory.total * MEMORY_PRESSURE_FREE) {
    conditions.push({
      type: 'MEMORY_PRESSURE',
      message: `Less than ${MEMORY_PRESSURE_FREE * 100} % of the memory is available.`,
    });
  }
  return {
    specs: {
      hostname: hostname(),
      arch: machine(),
      os,
      kernel: release(),
      cpuCores: cpus().length,
      memoryMb: Math.floor(memory.total / MIB),
      diskGb: Math.floor(diskBytes / MIB / 1024),
      agentVersion: AGENT_VERSION,
      bootId,
      machineId,
      runtime: runtime ? { name: runtime.name, version: runtime.version } : null,
      conditions,
      templates: ['host'],
      provider: settings.provider ?? null,
      availabilityZone: settings.zone ?? null,
    },
    load: {
      load1: loadavg()[0] ?? 0,
      memoryUsedMb: Math.round((memory.total - memory.available) / MIB),
      diskUsedMb: Math.round((diskBytes - disk.bfree * disk.bsize) / MIB),
    },
  };
}

/** Identifies the running boot of this machine. */
export async function readBootId(): Promise<string> {
  return ((await readFileIfThere('/proc/sys/kernel/random/boot_id')) ?? 'unknown').trim();
}

/**
 * Identifies this machine, the same at every boot; null when it has nothing of the kind.
 *
 * systemd's machine id, hashed because it is not meant to leave the machine as it is. One that is made
 * up at each boot (`/run/machine-id`, on machines with a read-only `/etc`) would make a reboot look like
 * another machine, and counts as none.
 *
 * @param configured takes its place, for containers for example.
 */
export async function readMachineId(configured: string | undefined): Promise<string | null> {
  if (configured !== undefined) return configured;
  const [lasting, passing] = await Promise.all([readIfReadable('/etc/machine-id'), readIfReadable('/run/machine-id')]);
  const id = lasting?.trim();
  if (!id || id === 'uninitialized' || passing !== undefined) return null;
  return createHash('sha256').update(`rookery machine ${id}`).digest('hex').slice(0, 32);
}

const readIfReadable = (path: string): Promise<string | undefined> => readFileIfThere(path).catch(() => undefined);

/** `os.freemem` counts the page cache as used; `MemAvailable` is what can really be had. */
async function readMemory(): Promise<{ total: number; available: number }> {
  const text = await readFile('/proc/meminfo', 'utf8');
  const available = Number(/^MemAvailable:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
  return { total: totalmem(), available };
}

async function readOsName(): Promise<string> {
  const text = (await readFileIfThere('/etc/os-release')) ?? '';
  return /^PRETTY_NAME="?([^"\n]+)/m.exec(text)?.[1] ?? type();
}
