import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CredentialRows } from '../../../test/credential-rows.ts';
import { Thief, THEFTS } from '../../../test/credential-thief.ts';
import { AgentModel, happen, STEPS, World, type Step } from '../../../test/credential-world.ts';

const steps = (maxLength: number, without: readonly Step['what'][] = []): fc.Arbitrary<Step[]> => {
  const what = fc.constantFrom(...STEPS.filter((step) => !without.includes(step)));
  return fc.array(fc.record({ what, pick: fc.nat(1_000) }), { maxLength, size: 'max' });
};

/** How long one property may take on a machine that does other things as well, in ms. */
const PATIENCE_MS = 120_000;

/** What may look like a second machine, because it is one: the machine as it was. */
const RESTORES = ['backup', 'restore'] as const;

async function newWorld(): Promise<{ world: World; rows: CredentialRows; agent: AgentModel }> {
  const rows = new CredentialRows();
  const world = new World(rows);
  const agent = new AgentModel(1, 'machine-1');
  agent.token = await rows.regenerate({ resolveQuarantine: false, replaceCredentials: false });
  return { world, rows, agent };
}

/** Whether an agent can go on, on a network that works; if need be with an operator, who insists only when the machine has lost what it had. */
async function canRecover(world: World, agent: AgentModel, insists = agent.saved === undefined): Promise<boolean> {
  if (await world.exchange(agent)) return true;
  const wasHost = agent.saved;
  agent.token = await world.control.regenerate({ resolveQuarantine: insists, replaceCredentials: insists });
  return agent.token !== undefined && (await world.exchange(agent)) && agent.saved !== wasHost;
}

/** What would renew now is the head and what was issued for it, and using one of the latter ends all the rest. */
async function expectOneChain(rows: CredentialRows): Promise<void> {
  const live = await rows.live();
  const { identity } = rows;
  for (const token of live.filter((hash) => hash !== identity?.headHash)) {
    await rows.use(token);
    const left = await rows.live();
    expect(left.filter((other) => other !== token && live.includes(other))).toEqual([]);
    rows.identity = identity;
  }
}

describe('one machine, whatever the network, its power supply, its clock and control do,', () => {
  test(
    'is never locked out, never taken for two, and never has two live chains',
    async () => {
      await fc.assert(
        fc.asyncProperty(steps(60, RESTORES), async (script) => {
          const { world, rows, agent } = await newWorld();
          for (const step of script) {
            await happen(world, [agent], step);
            expect(rows.host.quarantinedAt).toBeNull();
            await expectOneChain(rows);
          }
          expect(await canRecover(world, agent)).toBe(true);
          // And again, with everything that is still in flight arriving afterwards.
          for (let late = 0; late < world.requests.length; late++) await world.deliver(late, 'answered');
          expect(rows.host.quarantinedAt).toBeNull();
          expect(await canRecover(world, agent)).toBe(true);
        }),
        { numRuns: 3_000 },
      );
    },
    PATIENCE_MS,
  );

  test(
    'needs no operator as long as what it has saved was not replaced by one',
    async () => {
      const withoutOperator = steps(60, [...RESTORES, 'operator', 'credentials-file-removed', 'expire']);
      await fc.assert(
        fc.asyncProperty(withoutOperator, async (script) => {
          const { world, agent } = await newWorld();
          const { token } = agent;
          for (const step of script) await happen(world, [agent], step);
          // A join command in a boot script has the token again after a crash.
          if (!agent.saved) agent.token = token;
          expect(await world.exchange(agent)).toBe(true);
          expect(await world.exchange(agent)).toBe(true);
        }),
        { numRuns: 3_000 },
      );
    },
    PATIENCE_MS,
  );

  test(
    'restored from backups of itself it works, or is told plainly why not, and a token mends it in place',
    async () => {
      await fc.assert(
        fc.asyncProperty(steps(60), async (script) => {
          const { world, rows, agent } = await newWorld();
          for (const step of script) {
            await happen(world, [agent], step);
            await expectOneChain(rows);
          }
          if (await world.exchange(agent)) return;
          expect(agent.saved === undefined || (world.taken && 'refused' in world.taken)).toBe(true);
          expect(await canRecover(world, agent, true)).toBe(true);
          for (let late = 0; late < world.requests.length; late++) await world.deliver(late, 'answered');
          expect(rows.host.quarantinedAt).toBeNull();
          expect(await canRecover(world, agent)).toBe(true);
        }),
        { numRuns: 3_000 },
      );
    },
    PATIENCE_MS,
  );

  test(
    'hears that its host was deleted, whatever came before, and nobody is let in any more',
    async () => {
      await fc.assert(
        fc.asyncProperty(steps(40), steps(20), async (before, after) => {
          const { world, rows, agent } = await newWorld();
          for (const step of before) await happen(world, [agent], step);
          await rows.deleteHost();
          const issued = rows.refreshTokens.size;
          for (const step of after) await happen(world, [agent], step);
          expect(await world.exchange(agent)).toBe(false);
          if (agent.saved) expect(world.taken).toEqual({ refused: 'HOST_DELETED' });
          expect(rows.refreshTokens.size).toBe(issued);
        }),
        { numRuns: 1_000 },
      );
    },
    PATIENCE_MS,
  );
});

const BY_ITSELF = STEPS.filter((step) => !['operator', 'credentials-file-removed', ...RESTORES].includes(step));
/** What happens to the host and what the thief does, in one order. */
const mixed = fc.array(
  fc.oneof(
    fc.record({ what: fc.constantFrom(...BY_ITSELF), pick: fc.nat(1_000) }),
    fc.record({ theft: fc.constantFrom(...THEFTS), pick: fc.nat(1_000) }),
  ),
  { maxLength: 60, size: 'max' },
);

describe('whoever has copied a state directory and reads the network, and keeps to no rule,', () => {
  test(
    'cannot lock the host out: it works or there is an alarm, and the owner’s token decides',
    async () => {
      await fc.assert(
        fc.asyncProperty(
          steps(20, RESTORES),
          mixed,
          fc.constantFrom('machine-1', 'machine-2', null),
          async (before, script, machineId) => {
            const { world, rows, agent } = await newWorld();
            for (const step of before) await happen(world, [agent], step);
            await canRecover(world, agent, true);
            const thief = new Thief(world, agent, machineId);
            for (const step of script) {
              if ('theft' in step) await thief.act(step);
              else await happen(world, [agent], step);
              await expectOneChain(rows);
            }
            if (!(await world.exchange(agent))) {
              // Said to the owner as well: as a quarantine, or as credentials that have expired.
              expect(['CLONED', 'EXPIRED']).toContain(await rows.state());
              expect(await canRecover(world, agent, true)).toBe(true);
              // Whatever they have stolen, it is of before.
              expect(await thief.tryAll()).toEqual([]);
            }
            expect(await world.exchange(agent)).toBe(true);
          },
        ),
        { numRuns: 3_000 },
      );
    },
    PATIENCE_MS,
  );
});

describe('a copied state directory', () => {
  const copies = fc.record({
    before: steps(20, [...RESTORES, 'expire']),
    after: steps(60, [...RESTORES, 'expire', 'operator', 'credentials-file-removed']),
    /** A copy of the whole disk has the machine's id as well. */
    machineId: fc.constantFrom('machine-1', 'machine-2', null),
  });

  test(
    'is noticed before both copies have moved on, and the owner’s token decides for good',
    async () => {
      await fc.assert(
        fc.asyncProperty(copies, fc.boolean(), async ({ before, after, machineId }, keepsCopy) => {
          const { world, rows, agent } = await newWorld();
          for (const step of before) await happen(world, [agent], step);
          await canRecover(world, agent);
          const atCopy = agent.saved?.refreshToken;
          const copy = agent.copy(machineId);
          const both = [agent, copy];
          const movedOn = new Set<AgentModel>();
          for (const step of after) {
            await happen(world, both, step);
            if (rows.host.quarantinedAt) break;
            for (const each of both)
              if (each.saved?.refreshToken !== atCopy && each.saved?.refreshToken === rows.identity?.headHash)
                movedOn.add(each);
            expect(movedOn.size).toBeLessThan(2);
          }
          // Each rotates where everything works, and tries again when it is refused, as agents do: that must be enough.
          for (const each of [copy, copy, agent, agent]) await world.exchange(each);
          expect(rows.host.quarantinedAt).not.toBeNull();
          const issued = rows.refreshTokens.size;
          for (const each of [copy, agent]) {
            await world.exchange(each);
            // Both are heard, and neither moves on.
            expect(each.saved && (await rows.use(each.saved.accessToken))).toBe(true);
          }
          expect(rows.refreshTokens.size).toBe(issued);
          expect(await rows.regenerate({ resolveQuarantine: false, replaceCredentials: true })).toBeUndefined();

          const [winner, loser] = keepsCopy ? [copy, agent] : [agent, copy];
          winner.token = await rows.regenerate({ resolveQuarantine: true, replaceCredentials: false });
          expect(await world.exchange(winner)).toBe(true);
          for (let late = 0; late < world.requests.length; late++) await world.deliver(late, 'answered');
          expect(await world.exchange(loser)).toBe(false);
          expect(await world.exchange(winner)).toBe(true);
          expect(rows.host.quarantinedAt).toBeNull();
        }),
        { numRuns: 2_000 },
      );
    },
    PATIENCE_MS,
  );

  test('is noticed at the first rotation of either when its machine has another id', async () => {
    for (const first of ['original', 'copy']) {
      const { world, rows, agent } = await newWorld();
      await world.exchange(agent);
      const copy = agent.copy('machine-2');
      await world.exchange(first === 'copy' ? copy : agent);
      if (first === 'original') await world.exchange(copy);
      expect(rows.host.quarantinedAt).not.toBeNull();
    }
  });
});
