import { describe, expect, it } from 'vitest';
import { conditionAdvice, conditionLabel, hostStanding, leftToDrain, type Host } from './host.ts';

const conditions = (...types: string[]) =>
  types.map((type) => ({ type, message: '', blocksPlacement: true })) as unknown as Host['conditions'];

describe('a host', () => {
  it('that left the fleet is not shown as one that was lost', () => {
    expect(hostStanding({ status: 'UNREACHABLE', conditions: conditions('LEFT') }).label).toBe('Left');
    expect(hostStanding({ status: 'UNREACHABLE', conditions: conditions('HEARTBEAT_MISSED') }).label).toBe(
      'Unreachable',
    );
  });

  it('with a condition that this build does not know still names it', () => {
    expect(conditionLabel('ON_FIRE' as never)).toBe('on fire');
    expect(conditionAdvice('ON_FIRE' as never)).toBeNull();
  });
});

describe('what a drain has left', () => {
  const sandboxes = (['RUNNING', 'PAUSED', 'STOPPED', 'MISSING'] as const).map((status) => ({ status }));

  it.each([
    ['PAUSE', 'RUNNING', ['RUNNING', 'MISSING']],
    ['PAUSE', 'FAILED', ['RUNNING', 'MISSING']],
    ['DESTROY', 'RUNNING', ['RUNNING', 'PAUSED', 'MISSING']],
    ['PAUSE', 'COMPLETED', []],
    ['DESTROY', 'CANCELLED', []],
  ] as const)('with the policy %s, %s, is %j', (policy, state, left) => {
    expect(leftToDrain({ policy, state }, sandboxes).map(({ status }) => status)).toEqual(left);
  });
});
