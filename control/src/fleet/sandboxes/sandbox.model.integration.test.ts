import fc from 'fast-check';
import { afterAll, beforeAll, test } from 'vitest';
import { openTestDatabase } from '../../../test/harness.ts';
import { LifecycleWorld } from '../../../test/lifecycle/lifecycle-world.ts';
import { runModel } from '../../../test/lifecycle/replay.ts';
import { sandboxCommands, settle, type SandboxModel } from '../../../test/lifecycle/sandbox-commands.ts';
import type { DatabaseConnection } from '../../database/database.ts';
import { PLACEMENT_STRATEGIES } from '../placement/placement.ts';

let connection: DatabaseConnection;

beforeAll(async () => {
  connection = await openTestDatabase();
});
afterAll(() => connection[Symbol.asyncDispose]());

test('whatever befalls sandboxes and their hosts, the books are right at every step, and all comes out as wished', async () => {
  await runModel(
    fc.asyncProperty(
      fc.constantFrom(...PLACEMENT_STRATEGIES),
      fc.commands(sandboxCommands, { maxCommands: 50, size: 'max' }),
      async (strategy, commands) => {
        await using world = await LifecycleWorld.start(connection, strategy);
        const model: SandboxModel = { wishes: new Map(), keys: new Map(), hosts: new Set() };
        for (const cpuCores of [2, 1, 3])
          model.hosts.add((await world.addMachine({ cpuCores, memoryMb: 2_048 })).hostId);
        await fc.asyncModelRun(() => ({ model, real: world }), commands);
        await settle(model, world);
      },
    ),
    7,
  );
}, 180_000);
