import fc from 'fast-check';
import { afterAll, beforeAll, test } from 'vitest';
import { openTestDatabase } from '../../../test/harness.ts';
import { withEnrolment } from '../../../test/lifecycle/enrolment-world.ts';
import { hostCommands, type HostModel } from '../../../test/lifecycle/host-commands.ts';
import { LifecycleWorld } from '../../../test/lifecycle/lifecycle-world.ts';
import { runModel } from '../../../test/lifecycle/replay.ts';
import type { DatabaseConnection } from '../../database/database.ts';
import { SigningKeys } from '../../kernel/signing-keys.ts';

let connection: DatabaseConnection;

beforeAll(async () => {
  connection = await openTestDatabase();
});
afterAll(() => connection[Symbol.asyncDispose]());

test('whatever befalls hosts, each is what it was made to be, takes sandboxes exactly when it says so, and its books are right', async () => {
  const keys = new SigningKeys(connection);
  await runModel(
    fc.asyncProperty(fc.commands(hostCommands, { maxCommands: 50, size: 'max' }), async (commands) => {
      await using fleet = await LifecycleWorld.start(connection);
      const model: HostModel = { hosts: [], isByoc: true };
      await fc.asyncModelRun(() => ({ model, real: withEnrolment(fleet, connection, keys) }), commands);
    }),
    20,
  );
}, 180_000);
