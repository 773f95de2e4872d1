import fc from 'fast-check';
import { sql } from 'kysely';
import { expect } from 'vitest';
import { isSchedulable, type HostKind, type HostStatus } from '../../src/fleet/hosts/host.state.ts';
import { HostHasCredentials, HostQuarantined } from '../../src/fleet/enrolment/host-token.service.ts';
import { DrainInProgress } from '../../src/fleet/hosts/host-drain.service.ts';
import { DRAIN_POLICIES } from '../../src/fleet/hosts/host-drain.state.ts';
import { HostHasSandboxes } from '../../src/fleet/hosts/host-deletion.service.ts';
import { TeamNotByoc } from '../../src/fleet/hosts/host.service.ts';
import { hostSpecsSchema } from '../../src/fleet/hosts/host.specs.ts';
import { NoHostFits } from '../../src/fleet/placement/placement.service.ts';
import { isEnded } from '../../src/fleet/sandboxes/sandbox.state.ts';
import { newMachineKey, type MachineKey } from '../scripted-agent.ts';
import type { EnrolmentWorld } from './enrolment-world.ts';
import { MOODS } from './machine.ts';

/** What people and agents may rely on of one host. */
interface ModelHost {
  readonly id: string;
  readonly kind: HostKind;
  readonly key: MachineKey;
  token: string;
  /** Whether the token has been spent, by this machine. */
  spent: boolean;
  accessToken: string | null;
  /** Of the request that was granted last. */
  sequence: number;
  status: HostStatus;
  isCordoned: boolean;
  isReached: boolean;
  hasLeft: boolean;
  isQuarantined: boolean;
  isByocDisabled: boolean;
  isDeleted: boolean;
}

export interface HostModel {
  readonly hosts: ModelHost[];
  isByoc: boolean;
}

export type HostCommand = fc.AsyncCommand<HostModel, EnrolmentWorld>;

/** More would let the monitor take a silence for one of the whole fleet; see `MASS_MIN_HOSTS`. */
const MAX_HOSTS = 4;

/** Whatever a command does, every host's row is as the model says, and the books are right. */
function command(name: string, act: (model: HostModel, world: EnrolmentWorld) => Promise<unknown>): HostCommand {
  return {
    check: () => true,
    toString: () => name,
    run: async (model, world) => {
      await act(model, world);
      await world.quiet();
      await world.check();
      for (const host of model.hosts) expect(await seen(world, host.id), `${name}: ${host.id}`).toEqual(expected(host));
      await checkDrains(world);
    },
  };
}

async function seen(world: EnrolmentWorld, id: string): Promise<object> {
  const row = await world.host(id);
  return {
    status: row.status,
    isRegistered: row.registeredAt !== null,
    isCordoned: row.cordonedAt !== null,
    isReached: row.tunnelReplica !== null,
    hasLeft: row.leftAt !== null,
    isQuarantined: row.quarantinedAt !== null,
    isByocDisabled: row.byocDisabledAt !== null,
    isDeleted: row.deletedAt !== null,
  };
}

function expected(host: ModelHost): object {
  const { status, isCordoned, isReached, hasLeft, isQuarantined, isByocDisabled, isDeleted } = host;
  const isRegistered = host.accessToken !== null;
  return { status, isRegistered, isCordoned, isReached, hasLeft, isQuarantined, isByocDisabled, isDeleted };
}

/** A host is draining as long as its drain goes on, and is cordoned then. As of one moment: drains go on by themselves. */
async function checkDrains(world: EnrolmentWorld): Promise<void> {
  const { rows } = await sql<{ id: string }>`select host.id from hosts as host
    where host.deleted_at is null and (
      (host.draining_since is not null)
        <> exists (select from host_drains as drain where drain.host_id = host.id and drain.state = 'RUNNING')
      or (host.draining_since is not null and host.cordoned_at is null))`.execute(world.database.query);
  expect(rows).toEqual([]);
}

/** Of a host that is there, if any. */
function ofHost(
  name: string,
  which: number,
  act: (host: ModelHost, world: EnrolmentWorld, model: HostModel) => Promise<unknown>,
): HostCommand {
  return command(`${name}(${which})`, async (model, world) => {
    const living = model.hosts.filter(({ isDeleted }) => !isDeleted);
    const host = living[which % Math.max(living.length, 1)];
    if (host) await act(host, world, model);
  });
}

async function create(model: HostModel, world: EnrolmentWorld, kind: HostKind): Promise<void> {
  if (model.hosts.filter(({ isDeleted }) => !isDeleted).length >= MAX_HOSTS) return;
  const input = { name: `host-${model.hosts.length}`, kind, teamId: kind === 'BYOC' ? world.teamId : null };
  const created = await world.hosts.create(world.admin, input).catch((error: unknown) => {
    if (!(error instanceof TeamNotByoc)) throw error;
    expect([kind, model.isByoc]).toEqual(['BYOC', false]);
  });
  if (!created) return;
  const key = await newMachineKey();
  const { host, registrationToken: token } = created;
  model.hosts.push({
    ...{ id: host.id, kind, key, token, spent: false, accessToken: null, sequence: 0, status: 'PENDING' },
    ...{ isCordoned: false, isReached: false, hasLeft: false, isQuarantined: false },
    ...{ isByocDisabled: false, isDeleted: false },
  });
}

const SPECS = hostSpecsSchema.parse({
  ...{ hostname: 'h', arch: 'x86_64', os: 'o', kernel: 'k', cpuCores: 4, memoryMb: 4_096, diskGb: 10 },
  ...{
    agentVersion: '0',
    bootId: 'b',
    machineId: 'the machine',
    runtime: { name: 'runc', version: '1' },
    conditions: [],
  },
});

async function register(host: ModelHost, world: EnrolmentWorld): Promise<void> {
  if (host.spent) return;
  const sequence = host.sequence + 1;
  const proof = await host.key.prove('register', host.token, sequence);
  const request = { token: host.token, publicKey: host.key.publicKey, proof, specs: SPECS, address: null };
  if (host.kind === 'BYOC' && !world.isByoc)
    return expect(world.enrolment.register(request)).rejects.toMatchObject({ code: 'FORBIDDEN' });
  host.accessToken = (await world.enrolment.register(request)).accessToken;
  Object.assign(host, { sequence, spent: true, hasLeft: false, isQuarantined: false, isReached: false });
  if (!world.machines.has(host.id)) (await world.plugIn(host.id)).isConnected = false;
}

/** A machine without working credentials is not let in. */
const isLetIn = async ({ accessToken }: ModelHost, world: EnrolmentWorld): Promise<boolean> =>
  accessToken !== null && (await world.enrolment.authenticate(accessToken)) !== undefined;

async function place(host: ModelHost, world: EnrolmentWorld): Promise<void> {
  const row = await world.host(host.id);
  const size = { vcpus: 0.1, memoryMb: 64, diskMb: 64 };
  const placed = await world.sandboxes
    .create(world.admin, { teamId: world.teamId, hostId: host.id, ...size })
    .catch((error: unknown) => {
      if (!(error instanceof NoHostFits)) throw error;
    });
  // What a host says of itself and what placement does with it are one thing.
  expect(placed !== undefined, `${JSON.stringify(row)} takes sandboxes`).toBe(isSchedulable(row));
}

async function remove(host: ModelHost, world: EnrolmentWorld): Promise<void> {
  const rows = await world.database.query.selectFrom('Sandbox').selectAll().where('hostId', '=', host.id).execute();
  const isEmpty = rows.every(({ status, deletedAt }) => deletedAt !== null || isEnded(status));
  if (!isEmpty) {
    for (const [force, digest] of [
      [false, null],
      [true, null],
      [true, 'none'],
    ] as const)
      await expect(world.deletion.delete(world.admin, host.id, force, digest)).rejects.toThrow(HostHasSandboxes);
  }
  const { previewDigest } = await world.deletion.preview(host.id);
  await world.deletion.delete(world.admin, host.id, true, previewDigest);
  Object.assign(host, { isDeleted: true, isReached: false });
}

const which = fc.nat({ max: MAX_HOSTS - 1 });
const each = (name: string, act: Parameters<typeof ofHost>[2]) => which.map((n) => ofHost(name, n, act));

const newHost = fc
  .constantFrom<HostKind[]>('PLATFORM', 'BYOC')
  .map((kind) => command(`create(${kind})`, (model, world) => create(model, world, kind)));
const joins = each('register', register);
const beats = each('beat', async (host, world) => {
  if (!(await isLetIn(host, world))) return;
  await world.beat(host.id);
  host.status = 'ONLINE';
});
const dials = each('dial', async (host, world) => {
  const machine = world.machines.get(host.id);
  if (!machine || !(await isLetIn(host, world))) return;
  await world.dial(machine);
  host.isReached = !host.isQuarantined;
});
const places = each('place', place);

/** Everything that can happen to a host. */
export const hostCommands: fc.Arbitrary<HostCommand>[] = [
  // As often as they are named here.
  ...[newHost, newHost, joins, joins, joins, beats, beats, beats, dials, dials, dials, places, places, places],
  // It was let in before its credentials ended, and is written only now.
  each('late beat', async (host, world) => {
    if (host.accessToken === null) return;
    await world.beat(host.id);
    if (!host.hasLeft) host.status = 'ONLINE';
  }),
  each('late tunnel', async (host, world) => {
    const machine = world.machines.get(host.id);
    if (!machine) return;
    await world.dial(machine);
    host.isReached = !host.hasLeft && !host.isQuarantined;
  }),
  each('hang up', async (host, world) => {
    const machine = world.machines.get(host.id);
    if (machine) await world.hangUp(machine);
    host.isReached = false;
  }),
  each('silence', async (host, world) => {
    await world.silence(host.id);
    if (host.status === 'ONLINE') host.status = 'UNREACHABLE';
  }),
  each('cordon', async (host, world) => {
    await world.operations.cordon(world.admin, host.id);
    host.isCordoned = true;
  }),
  each('uncordon', async (host, world) => {
    await world.operations.uncordon(world.admin, host.id);
    host.isCordoned = false;
  }),
  fc.record({ which, policy: fc.constantFrom(...DRAIN_POLICIES) }).map(({ which: n, policy }) =>
    ofHost(`drain by ${policy}`, n, async (host, world) => {
      await world.drains.drain(world.admin, host.id, { policy }).catch((error: unknown) => {
        if (!(error instanceof DrainInProgress)) throw error;
      });
      host.isCordoned = true;
      await world.drains.run();
    }),
  ),
  fc.constant(command('drain step()', (_model, world) => world.drains.run())),
  fc.constant(command('converge()', (_model, world) => world.convergence.converge())),
  each('leave', async (host, world) => {
    const { accessToken, key } = host;
    if (accessToken === null) return;
    const proof = await key.prove('leave', accessToken);
    const isIn = await isLetIn(host, world);
    const left = world.departures.leave({ accessToken, proof, address: null });
    // The answer to a goodbye may have been lost: said again it is granted again.
    if (host.hasLeft) return left;
    if (!isIn) return expect(left).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    // Its owner has to say which of the two machines may go.
    if (host.isQuarantined) return expect(left).rejects.toMatchObject({ code: 'CONFLICT' });
    await left;
    Object.assign(host, { status: 'UNREACHABLE', hasLeft: true, isReached: false, spent: true });
  }),
  each('second machine', async (host, world) => {
    const known = host.accessToken === null ? undefined : await world.enrolment.authenticate(host.accessToken);
    if (!known) return;
    await world.enrolment.sighted(known, { machineId: 'another machine', bootId: 'c', address: null });
    // A token that was not spent yet would let either of them decide.
    Object.assign(host, { isQuarantined: true, spent: true, isReached: false });
  }),
  fc
    .record({ which, resolveQuarantine: fc.boolean(), replaceCredentials: fc.boolean() })
    .map(({ which: n, resolveQuarantine, replaceCredentials }) =>
      ofHost(`new token ${String(resolveQuarantine)} ${String(replaceCredentials)}`, n, async (host, world) => {
        const request = { hostId: host.id, resolveQuarantine, replaceCredentials };
        const created = await world.tokens.regenerate(world.admin, request).catch((error: unknown) => {
          if (error instanceof HostQuarantined) expect([host.isQuarantined, resolveQuarantine]).toEqual([true, false]);
          else if (error instanceof HostHasCredentials) expect(replaceCredentials).toBe(false);
          else throw error;
        });
        if (created) Object.assign(host, { token: created.registrationToken, spent: false });
      }),
    ),
  fc.boolean().map((isByoc) =>
    command(`byoc(${String(isByoc)})`, async (model, world) => {
      model.isByoc = isByoc;
      world.isByoc = isByoc;
      await world.byoc.teamByocChanged(world.teamId);
      for (const host of model.hosts) if (host.kind === 'BYOC' && !host.isDeleted) host.isByocDisabled = !isByoc;
    }),
  ),
  fc.record({ which, mood: fc.constantFrom(...MOODS) }).map(({ which: n, mood }) =>
    ofHost(mood.toLowerCase(), n, async ({ id }, world) => {
      const machine = world.machines.get(id);
      if (machine) machine.mood = mood;
    }),
  ),
  fc.constant(command('canaries()', (_model, world) => world.canaries.run())),
  each('delete', remove),
];
