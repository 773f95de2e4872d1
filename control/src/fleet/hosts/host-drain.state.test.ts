import { describe, expect, test } from 'vitest';
import { isEnded, SANDBOX_STATUSES } from '../sandboxes/sandbox.state.ts';
import { DRAIN_POLICIES, drainProgress } from './host-drain.state.ts';

const NOW = new Date('2026-01-02T03:04:05Z');
const later = new Date(NOW.getTime() + 1);

/** Every status × every policy: whether a drain is done with such a sandbox. */
const table = DRAIN_POLICIES.flatMap((policy) => SANDBOX_STATUSES.map((status) => ({ policy, status })));
test.each(table)('a $policy drain whose sandbox is $status', ({ policy, status }) => {
  const done = isEnded(status) || (policy === 'PAUSE' && status === 'PAUSED');
  const sandboxes = [{ status, deletedAt: null }];
  expect(drainProgress({ policy, deadlineAt: later }, sandboxes, NOW)).toEqual({
    state: done ? 'COMPLETED' : 'RUNNING',
    total: 1,
    done: done ? 1 : 0,
    failed: 0,
  });
  expect(drainProgress({ policy, deadlineAt: NOW }, sandboxes, NOW)).toEqual({
    state: done ? 'COMPLETED' : 'FAILED',
    total: 1,
    done: done ? 1 : 0,
    failed: done ? 0 : 1,
  });
});

describe('a drain', () => {
  test('of an empty host is done at once', () => {
    expect(drainProgress({ policy: 'PAUSE', deadlineAt: later }, [], NOW)).toMatchObject({
      state: 'COMPLETED',
      total: 0,
    });
  });

  test('counts what is gone as done', () => {
    const sandboxes = [
      { status: 'STOPPED', deletedAt: NOW },
      { status: 'RUNNING', deletedAt: null },
    ] as const;
    expect(drainProgress({ policy: 'DESTROY', deadlineAt: later }, sandboxes, NOW)).toEqual({
      state: 'RUNNING',
      total: 2,
      done: 1,
      failed: 0,
    });
  });
});
