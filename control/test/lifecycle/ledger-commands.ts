import fc from 'fast-check';
import { expect } from 'vitest';
import { HostHasSandboxes } from '../../src/fleet/hosts/host-deletion.service.ts';
import { hostSpecsSchema } from '../../src/fleet/hosts/host.specs.ts';
import { NoHostFits } from '../../src/fleet/placement/placement.service.ts';
import { SandboxNotPausable, SandboxNotResumable } from '../../src/fleet/sandboxes/sandbox-operations.service.ts';
import type { SandboxRow } from '../../src/fleet/tables.ts';
import { IdempotencyKeyReused, NotFound } from '../../src/kernel/user-errors.ts';
import { newAdmin } from '../harness.ts';
import type { Effects, LedgerModel, Size } from './ledger-model.ts';
import type { LifecycleWorld } from './lifecycle-world.ts';
import type { Machine } from './machine.ts';

export type LedgerCommand = fc.AsyncCommand<LedgerModel, LifecycleWorld>;

type Host = LedgerModel['living'][number];
type Act<T> = (of: T, model: LedgerModel, world: LifecycleWorld) => Promise<Effects | void>;

/** More would let the monitor take a silence for one of the whole fleet; see `MASS_MIN_HOSTS`. */
const MAX_HOSTS = 4;

const pickOf = <T>(items: readonly T[], index: number): T | undefined => items[index % Math.max(items.length, 1)];

/** Whatever a command does, the books are right after it and nothing else has changed in them. */
function command(
  name: string,
  act: (model: LedgerModel, world: LifecycleWorld) => Promise<Effects | void>,
): LedgerCommand {
  return {
    check: () => true,
    toString: () => name,
    run: async (model, world) => {
      const effects = await act(model, world);
      await world.quiet();
      await world.check();
      await model.audit(world, name, effects ?? {});
    },
  };
}

const ofHost = (name: string, which: number, act: Act<Host>): LedgerCommand =>
  command(`${name}(${which})`, async (model, world) => {
    const host = pickOf(model.living, which);
    return host && act(host, model, world);
  });

const ofSandbox = (name: string, which: number, act: Act<SandboxRow>): LedgerCommand =>
  command(`${name}(${which})`, async (model, world) => {
    const row = pickOf(world.watch.sandboxes, which);
    return row && act(row, model, world);
  });

const machineOf = (world: LifecycleWorld, hostId: string): Machine => world.machines.get(hostId) as Machine;

interface Request {
  readonly vcpus: number;
  readonly key: number | null;
}

const sizeOf = ({ vcpus }: Request): Size => ({ milliVcpus: vcpus * 1_000, memoryMb: 256, diskMb: 200 });

/** @returns what became of the request: a sandbox, or why there is none. */
async function ask(
  world: LifecycleWorld,
  { vcpus, key }: Request,
  hostId: string | null = null,
  viewer = world.admin,
): Promise<SandboxRow | NoHostFits | IdempotencyKeyReused> {
  const { memoryMb, diskMb } = sizeOf({ vcpus, key });
  const idempotencyKey = key === null ? null : `key ${key}`;
  try {
    const input = { teamId: world.teamId, vcpus, memoryMb, diskMb, hostId, idempotencyKey };
    return (await world.sandboxes.create(viewer, input)).sandbox;
  } catch (error) {
    if (error instanceof NoHostFits || error instanceof IdempotencyKeyReused) return error;
    throw error;
  }
}

async function create(
  model: LedgerModel,
  world: LifecycleWorld,
  request: Request,
  hostId: string | null,
): Promise<Effects> {
  const fitting = model.fitting(world, sizeOf(request)).filter((id) => hostId === null || id === hostId);
  const answer = await ask(world, request, hostId);
  const asked = JSON.stringify([request.vcpus, hostId]);
  const known = request.key === null ? undefined : model.keys.get(`key ${request.key}`);
  if (known) {
    if (known.request === asked) expect(answer, 'the same key and request').toMatchObject({ id: known.id });
    else expect(answer, 'the same key and another request').toBeInstanceOf(IdempotencyKeyReused);
    return {};
  }
  if (answer instanceof Error) {
    expect(answer).toBeInstanceOf(NoHostFits);
    expect(fitting, 'it is refused because no host has room').toEqual([]);
    return {};
  }
  expect(fitting, 'it is placed where there is room').toContain(answer.hostId);
  model.placed(answer, sizeOf(request));
  if (request.key !== null) model.keys.set(`key ${request.key}`, { id: answer.id, request: asked });
  return model.living.some(({ isBroken }) => isBroken) ? { shaken: [answer.id] } : {};
}

/** Several by two callers, whose transactions run beside each other. */
async function createTogether(
  model: LedgerModel,
  world: LifecycleWorld,
  requests: readonly Request[],
): Promise<{ readonly made: string[]; readonly refused: readonly Request[] }> {
  const callers = [world.admin, newAdmin()] as const;
  const answers = await Promise.all(requests.map((request, index) => ask(world, request, null, callers[index % 2])));
  const made: string[] = [];
  for (const [index, answer] of answers.entries()) {
    const { vcpus, key } = requests[index] as Request;
    if (answer instanceof Error) continue;
    const request = JSON.stringify([vcpus, null]);
    const known = key === null ? undefined : model.keys.get(`key ${key}`);
    if (known) expect({ id: answer.id, request }, 'a key makes one sandbox').toEqual(known);
    if (key !== null) model.keys.set(`key ${key}`, { id: answer.id, request });
    if (model.sandboxes.has(answer.id)) continue;
    model.placed(answer, { milliVcpus: answer.milliVcpus, memoryMb: answer.memoryMb, diskMb: answer.diskMb });
    made.push(answer.id);
  }
  for (const [index, answer] of answers.entries()) {
    const { vcpus, key } = requests[index] as Request;
    if (!(answer instanceof IdempotencyKeyReused)) continue;
    const known = model.keys.get(`key ${key}`);
    expect([known === undefined, known?.request === JSON.stringify([vcpus, null])]).toEqual([false, false]);
  }
  return { made, refused: requests.filter((_request, index) => answers[index] instanceof NoHostFits) };
}

async function wish(row: SandboxRow, model: LedgerModel, act: () => Promise<unknown>, desired: 'PAUSED' | 'RUNNING') {
  const sandbox = model.sandboxes.get(row.id);
  const isOver = !sandbox?.isHeld || sandbox.wish === 'DESTROYED';
  try {
    await act();
    expect(isOver, `${desired} of one that is ${row.status}`).toBe(false);
    if (sandbox) sandbox.wish = desired;
  } catch (error) {
    const isRefusal = [NotFound, SandboxNotPausable, SandboxNotResumable].some((kind) => error instanceof kind);
    if (!isRefusal) throw error;
    expect(isOver).toBe(true);
  }
}

/** Asked for twice at once, as by somebody who has clicked twice. */
async function destroy({ id }: SandboxRow, model: LedgerModel, world: LifecycleWorld): Promise<Effects> {
  const sandbox = model.sandboxes.get(id);
  if (!sandbox) return {};
  const again = () =>
    world.sandboxes.destroy(world.admin, id).catch((error: unknown) => {
      if (!(error instanceof NotFound)) throw error;
    });
  await Promise.all([again(), again()]);
  if (!sandbox.isHeld) return {};
  sandbox.wish = 'DESTROYED';
  return model.hosts.get(sandbox.hosts.at(-1) as string)?.isReached ? { released: [id] } : {};
}

/** Its processes end. @returns how its host says so: in three messages, of which one would do. */
async function end(row: SandboxRow, world: LifecycleWorld): Promise<(() => Promise<unknown>)[]> {
  const machine = machineOf(world, row.hostId);
  const index = [...machine.live.keys()].indexOf(row.id);
  if (index < 0) return [];
  machine.crash(index);
  const news = await machine.news();
  if (!machine.isConnected) return [];
  const inventory = machine.inventory();
  const report = () => world.convergence.report(machine.hostId, news);
  return [report, report, () => world.convergence.reconcile(machine.hostId, inventory)];
}

/** It says of itself how big it is. */
async function resize(host: Host, world: LifecycleWorld, cpuCores: number, memoryMb: number): Promise<void> {
  const told = {
    ...{ hostname: 'h', arch: 'x86_64', os: 'o', kernel: 'k', agentVersion: '0', bootId: 'b', conditions: [] },
    ...{ cpuCores, memoryMb, diskGb: 1, runtime: { name: 'runc', version: '1' } },
  };
  await world.presence.describe(host.id, hostSpecsSchema.parse(told));
  host.capacity = { milliVcpus: cpuCores * 1_000, memoryMb, diskMb: 1_024 };
}

/** @returns whether it is gone: a sandbox that came after the preview keeps it. */
async function remove(host: Host, world: LifecycleWorld): Promise<boolean> {
  const { previewDigest } = await world.deletion.preview(host.id);
  try {
    await world.deletion.delete(world.admin, host.id, true, previewDigest);
  } catch (error) {
    if (error instanceof HostHasSandboxes) return false;
    throw error;
  }
  Object.assign(host, { isDeleted: true, isReached: false });
  return true;
}

async function comeBack(host: Host, model: LedgerModel, world: LifecycleWorld): Promise<Effects> {
  await world.beat(host.id);
  await world.dial(machineOf(world, host.id));
  host.isReached = true;
  return { shaken: idsOn(model, host) };
}

const idsOn = (model: LedgerModel, { id }: Host): string[] => model.on(id).map((sandbox) => sandbox.id);

const which = fc.nat({ max: 7 });
const cpuCores = fc.constantFrom(1, 2, 3);
const memoryMb = fc.constantFrom(512, 1_024, 2_048);
const request = fc.record({
  vcpus: fc.constantFrom(0.5, 1),
  key: fc.option(fc.nat({ max: 2 }), { freq: 2 }),
});

const eachHost = (name: string, act: Act<Host>) => which.map((n) => ofHost(name, n, act));
const eachSandbox = (name: string, act: Act<SandboxRow>) => which.map((n) => ofSandbox(name, n, act));

const creates = request.map((asked) =>
  command(`create(${fc.stringify(asked)})`, (model, world) => create(model, world, asked, null)),
);
const createsTogether = fc.array(request, { minLength: 2, maxLength: 6 }).map((requests) =>
  command(`create together(${fc.stringify(requests)})`, async (model, world) => {
    const { made, refused } = await createTogether(model, world, requests);
    const isSimple = requests.every(({ key }) => key === null) && !model.living.some(({ isBroken }) => isBroken);
    // Otherwise one that was refused may have met a reservation that was given up again.
    if (isSimple) for (const one of refused) expect(model.fitting(world, sizeOf(one)), 'no host has room').toEqual([]);
    return isSimple ? {} : { shaken: made };
  }),
);
const destroys = eachSandbox('destroy', destroy);
const ends = eachSandbox('end', async (row, model, world) => {
  const messages = await end(row, world);
  await Promise.all(messages.map((say) => say()));
  return messages.length > 0 && model.sandboxes.get(row.id)?.isHeld ? { released: [row.id] } : {};
});

/** What may happen to a host while everything else happens. */
const MEANWHILE: Record<string, Act<Host>> = {
  nothing: async () => {},
  cordon: async (host, _model, world) => {
    await world.operations.cordon(world.admin, host.id);
    host.isCordoned = true;
  },
  shrink: (host, _model, world) => resize(host, world, 1, 512),
  grow: (host, _model, world) => resize(host, world, 3, 2_048),
  'hang up': async (host, _model, world) => {
    await world.hangUp(machineOf(world, host.id));
    host.isReached = false;
  },
  'come back': async (host, model, world) => comeBack(host, model, world),
  delete: async (host, _model, world) => void (await remove(host, world)),
};

/** Reservations are made in company, and given back while others are made. */
const atOnce = fc
  .record({
    requests: fc.array(request, { minLength: 1, maxLength: 4 }),
    toDestroy: fc.array(which, { maxLength: 2 }),
    toEnd: fc.array(which, { maxLength: 2 }),
    host: which,
    meanwhile: fc.constantFrom(...Object.keys(MEANWHILE)),
  })
  .map(({ requests, toDestroy, toEnd, host: n, meanwhile }) =>
    command(`at once(${fc.stringify({ requests, toDestroy, toEnd, n, meanwhile })})`, async (model, world) => {
      const rows = world.watch.sandboxes;
      const rowsOf = (picks: readonly number[]): SandboxRow[] => picks.flatMap((pick) => pickOf(rows, pick) ?? []);
      const host = pickOf(model.living, n);
      const ending = [];
      for (const row of rowsOf(toEnd)) ending.push(...(await end(row, world)));
      const [{ made }] = await Promise.all([
        createTogether(model, world, requests),
        ...rowsOf(toDestroy).map((row) => destroy(row, model, world)),
        ...ending.map((say) => say()),
        host && MEANWHILE[meanwhile]?.(host, model, world),
      ]);
      await world.quiet();
      // What has met a host that was going or coming is said again, as it is by every pass of this loop.
      await world.convergence.converge();
      const touched = rowsOf([...toDestroy, ...toEnd]).map(({ id }) => id);
      return { shaken: [...made, ...touched, ...(host ? idsOn(model, host) : [])] };
    }),
  );

/** Everything that makes, moves or gives back reservations. */
export const ledgerCommands: fc.Arbitrary<LedgerCommand>[] = [
  // As often as they are named here.
  ...[creates, creates, creates, createsTogether, createsTogether, atOnce, atOnce, atOnce, destroys, ends],
  fc
    .record({ request, which })
    .map(({ request: asked, which: n }) =>
      ofHost(`create on ${fc.stringify(asked)}`, n, (host, model, world) => create(model, world, asked, host.id)),
    ),
  eachSandbox('pause', (row, model, world) =>
    wish(row, model, () => world.sandboxOperations.pause(world.admin, row.id), 'PAUSED'),
  ),
  eachSandbox('resume', (row, model, world) =>
    wish(row, model, () => world.sandboxOperations.resume(world.admin, row.id), 'RUNNING'),
  ),
  eachHost('lost', async (host, _model, world) => {
    await world.hangUp(machineOf(world, host.id));
    await world.silence(host.id);
    host.isReached = false;
  }),
  ...[eachHost('back', comeBack), eachHost('back', comeBack)],
  // What is started there now fails, and goes to another host.
  eachHost('break', async (host, _model, world) => {
    machineOf(world, host.id).mood = 'DISK_FULL';
    host.isBroken = true;
  }),
  eachHost('mend', async (host, _model, world) => {
    machineOf(world, host.id).mood = 'WELL';
    host.isBroken = false;
    await world.canaries.run();
  }),
  eachHost('cordon', MEANWHILE['cordon'] as Act<Host>),
  eachHost('uncordon', async (host, _model, world) => {
    await world.operations.uncordon(world.admin, host.id);
    host.isCordoned = false;
  }),
  fc
    .record({ which, cpuCores, memoryMb })
    .map(({ which: n, ...size }) =>
      ofHost(`resize to ${fc.stringify(size)}`, n, (host, _model, world) =>
        resize(host, world, size.cpuCores, size.memoryMb),
      ),
    ),
  eachHost('delete', async (host, model, world) => {
    const released = model.on(host.id).filter(({ isHeld }) => isHeld);
    expect(await remove(host, world)).toBe(true);
    return { released: released.map(({ id }) => id) };
  }),
  cpuCores.map((cores) => command(`new host(${cores})`, (model, world) => addHost(model, world, cores))),
];

export async function addHost(model: LedgerModel, world: LifecycleWorld, cores: number): Promise<void> {
  if (model.living.length >= MAX_HOSTS) return;
  const { hostId } = await world.addMachine({ cpuCores: cores, memoryMb: 2_048, diskGb: 1 });
  model.addHost(hostId, { milliVcpus: cores * 1_000, memoryMb: 2_048, diskMb: 1_024 });
}

/** Every host is there and everything is destroyed: nothing is reserved any more. */
export async function closeBooks(model: LedgerModel, world: LifecycleWorld): Promise<void> {
  for (const host of model.living) await command('back', () => comeBack(host, model, world)).run(model, world);
  await command('destroy all', async () => {
    const effects = await Promise.all(world.watch.sandboxes.map((row) => destroy(row, model, world)));
    return { released: effects.flatMap(({ released = [] }) => released) };
  }).run(model, world);
  for (const { id } of model.living) expect(model.reservedOn(id).sandboxes).toBe(0);
}
