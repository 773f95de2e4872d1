import { silentLogger } from '@rookery/wire/log.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decideAdmission, TunnelAdmission, type Answer, type Newcomer } from './admission.ts';
import type { TunnelFacts } from './tunnel.rows.ts';

const answered = (instance: string): Answer => ({ kind: 'ANSWERED', instance, bootId: 'boot' });
const connected = { holder: 'replica', instance: 'a', quarantinedAt: null };

describe('a tunnel that an agent dials', () => {
  it.each([
    ['is admitted when nobody is connected', { ...connected, holder: null }, 'b', undefined, 'ADMIT'],
    ['replaces one of the same process, without asking', connected, 'a', undefined, 'ADMIT'],
    ['of another process waits until the connected one was asked', connected, 'b', undefined, 'ASK'],
    ['replaces one whose agent is silent', connected, 'b', { kind: 'SILENT' }, 'ADMIT'],
    ['is not admitted while the connected one cannot be asked', connected, 'b', { kind: 'UNTOLD' }, 'WAIT'],
    ['is not admitted when the connected one answers', connected, 'b', answered('a'), 'QUARANTINE'],
    ['is admitted when it is itself who answers', connected, 'b', answered('b'), 'ADMIT'],
    ['is refused in quarantine', { ...connected, quarantinedAt: new Date() }, 'a', undefined, 'REFUSE'],
  ] as const)('%s', (_what, facts, instance, answer, decision) => {
    expect(decideAdmission(facts, instance, answer)).toBe(decision);
  });

  /**
   * Agents dial replicas in any order, their books' reads, answers and writes interleaved at random. What
   * must hold is that a living, connected agent loses its tunnel only to itself or to the quarantine.
   */
  it('never takes the place of a living agent, whatever happens between its asking and its admission', async () => {
    const dial = fc.record({ instance: fc.constantFrom('a', 'b', 'c'), replica: fc.constantFrom('1', '2') });
    const step = fc.oneof(
      { weight: 3, arbitrary: dial },
      { weight: 1, arbitrary: fc.record({ dies: fc.constantFrom('a', 'b', 'c') }) },
      { weight: 1, arbitrary: fc.constant({ owner: 'decides' as const }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 12 }), fc.scheduler(), async (steps, scheduler) => {
        let facts: TunnelFacts = { generation: 0, holder: null, instance: null, address: null, quarantinedAt: null };
        const dead = new Set<string>();
        const violations: string[] = [];
        const admissionOn = (replica: string) =>
          new TunnelAdmission({
            log: silentLogger(),
            books: {
              read: () => scheduler.schedule(Promise.resolve()).then(() => facts),
              claim: async (_hostId, seen, { instance }) => {
                await scheduler.schedule(Promise.resolve());
                if (facts.generation !== seen || facts.quarantinedAt) return undefined;
                const { holder, instance: before } = facts;
                if (holder !== null && before !== null && before !== instance && !dead.has(before))
                  violations.push(`${instance} took the place of ${before}`);
                facts = { ...facts, generation: seen + 1, holder: replica, instance };
                return facts.generation;
              },
            },
            enrolment: () => ({
              secondAgent: async (_hostId: string, generation: number) => {
                await scheduler.schedule(Promise.resolve());
                if (facts.quarantinedAt || facts.generation !== generation) return false;
                facts = { ...facts, generation: generation + 1, holder: null, quarantinedAt: new Date() };
                return true;
              },
            }),
          });
        const ask = async (): Promise<Answer> => {
          const { instance } = facts;
          await scheduler.schedule(Promise.resolve());
          return instance === null || dead.has(instance) ? { kind: 'SILENT' } : answered(instance);
        };
        const dials = steps.map(async (move) => {
          await scheduler.schedule(Promise.resolve());
          if ('dies' in move) dead.add(move.dies);
          else if ('owner' in move) facts = { ...facts, quarantinedAt: null };
          else if (!dead.has(move.instance))
            await admissionOn(move.replica).admit('host', { instance: move.instance } as Newcomer, ask);
        });
        await scheduler.waitFor(Promise.all(dials));
        expect(violations).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});
