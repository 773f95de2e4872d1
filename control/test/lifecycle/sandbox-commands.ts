import fc from 'fast-check';
import { expect } from 'vitest';
import { HostHasSandboxes } from '../../src/fleet/hosts/host-deletion.service.ts';
import { NoHostFits } from '../../src/fleet/placement/placement.service.ts';
import { SandboxNotPausable, SandboxNotResumable } from '../../src/fleet/sandboxes/sandbox-operations.service.ts';
import { isEnded, type DesiredState } from '../../src/fleet/sandboxes/sandbox.state.ts';
import { START_DEADLINE_MS } from '../../src/fleet/sandboxes/start-deadline.ts';
import type { SandboxRow } from '../../src/fleet/tables.ts';
import { NotFound } from '../../src/kernel/user-errors.ts';
import type { LifecycleWorld } from './lifecycle-world.ts';
import { TERM } from './lifecycle-world.ts';
import { MOODS, type Machine } from './machine.ts';

/** What people may rely on, without knowing how it is done. */
export interface SandboxModel {
  /** Newest wish for each sandbox; `null` when it has ended by itself, so that none counts any more. */
  readonly wishes: Map<string, DesiredState>;
  /** Which sandbox a key has made. */
  readonly keys: Map<string, string>;
  readonly hosts: Set<string>;
}

export type SandboxCommand = fc.AsyncCommand<SandboxModel, LifecycleWorld>;

const pickOf = <T>(items: readonly T[], index: number): T | undefined => items[index % Math.max(items.length, 1)];

/** Whatever a command does, the invariants hold after it. */
function command(
  name: string,
  act: (model: SandboxModel, world: LifecycleWorld) => Promise<void>,
  isPossible: (model: Readonly<SandboxModel>) => boolean = () => true,
): SandboxCommand {
  return {
    check: isPossible,
    toString: () => name,
    run: async (model, world) => {
      await act(model, world);
      await world.quiet();
      await world.check();
    },
  };
}

const ofHost = (
  name: string,
  host: number,
  act: (machine: Machine, world: LifecycleWorld, model: SandboxModel) => Promise<unknown>,
): SandboxCommand =>
  command(
    `${name}(${host})`,
    async (model, world) => {
      const machine = world.machines.get(pickOf([...model.hosts], host) ?? '');
      if (machine) await act(machine, world, model);
    },
    ({ hosts }) => hosts.size > 0,
  );

async function create(model: SandboxModel, world: LifecycleWorld, cpu: number, key: number | null): Promise<void> {
  const idempotencyKey = key === null ? null : `key ${key}`;
  const size = { vcpus: key === null ? cpu : 0.5, memoryMb: 256, diskMb: 64 };
  const known = idempotencyKey === null ? undefined : model.keys.get(idempotencyKey);
  try {
    const { sandbox } = await world.sandboxes.create(world.admin, { teamId: world.teamId, idempotencyKey, ...size });
    if (known !== undefined) {
      expect(sandbox.id, 'the same key makes the same sandbox').toBe(known);
      return;
    }
    model.wishes.set(sandbox.id, 'RUNNING');
    if (idempotencyKey !== null) model.keys.set(idempotencyKey, sandbox.id);
  } catch (error) {
    if (!(error instanceof NoHostFits)) throw error;
    expect(known, 'what a key has made is there whether or not there is a place').toBeUndefined();
  }
}

async function wish(model: SandboxModel, world: LifecycleWorld, which: number, desired: DesiredState): Promise<void> {
  const id = pickOf([...model.wishes.keys()], which);
  if (id === undefined) return;
  const before = await world.row(id);
  const ask = {
    RUNNING: () => world.sandboxOperations.resume(world.admin, id),
    PAUSED: () => world.sandboxOperations.pause(world.admin, id),
    DESTROYED: () => world.sandboxes.destroy(world.admin, id),
  }[desired];
  const isOver = isEnded(before.status) || before.desiredState === 'DESTROYED';
  try {
    await ask();
    if (desired !== 'DESTROYED') expect(isOver, `${desired} of one that is ${before.status}`).toBe(false);
    model.wishes.set(id, desired);
  } catch (error) {
    if (error instanceof NotFound) expect(before.deletedAt).not.toBeNull();
    else if (error instanceof SandboxNotPausable || error instanceof SandboxNotResumable) expect(isOver).toBe(true);
    else throw error;
  }
}

const index = fc.nat({ max: 7 });
const host = fc.nat({ max: 2 });
const newOne = fc.record({
  cpu: fc.constantFrom(0.5, 1, 2),
  key: fc.option(fc.nat({ max: 2 }), { freq: 2 }),
});
const newWish = fc.record({
  which: index,
  desired: fc.constantFrom<DesiredState[]>('RUNNING', 'PAUSED', 'PAUSED', 'DESTROYED'),
});

const newCreate = newOne.map(({ cpu, key }) =>
  command(`create(${cpu}, ${key})`, (model, world) => create(model, world, cpu, key)),
);
const wishFor = newWish.map(({ which, desired }) =>
  command(`wish(${which}, ${desired})`, (model, world) => wish(model, world, which, desired)),
);
const newInventory = host.map((n) =>
  ofHost('inventory', n, (machine, world) => world.convergence.reconcile(machine.hostId, machine.inventory())),
);
/** What every host had before something happened arrives after it. */
const overtaken = fc.record({ act: fc.oneof(newCreate, wishFor), full: fc.boolean() }).map(({ act, full }) =>
  command(`before ${act.toString()} ${full ? 'all' : 'some'} was said`, async (model, world) => {
    const said = [...model.hosts].map((hostId) => ({
      hostId,
      inventory: (world.machines.get(hostId) as Machine).inventory(),
    }));
    await act.run(model, world);
    for (const { hostId, inventory } of said) {
      if (full) await world.convergence.reconcile(hostId, inventory);
      else await world.convergence.report(hostId, inventory.sandboxes);
    }
  }),
);
const newMood = fc
  .record({ host, mood: fc.constantFrom(...MOODS) })
  .map(({ host: n, mood }) => ofHost(mood.toLowerCase(), n, async (machine) => void (machine.mood = mood)));

/** Everything that can happen to sandboxes: wishes, what hosts say of them and when it arrives, and what befalls hosts. */
export const sandboxCommands: fc.Arbitrary<SandboxCommand>[] = [
  // As often as they are named here.
  ...[newCreate, newCreate, newCreate, newCreate, wishFor, wishFor, wishFor, wishFor],
  ...[newInventory, newInventory, overtaken, overtaken, newMood, newMood],
  host.map((n) => ofHost('catch up', n, (machine) => machine.catchUp())),
  // All at once: reservations are made in company, and wishes meet what hosts say.
  fc
    .record({
      creates: fc.array(newOne, { minLength: 2, maxLength: 5 }),
      wishes: fc.array(newWish, { maxLength: 3 }),
      host,
    })
    .map(({ creates, wishes, host: on }) =>
      command(`at once(${fc.stringify({ creates, wishes, on })})`, async (model, world) => {
        // Of a key that is asked for twice at once nobody can say which request makes the sandbox.
        const fresh = creates.map(({ cpu }) => create(model, world, cpu, null));
        const asked = wishes.map(({ which, desired }) => wish(model, world, which, desired).catch(unlessOvertaken));
        const machine = world.machines.get(pickOf([...model.hosts], on) ?? '');
        const said = machine ? [world.convergence.reconcile(machine.hostId, machine.inventory())] : [];
        await Promise.all([...fresh, ...asked, ...said, world.convergence.converge()]);
      }),
    ),
  fc.constant(
    command('converge()', async (_model, world) => {
      await world.convergence.converge();
    }),
  ),
  host.map((n) =>
    ofHost('report', n, async (machine, world) => world.convergence.report(machine.hostId, await machine.news())),
  ),
  // Said now and heard later, in another order, or twice.
  fc.record({ host, full: fc.boolean() }).map(({ host: n, full }) =>
    ofHost(full ? 'say all' : 'say some', n, async (machine, world) => {
      const { hostId } = machine;
      const inventory = machine.inventory();
      const deliver = full
        ? () => world.convergence.reconcile(hostId, inventory)
        : () => world.convergence.report(hostId, inventory.sandboxes);
      world.inFlight.push({ hostId, deliver });
    }),
  ),
  fc.record({ which: index, isKept: fc.boolean() }).map(({ which, isKept }) =>
    command(`hear(${which}${isKept ? ', and again' : ''})`, async (_model, world) => {
      const message = pickOf(world.inFlight, which);
      if (!message) return;
      if (!isKept) world.inFlight.splice(world.inFlight.indexOf(message), 1);
      await message.deliver();
    }),
  ),
  host.map((n) => ofHost('hang up', n, (machine, world) => world.hangUp(machine))),
  host.map((n) =>
    ofHost('lost', n, (machine, world) => world.hangUp(machine).then(() => world.silence(machine.hostId))),
  ),
  host.map((n) => ofHost('back', n, (machine, world) => world.beat(machine.hostId).then(() => world.dial(machine)))),
  host.map((n) => ofHost('reboot', n, (machine) => machine.reboot())),
  fc
    .record({ host, which: index })
    .map(({ host: n, which }) => ofHost(`crash(${which})`, n, async (machine) => machine.crash(which))),
  fc.constant(
    command('start deadline()', async (_model, world) => {
      await world.startDeadlines.pass(TERM);
      world.pass(START_DEADLINE_MS);
      await world.startDeadlines.pass(TERM);
    }),
  ),
  fc.constant(
    command('canaries()', async (_model, world) => {
      await world.canaries.run();
    }),
  ),
  host.map((n) =>
    ofHost('delete', n, async ({ hostId }, world, model) => {
      const there = await on(world, hostId);
      const living = there.filter(({ status }) => !isEnded(status));
      const { previewDigest, affectedSandboxes } = await world.deletion.preview(hostId);
      expect(ids(affectedSandboxes)).toEqual(ids(living));
      if (living.length > 0)
        await expect(world.deletion.delete(world.admin, hostId, false, previewDigest)).rejects.toThrow(
          HostHasSandboxes,
        );
      const { destroyedSandboxes } = await world.deletion.delete(world.admin, hostId, true, previewDigest);
      expect(ids(destroyedSandboxes)).toEqual(ids(living));
      model.hosts.delete(hostId);
      // What had ended there goes with it.
      for (const id of ids(there)) model.wishes.set(id, 'DESTROYED');
    }),
  ),
];

const ids = (rows: readonly SandboxRow[]): string[] => rows.map(({ id }) => id).sort();

function on(world: LifecycleWorld, hostId: string): Promise<SandboxRow[]> {
  return world.database.query
    .selectFrom('Sandbox')
    .selectAll()
    .where('hostId', '=', hostId)
    .where('deletedAt', 'is', null)
    .execute();
}

/** Between the look at a sandbox and the wish for it something else has happened to it. */
function unlessOvertaken(error: unknown): void {
  if (!(error instanceof Error) || error.name !== 'AssertionError') throw error;
}

/** Everything is well again, and everybody has said everything: what must be true then. */
export async function settle(model: SandboxModel, world: LifecycleWorld): Promise<void> {
  for (const { deliver } of world.inFlight.splice(0)) await deliver();
  for (const hostId of model.hosts) {
    const machine = world.machines.get(hostId) as Machine;
    machine.mood = 'WELL';
    await machine.catchUp();
    await world.beat(hostId);
    await world.dial(machine);
  }
  // A container that has crashed is noticed, then an orphan is seen twice, then it is removed.
  for (let round = 0; round < 4; round++) {
    await world.quiet();
    await world.convergence.converge();
    await world.quiet();
    for (const hostId of model.hosts) {
      const machine = world.machines.get(hostId) as Machine;
      await world.convergence.report(hostId, await machine.news());
      await world.convergence.reconcile(hostId, machine.inventory());
    }
  }
  await world.quiet();
  await world.check();
  for (const row of await world.database.query.selectFrom('Sandbox').selectAll().execute()) {
    const lives = world.machines.get(row.hostId)?.live.get(row.id);
    const say = `sandbox ${row.id} (wanted ${row.desiredState}, ${row.status}, ${row.statusReason}, ${lives})`;
    const isHostGone = !model.hosts.has(row.hostId);
    if (!isEnded(row.status) || row.desiredState === 'DESTROYED')
      expect(row.desiredState, say).toBe(model.wishes.get(row.id));
    if (row.desiredState === 'DESTROYED') {
      expect(row.deletedAt, say).not.toBeNull();
      if (!isHostGone) expect(lives, say).toBeUndefined();
    } else if (isEnded(row.status)) {
      expect(lives, say).toBeUndefined();
    } else {
      expect([row.status, lives], say).toEqual(
        row.desiredState === 'PAUSED' ? ['PAUSED', 'paused'] : ['RUNNING', 'running'],
      );
    }
  }
}
