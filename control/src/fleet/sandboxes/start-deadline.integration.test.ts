import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openTestDatabase } from '../../../test/harness.ts';
import { LifecycleWorld, TERM } from '../../../test/lifecycle/lifecycle-world.ts';
import type { Machine } from '../../../test/lifecycle/machine.ts';
import type { DatabaseConnection } from '../../database/database.ts';
import { NoHostFits } from '../placement/placement.service.ts';
import { START_DEADLINE_MS } from './start-deadline.ts';
import { UNCONFIRMED_REASON } from './sandbox.state.ts';

let connection: DatabaseConnection;
let world: LifecycleWorld;
let machine: Machine;

beforeEach(async () => {
  connection = await openTestDatabase();
  world = await LifecycleWorld.start(connection);
  machine = await world.addMachine({ cpuCores: 128 });
});
afterEach(async () => {
  await world[Symbol.asyncDispose]();
  await connection[Symbol.asyncDispose]();
});

async function create(): Promise<string> {
  const size = { vcpus: 0.1, memoryMb: 64, diskMb: 64 };
  const { sandbox } = await world.sandboxes.create(world.admin, { teamId: world.teamId, ...size });
  await world.quiet();
  return sandbox.id;
}

const look = () => world.startDeadlines.pass(TERM);

describe('a sandbox whose host is heard and never says whether it has started it', () => {
  test('is in error after a while, with its place free, and counts as a failure of the host', async () => {
    machine.mood = 'DEAF';
    const id = await create();
    expect(await look()).toBe(0);
    world.pass(START_DEADLINE_MS - 1);
    expect(await look()).toBe(0);
    world.pass(1);
    expect(await look()).toBe(1);
    expect(await world.row(id)).toMatchObject({
      status: 'ERROR',
      statusReason: UNCONFIRMED_REASON,
      holdsReservation: false,
    });
    expect(await world.host(machine.hostId)).toMatchObject({ createFailures: 1, allocatedSandboxes: 0 });
    await world.check();
  });

  test('and has started it all the same: what nobody wants any more is removed there', async () => {
    machine.mood = 'MUTE';
    const id = await create();
    await look();
    world.pass(START_DEADLINE_MS);
    await look();
    expect([...machine.live.keys()]).toEqual([id]);
    machine.mood = 'WELL';
    for (let reading = 0; reading < 2; reading++) {
      await world.convergence.reconcile(machine.hostId, machine.inventory());
      await world.quiet();
    }
    expect(machine.live.size).toBe(0);
    expect((await world.row(id)).status).toBe('ERROR');
  });

  test('waits anew when the host was away meanwhile, or says that it is being started', async () => {
    machine.mood = 'DEAF';
    const id = await create();
    await look();
    world.pass(START_DEADLINE_MS - 1);
    await world.silence(machine.hostId);
    await look();
    machine.mood = 'WELL';
    await world.beat(machine.hostId);
    await world.dial(machine);
    await world.quiet();
    expect(await look()).toBe(0);
    world.pass(START_DEADLINE_MS);
    expect(await look()).toBe(0);
    expect((await world.row(id)).status).toBe('RUNNING');
  });

  test('three times in a row takes the host out of placement', async () => {
    machine.mood = 'DEAF';
    for (let n = 0; n < 3; n++) await create();
    await look();
    world.pass(START_DEADLINE_MS);
    expect(await look()).toBe(3);
    await expect(create()).rejects.toThrow(NoHostFits);
  });
});

describe('when a host has a thousand sandboxes that cannot be pushed', () => {
  /** Sandboxes that were made while their host could not be told. */
  async function waiting(on: Machine, count: number): Promise<void> {
    on.isConnected = false;
    const size = { vcpus: 0.1, memoryMb: 32, diskMb: 32 };
    const request = { teamId: world.teamId, hostId: on.hostId, ...size };
    for (let made = 0; made < count; made += 100)
      await Promise.all(Array.from({ length: 100 }, () => world.sandboxes.create(world.admin, request)));
    // Whoever makes one has it pushed at once, in vain.
    await world.quiet();
    on.isConnected = true;
  }

  test('each has one push at most under way or waiting, and no other host’s sandbox waits for them', async () => {
    await waiting(machine, 1_000);
    const held = Promise.withResolvers<void>();
    let asked = 0;
    machine.hold = () => {
      asked += 1;
      return held.promise;
    };
    const other = await world.addMachine();
    // Made before the others could be told of theirs, and not pushed by whoever made it.
    other.isConnected = false;
    const { sandbox } = await world.sandboxes.create(world.admin, {
      ...{ teamId: world.teamId, hostId: other.hostId },
      ...{ vcpus: 0.1, memoryMb: 64, diskMb: 64 },
    });
    await world.quiet();
    other.isConnected = true;
    for (let pass = 0; pass < 5; pass++) await world.convergence.converge();
    for (let n = 0; n < 5; n++) await world.convergence.reconcile(machine.hostId, machine.inventory());
    while ((await world.row(sandbox.id)).status !== 'RUNNING') await world.convergence.converge();
    // As many as one host is given at a time, however often it is asked for.
    expect(asked).toBeLessThanOrEqual(8);
    // What waits is still to be pushed once each, however often it was asked for; the host has gone by then.
    machine.isConnected = false;
    held.resolve();
    await world.quiet();
    expect(asked).toBeLessThanOrEqual(8);
  }, 60_000);

  test('however often one is pushed meanwhile, it is pushed once more', async () => {
    await waiting(machine, 100);
    const { id } = await world.database.query.selectFrom('Sandbox').select('id').executeTakeFirstOrThrow();
    const held = Promise.withResolvers<void>();
    let asked = 0;
    machine.hold = () => {
      asked += 1;
      return held.promise;
    };
    const pushes = Array.from({ length: 50 }, () => world.convergence.push(id));
    held.resolve();
    await Promise.all(pushes);
    expect(asked).toBe(2);
  });
});
