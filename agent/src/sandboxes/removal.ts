import type { SandboxSupervisor } from './sandbox.supervisor.ts';

/** Removes all sandboxes. @returns how many there were. */
export async function removeAll(supervisor: SandboxSupervisor): Promise<number> {
  const { sandboxes } = supervisor.inventory();
  await Promise.all(sandboxes.map(({ id, generation }) => supervisor.remove(id, generation)));
  return sandboxes.length;
}
