import fc from 'fast-check';
import { afterAll, beforeAll, test } from 'vitest';
import { openTestDatabase } from '../../../test/harness.ts';
import { addHost, closeBooks, ledgerCommands } from '../../../test/lifecycle/ledger-commands.ts';
import { LedgerModel } from '../../../test/lifecycle/ledger-model.ts';
import { LifecycleWorld } from '../../../test/lifecycle/lifecycle-world.ts';
import { runModel } from '../../../test/lifecycle/replay.ts';
import type { DatabaseConnection } from '../../database/database.ts';
import { PLACEMENT_STRATEGIES } from './placement.ts';

let connection: DatabaseConnection;

beforeAll(async () => {
  connection = await openTestDatabase();
});
afterAll(() => connection[Symbol.asyncDispose]());

test('whatever happens, also at the same time, what is reserved is what lives, nothing is overbooked, and each reservation is given back once', async () => {
  await runModel(
    fc.asyncProperty(
      fc.constantFrom(...PLACEMENT_STRATEGIES),
      fc.commands(ledgerCommands, { maxCommands: 40, size: 'max' }),
      async (strategy, commands) => {
        await using world = await LifecycleWorld.start(connection, strategy);
        const model = new LedgerModel();
        for (const cpuCores of [2, 1, 3]) await addHost(model, world, cpuCores);
        await world.check();
        await fc.asyncModelRun(() => ({ model, real: world }), commands);
        await closeBooks(model, world);
      },
    ),
    8,
  );
}, 180_000);
