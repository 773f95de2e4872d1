import { describe, expect, test } from 'vitest';
import { AGENT_CONDITION_TYPES, HOST_STATUSES, hostConditions, isSchedulable, type HostFacts } from './host.state.ts';

const NOW = new Date('2026-01-02T03:04:05Z');

const newHost = (facts: Partial<HostFacts> = {}): HostFacts => ({
  status: 'ONLINE',
  runtimeName: 'runc',
  agentVersion: null,
  agentConditions: [],
  tunnelReplica: 'replica',
  cordonedAt: null,
  leftAt: null,
  deletingAt: null,
  quarantinedAt: null,
  drainingSince: null,
  byocDisabledAt: null,
  createFailures: 0,
  lastCreateError: null,
  createsFailingSince: null,
  ...facts,
});

const types = (facts: Partial<HostFacts>): string[] => hostConditions(newHost(facts)).map(({ type }) => type);

test('an online host with a runtime and a tunnel takes sandboxes and has nothing to say', () => {
  expect(hostConditions(newHost())).toEqual([]);
  expect(isSchedulable(newHost())).toBe(true);
});

describe('a host takes no sandboxes, and says why,', () => {
  test.each<[string, Partial<HostFacts>, string]>([
    ['before a machine has joined', { status: 'PENDING' }, 'NOT_REGISTERED'],
    ['when it is silent', { status: 'UNREACHABLE' }, 'HEARTBEAT_MISSED'],
    ['without a tunnel', { tunnelReplica: null }, 'TUNNEL_DOWN'],
    ['when it is cordoned', { cordonedAt: NOW }, 'CORDONED'],
    ['while two machines have its credentials', { quarantinedAt: NOW }, 'CREDENTIALS_CLONED'],
    ['while it is being drained', { drainingSince: NOW }, 'DRAINING'],
    ['when its team may not bring hosts any more', { byocDisabledAt: NOW }, 'BYOC_DISABLED'],
    ['when it keeps failing to start sandboxes', { createsFailingSince: NOW }, 'CREATES_FAILING'],
    ['while it is being deleted', { deletingAt: NOW }, 'DELETING'],
    ['without a runtime', { runtimeName: null }, 'NO_RUNTIME'],
    ['when its disk is full', { agentConditions: [{ type: 'DISK_PRESSURE', message: 'full' }] }, 'DISK_PRESSURE'],
  ])('%s', (_when, facts, type) => {
    expect(types(facts)).toContain(type);
    expect(isSchedulable(newHost(facts))).toBe(false);
  });
});

test.each(HOST_STATUSES)('a host that is %s is schedulable only when it is ONLINE', (status) => {
  expect(isSchedulable(newHost({ status }))).toBe(status === 'ONLINE');
});

test('what an agent says about its runtime is shown in its own words, once', () => {
  const message = 'No OCI runtime found; install one: apt-get install -y runc';
  expect(hostConditions(newHost({ runtimeName: null, agentConditions: [{ type: 'NO_RUNTIME', message }] }))).toEqual([
    { type: 'NO_RUNTIME', message, blocksPlacement: true },
  ]);
});

test.each(AGENT_CONDITION_TYPES)('memory pressure and a damaged record do not keep sandboxes away: %s', (type) => {
  expect(isSchedulable(newHost({ agentConditions: [{ type, message: '' }] }))).toBe(
    type === 'MEMORY_PRESSURE' || type === 'SANDBOX_RECORD_DAMAGED',
  );
});

test('an unreachable host is not blamed for its tunnel as well', () => {
  expect(types({ status: 'UNREACHABLE', tunnelReplica: null })).toEqual(['HEARTBEAT_MISSED']);
});

test('an agent of another minor version is said to be, one that control cannot talk to takes no sandboxes', () => {
  const skewed = newHost({ agentVersion: '0.2.0' });
  expect(hostConditions(skewed)).toMatchObject([{ type: 'VERSION_SKEW', blocksPlacement: false }]);
  expect(isSchedulable(skewed)).toBe(true);
  expect(isSchedulable(newHost({ agentVersion: '0.0.9' }))).toBe(false);
  expect(isSchedulable(newHost({ agentVersion: '1.0.0' }))).toBe(false);
});
