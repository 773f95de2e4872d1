import { existsSync } from 'node:fs';
import type { Logger } from '@rookery/wire/log.ts';
import type { AgentConfig } from '../config.ts';
import { removeAgentCgroups } from '../runtime/cgroup.ts';
import { OciRuntimeFinder, type RuntimeFinder } from '../runtime/runtime-finder.ts';
import { removeAll } from '../sandboxes/removal.ts';
import { EpochCounter, SandboxStore } from '../sandboxes/sandbox.store.ts';
import { SandboxSupervisor } from '../sandboxes/sandbox.supervisor.ts';
import { Tombstones } from '../sandboxes/tombstones.ts';
import { createStateDir, lockStateDir, stateDirAt } from '../state-dir/state-dir.ts';
import { readBootId } from './host.ts';

/**
 * Destroys the sandboxes of a machine that has no credentials, with nobody to tell.
 *
 * @param finder default: the OCI runtimes of this machine.
 * @returns how many there were.
 * @throws {StartupError} while an agent runs.
 */
export async function destroyLeftovers(config: AgentConfig, log: Logger, finder?: RuntimeFinder): Promise<number> {
  if (!existsSync(stateDirAt(config.stateDir).sandboxes)) return 0;
  const state = await createStateDir(config.stateDir);
  const store = new SandboxStore(state.sandboxes, log);
  const lock = await lockStateDir(state);
  try {
    const supervisor = new SandboxSupervisor({
      store,
      tombstones: await Tombstones.open(state.tombstones),
      epoch: await EpochCounter.open(state.epoch),
      finder: finder ?? new OciRuntimeFinder(config, state, log),
      bootId: await readBootId(),
      log,
      onChange: () => {},
    });
    try {
      await supervisor.start();
      return await removeAll(supervisor);
    } finally {
      await supervisor[Symbol.asyncDispose]();
      await removeAgentCgroups(state.instance);
    }
  } finally {
    await lock[Symbol.asyncDispose]();
  }
}
