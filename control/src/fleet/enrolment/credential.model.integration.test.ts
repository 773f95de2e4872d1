import { RookeryError } from '@rookery/wire/errors.ts';
import { sha256 } from '@rookery/wire/secrets.ts';
import fc from 'fast-check';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Thief, THEFTS } from '../../../test/credential-thief.ts';
import {
  AgentModel,
  happen,
  STEPS,
  World,
  type ControlSide,
  type Held,
  type Issued,
  type Step,
} from '../../../test/credential-world.ts';
import { newAdmin, startTestControl } from '../../../test/harness.ts';
import { newMachineKey, type MachineKey } from '../../../test/scripted-agent.ts';
import type { Control } from '../../app.ts';
import { UserError } from '../../kernel/user-errors.ts';
import { hostSpecsSchema } from '../hosts/host.specs.ts';
import type { FleetTables, HostRow } from '../tables.ts';
import { standingOf, type CredentialState } from './credential.state.ts';

/** The real service on a real PostgreSQL, one host of it. */
class RealControl implements ControlSide {
  readonly #control: Control;
  readonly #hostId: string;
  readonly #key: MachineKey;

  constructor(control: Control, hostId: string, key: MachineKey) {
    this.#control = control;
    this.#hostId = hostId;
    this.#key = key;
  }

  async register({ token, sequence, machineId, claims }: Parameters<ControlSide['register']>[0]): Promise<Issued> {
    const specs = { hostname: 'h', arch: 'a', os: 'o', kernel: 'k', cpuCores: 1, memoryMb: 1, diskGb: 1 };
    return this.#issued(async () =>
      this.#control.fleet.agentChannel.enrolment.register({
        token,
        publicKey: this.#key.publicKey,
        proof: await this.#key.prove('register', token, sequence),
        hostId: claims ? this.#hostId : null,
        specs: hostSpecsSchema.parse({ ...specs, agentVersion: '0', bootId: 'b', machineId, conditions: [] }),
        address: null,
      }),
    );
  }

  async refresh({ refreshToken, sequence, machineId }: Parameters<ControlSide['refresh']>[0]): Promise<Issued> {
    const proof = await this.#key.prove('refresh', refreshToken, sequence);
    return this.#issued(() =>
      this.#control.fleet.agentChannel.enrolment.refresh({
        refreshToken,
        proof,
        machineId,
        bootId: 'b',
        address: null,
      }),
    );
  }

  async use(accessToken: string): Promise<boolean> {
    return (await this.#control.fleet.agentChannel.enrolment.authenticate(accessToken)) !== undefined;
  }

  async regenerate(options: { resolveQuarantine: boolean; replaceCredentials: boolean }): Promise<string | undefined> {
    try {
      const request = { hostId: this.#hostId, ...options };
      return (await this.#control.fleet.services.hostTokens.regenerate(newAdmin(), request)).registrationToken;
    } catch (error) {
      if (error instanceof UserError) return undefined;
      throw error;
    }
  }

  async expire(): Promise<void> {
    const { query } = this.#control.database.as<FleetTables>();
    for (const table of ['RefreshToken', 'RegistrationToken'] as const)
      await query
        .updateTable(table)
        .set({ expiresAt: new Date(0) })
        .where('hostId', '=', this.#hostId)
        .execute();
  }

  async deleteHost(): Promise<void> {
    await this.#control.fleet.services.deletion.delete(newAdmin(), this.#hostId, false, null);
  }

  /** As the owner sees it. */
  async state(): Promise<CredentialState> {
    const views = await this.#control.fleet.services.hostTokens.views(newAdmin(), [await this.host()]);
    return (views[0] as { state: CredentialState }).state;
  }

  async live(): Promise<string[]> {
    const { query } = this.#control.database.as<FleetTables>();
    const identity = await query
      .selectFrom('HostIdentity')
      .selectAll()
      .where('hostId', '=', this.#hostId)
      .executeTakeFirst();
    const tokens = await query.selectFrom('RefreshToken').selectAll().where('hostId', '=', this.#hostId).execute();
    return tokens
      .filter((token) => identity && ['HEAD', 'NEXT'].includes(standingOf(identity, token)))
      .map(({ hash }) => hash);
  }

  async host(): Promise<HostRow> {
    return (await this.#control.fleet.services.hosts.findForControl(this.#hostId)) as HostRow;
  }

  async #issued(call: () => Promise<Held>): Promise<Issued> {
    try {
      const { refreshToken, accessToken } = await call();
      return { issued: { refreshToken, accessToken } };
    } catch (error) {
      if (error instanceof RookeryError && error.reason === 'REQUEST_OUT_OF_TURN')
        return { lastSequence: error.details['lastSequence'] as number };
      // Everything that is no refusal, a deadlock for example, fails the property.
      if (!(error instanceof RookeryError) || error.code !== 'UNAUTHENTICATED') throw error;
      return { refused: error.reason as never };
    }
  }
}

let control: Control;
beforeAll(async () => {
  control = await startTestControl();
});
afterAll(() => control[Symbol.asyncDispose]());

async function newWorld() {
  const { host, registrationToken } = await control.fleet.services.hosts.createLocal(`h-${randomUUID()}`);
  const real = new RealControl(control, host.id, await newMachineKey());
  const agent = new AgentModel(1, 'machine-1');
  agent.token = registrationToken;
  return { world: new World(real), real, agent };
}

const steps = (maxLength: number, without: readonly Step['what'][] = []): fc.Arbitrary<Step[]> => {
  const what = fc.constantFrom(...STEPS.filter((step) => !without.includes(step)));
  return fc.array(fc.record({ what, pick: fc.nat(1_000) }), { maxLength, size: 'max' });
};

/** The owner's word for one machine, whatever there is against it. */
const decide = async (real: RealControl, agent: AgentModel): Promise<void> => {
  agent.token = await real.regenerate({ resolveQuarantine: true, replaceCredentials: true });
};

test('on the real service one machine is never locked out and never taken for two', async () => {
  await fc.assert(
    fc.asyncProperty(steps(40, ['backup', 'restore']), async (script) => {
      const { world, real, agent } = await newWorld();
      for (const step of script) await happen(world, [agent], step);
      expect((await real.host()).quarantinedAt).toBeNull();
      if (!(await world.exchange(agent)) || (await real.state()) !== 'WORKING') {
        agent.token = await real.regenerate({
          resolveQuarantine: false,
          replaceCredentials: agent.saved === undefined,
        });
        expect(await world.exchange(agent)).toBe(true);
      }
      // What the agent has saved and used is all that is left.
      expect(await real.live()).toEqual([sha256(agent.saved?.refreshToken ?? '')]);
      await Promise.all(world.requests.slice(-10).map((_late, index) => world.deliver(index, 'answered')));
      expect((await real.host()).quarantinedAt).toBeNull();
      expect(await world.exchange(agent)).toBe(true);
    }),
    { numRuns: 40 },
  );
}, 180_000);

test('on the real service two copies are noticed, and a token decides', async () => {
  const byThemselves = steps(30, ['backup', 'restore', 'expire', 'operator', 'credentials-file-removed']);
  await fc.assert(
    fc.asyncProperty(byThemselves, fc.constantFrom('machine-1', 'machine-2', null), async (script, machineId) => {
      const { world, real, agent } = await newWorld();
      expect(await world.exchange(agent)).toBe(true);
      const copy = agent.copy(machineId);
      for (const step of script) await happen(world, [agent, copy], step);
      for (const each of [copy, copy, agent, agent]) await world.exchange(each);
      expect(await real.state()).toBe('CLONED');
      await decide(real, copy);
      expect(await world.exchange(copy)).toBe(true);
      expect(await world.exchange(agent)).toBe(false);
      expect(await world.exchange(copy)).toBe(true);
      expect(await real.state()).toBe('WORKING');
    }),
    { numRuns: 20 },
  );
}, 180_000);

test('on the real service a thief with a copy, and backups that are restored, lock nobody out; deletion ends all', async () => {
  const thefts = fc.record({ theft: fc.constantFrom(...THEFTS), pick: fc.nat(1_000) });
  const script = fc.array(
    fc.oneof(
      steps(1).map(([step]) => step),
      thefts,
    ),
    { maxLength: 40, size: 'max' },
  );
  await fc.assert(
    fc.asyncProperty(script, fc.constantFrom('machine-1', 'machine-2', null), async (what, machineId) => {
      const { world, real, agent } = await newWorld();
      await world.exchange(agent);
      const thief = new Thief(world, agent, machineId);
      for (const step of what) {
        if (step && 'theft' in step) await thief.act(step);
        else if (step) await happen(world, [agent], step);
      }
      if (!(await world.exchange(agent))) {
        expect(agent.saved === undefined || (world.taken && 'refused' in world.taken)).toBe(true);
        await decide(real, agent);
        expect(await world.exchange(agent)).toBe(true);
        expect(await thief.tryAll()).toEqual([]);
      }
      expect(await world.exchange(agent)).toBe(true);

      await real.deleteHost();
      expect(await world.exchange(agent)).toBe(false);
      expect(world.taken).toEqual({ refused: 'HOST_DELETED' });
      expect(await thief.tryAll()).toEqual([]);
    }),
    { numRuns: 20 },
  );
}, 180_000);

test('on the real service up to twenty answers in a row may be lost, of renewals and of registrations', async () => {
  for (let lost = 1; lost <= 20; lost++) {
    const { world, real, agent } = await newWorld();
    for (const kind of ['registration', 'renewal', 'renewal']) {
      for (let dropped = 0; dropped < lost; dropped++) {
        world.ask(agent);
        await world.deliver(world.requests.length - 1, 'crash-after-commit');
        agent.outstanding = undefined;
        // A process that ends in between knows no more than its disk, or the command line's token.
        if (dropped % 3 === 2 && kind === 'renewal') agent.crash();
      }
      expect(await world.exchange(agent), `${kind} after ${lost} lost answers`).toBe(true);
      expect(await real.live()).toEqual([sha256(agent.saved?.refreshToken ?? '')]);
    }
    // What comes late, in any order and twice, is no alarm.
    for (const index of world.requests.keys()) await world.deliver(world.requests.length - 1 - index, 'answered');
    expect((await real.host()).quarantinedAt).toBeNull();
    expect(await world.exchange(agent)).toBe(true);
  }
}, 180_000);
