import { silentLogger } from '@rookery/wire/log.ts';
import type { AgentConfig } from '../config.ts';
import { CredentialStore } from '../enrolment/credential.store.ts';
import { findCgroups } from '../runtime/cgroup.ts';
import { findExecutable } from '../runtime/command.ts';
import { findDiskKind } from '../runtime/disk.ts';
import { OciRuntimeFinder, versionOf } from '../runtime/runtime-finder.ts';
import { stateDirAt } from '../state-dir/state-dir.ts';

interface Finding {
  readonly level: 'ok' | 'note' | 'missing';
  readonly text: string;
}

/** `rookery-agent doctor`: what this machine can do, and the command for what it lacks. @returns 1 when it cannot run sandboxes. */
export async function doctor(config: AgentConfig, say: (line: string) => void): Promise<number> {
  const isRoot = process.getuid?.() === 0;
  const findings: Finding[] = [
    { level: 'ok', text: `Node ${process.version}` },
    isRoot
      ? { level: 'ok', text: 'running as root' }
      : { level: 'missing', text: 'not root; run: sudo rookery-agent doctor' },
    await runtimeFinding('runc', config, 'shared kernel; for code you trust not to attack it: apt-get install -y runc'),
    await runtimeFinding('runsc', config, 'isolation for untrusted code: apt-get install -y runsc'),
    await cgroupFinding(),
    await diskFinding(config),
    ...(await controlFinding(config)),
  ];
  const usable = await new OciRuntimeFinder(config, stateDirAt(config.stateDir), silentLogger()).find();
  for (const { level, text } of findings) say(`${{ ok: ' ok ', note: 'note', missing: 'FAIL' }[level]}  ${text}`);
  say('');
  if (!usable.runtime) {
    say(`This machine cannot run sandboxes: ${usable.problem}`);
    return 1;
  }
  say(`This machine can run sandboxes with ${usable.runtime.name} ${usable.runtime.version}.`);
  return 0;
}

async function runtimeFinding(name: string, config: AgentConfig, whatFor: string): Promise<Finding> {
  const path = await findExecutable(name, config.searchPath);
  if (path === undefined) return { level: 'note', text: `${name} not found; ${whatFor}` };
  const version = await versionOf(path);
  return version === undefined
    ? { level: 'missing', text: `${path} does not run; reinstall it: apt-get install -y --reinstall ${name}` }
    : { level: 'ok', text: `${name} ${version} (${path})` };
}

async function cgroupFinding(): Promise<Finding> {
  const cgroups = await findCgroups();
  if (!cgroups)
    return {
      level: 'missing',
      text: 'no cgroups, so nothing can be limited; run: mount -t cgroup2 none /sys/fs/cgroup',
    };
  const swap = cgroups.swap ? '' : ', but swap is not limited; boot with: swapaccount=1';
  return { level: cgroups.swap ? 'ok' : 'note', text: `cgroup v${cgroups.version}${swap}` };
}

async function diskFinding(config: AgentConfig): Promise<Finding> {
  const { missing } = await findDiskKind(config.searchPath);
  return missing === undefined
    ? { level: 'ok', text: 'loop devices and mkfs.ext4, for size-limited disks' }
    : { level: 'note', text: `sandbox disks are kept in memory, because ${missing}` };
}

/** How long the control plane may take to answer, in ms. */
const ANSWER_MS = 3_000;

/** Whether the control plane of a machine that has joined one can be reached from here. */
async function controlFinding(config: AgentConfig): Promise<Finding[]> {
  const credentials = await new CredentialStore(stateDirAt(config.stateDir)).load().catch(() => undefined);
  if (!credentials) return [];
  const { controlUrl } = credentials;
  try {
    const { ok, status } = await fetch(`${controlUrl}/healthz`, { signal: AbortSignal.timeout(ANSWER_MS) });
    if (ok) return [{ level: 'ok', text: `the control plane at ${controlUrl} answers` }];
    return [{ level: 'missing', text: `${controlUrl} answers with HTTP ${status}; is it the control plane?` }];
  } catch (error) {
    const { cause, message } = error as Error;
    const reason = (cause as Error | undefined)?.message || message;
    return [{ level: 'missing', text: `the control plane at ${controlUrl} does not answer: ${reason}` }];
  }
}
