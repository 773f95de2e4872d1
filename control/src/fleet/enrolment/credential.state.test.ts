import { describe, expect, test } from 'vitest';
import {
  credentialState,
  decideRefresh,
  decideRegistration,
  decideUse,
  isOtherMachine,
  type HostFacts,
  type Identity,
  type RefreshTokenFacts,
  type RegistrationTokenFacts,
  type Standing,
} from './credential.state.ts';

const NOW = new Date('2026-01-02T03:04:05Z');
const LATER = new Date(NOW.getTime() + 1);

const newIdentity = (facts: Partial<Identity> = {}): Identity => ({
  jkt: 'key',
  familyId: 'family',
  headHash: 'head',
  sequence: 10,
  machineId: 'machine',
  revokedAt: null,
  ...facts,
});
const newHost = (facts: Partial<HostFacts> = {}): HostFacts => ({ deletedAt: null, quarantinedAt: null, ...facts });
const TOKENS: Record<Standing, Partial<RefreshTokenFacts>> = {
  HEAD: { hash: 'head', parentHash: 'before' },
  NEXT: { hash: 'next', parentHash: 'head' },
  SPENT: { hash: 'before', parentHash: 'long before' },
  REPLACED: { hash: 'head', familyId: 'another family' },
};
const newToken = (standing: Standing, facts: Partial<RefreshTokenFacts> = {}): RefreshTokenFacts => ({
  hash: 'head',
  familyId: 'family',
  parentHash: null,
  expiresAt: LATER,
  ...TOKENS[standing],
  ...facts,
});

const HOSTS: [string, HostFacts, Partial<Identity>][] = [
  ['fine', newHost(), {}],
  ['quarantined', newHost({ quarantinedAt: NOW }), {}],
  ['revoked', newHost(), { revokedAt: NOW }],
  ['deleted', newHost({ deletedAt: NOW }), { revokedAt: NOW }],
];

describe('refreshing with a token, by what it is to the host and what the host is', () => {
  const outcomes: Record<Standing, Record<string, string>> = {
    HEAD: { fine: 'RENEW', quarantined: 'CREDENTIALS_CLONED', revoked: 'CREDENTIALS_REVOKED', deleted: 'DELETED' },
    NEXT: { fine: 'RENEW', quarantined: 'CREDENTIALS_CLONED', revoked: 'CREDENTIALS_REVOKED', deleted: 'DELETED' },
    SPENT: {
      fine: 'QUARANTINE',
      quarantined: 'CREDENTIALS_CLONED',
      revoked: 'CREDENTIALS_REVOKED',
      deleted: 'DELETED',
    },
    REPLACED: {
      fine: 'CREDENTIALS_REPLACED',
      quarantined: 'CREDENTIALS_REPLACED',
      revoked: 'CREDENTIALS_REVOKED',
      deleted: 'DELETED',
    },
  };
  const cases = (Object.keys(TOKENS) as Standing[]).flatMap((standing) =>
    HOSTS.map(([name, host, facts]) => [standing, name, host, facts, outcomes[standing][name]] as const),
  );
  test.each(cases)('%s on a host that is %s', (standing, _name, host, facts, outcome) => {
    const decision = decideRefresh(
      { token: newToken(standing), host, identity: newIdentity(facts) },
      { sequence: 11, machineId: 'machine' },
      NOW,
    );
    expect(decision.kind === 'REFUSE' ? decision.reason : decision.kind).toBe(outcome);
  });

  test('makes the presented token the head, and issues the new one for it', () => {
    const facts = { token: newToken('NEXT'), host: newHost(), identity: newIdentity() };
    expect(decideRefresh(facts, { sequence: 11, machineId: null }, NOW)).toEqual({
      kind: 'RENEW',
      parentHash: 'next',
      changes: { headHash: 'next', sequence: 11, machineId: 'machine' },
    });
  });

  const numbers = [0, 9, 10, 12, 1_000, Number.MAX_SAFE_INTEGER];
  const untimely = (['HEAD', 'NEXT', 'SPENT'] as const).flatMap((standing) =>
    numbers.map((sequence) => [standing, sequence] as const),
  );
  test.each(untimely)('with the sequence %s %i, which is not the next, changes nothing', (standing, sequence) => {
    const facts = { token: newToken(standing), host: newHost(), identity: newIdentity() };
    expect(decideRefresh(facts, { sequence, machineId: 'other' }, NOW)).toEqual({
      kind: 'OUT_OF_TURN',
      lastSequence: 10,
    });
  });

  test.each([
    ['expired', 'HEAD', 'TOKEN_EXPIRED'],
    ['expired and spent', 'SPENT', 'QUARANTINE'],
  ] as const)('a token that is %s', (_what, standing, outcome) => {
    const facts = { token: newToken(standing, { expiresAt: NOW }), host: newHost(), identity: newIdentity() };
    const decision = decideRefresh(facts, { sequence: 11, machineId: null }, NOW);
    expect(decision.kind === 'REFUSE' ? decision.reason : decision.kind).toBe(outcome);
  });

  test.each(['token', 'host', 'identity'])('without its %s is not known', (missing) => {
    const facts = { token: newToken('HEAD'), host: newHost(), identity: newIdentity(), [missing]: undefined };
    expect(decideRefresh(facts, { sequence: 11, machineId: null }, NOW)).toMatchObject({ reason: 'TOKEN_UNKNOWN' });
  });
});

describe('two machines', () => {
  test.each([
    ['the same id', 'a', 'a', false],
    ['another id', 'a', 'b', true],
    ['none now', 'a', null, false],
    ['none before', null, 'b', false],
    ['none at all', null, null, false],
  ])('with %s', (_what, known, presented, other) => {
    expect(isOtherMachine({ machineId: known }, presented)).toBe(other);
    const facts = { token: newToken('HEAD'), host: newHost(), identity: newIdentity({ machineId: known }) };
    expect(decideRefresh(facts, { sequence: 11, machineId: presented }, NOW)).toMatchObject(
      other ? { kind: 'QUARANTINE', cause: 'SECOND_MACHINE' } : { changes: { machineId: presented ?? known } },
    );
  });
});

describe('a request with an access token, by what it was issued beside and what the host is', () => {
  const accepted: Record<Standing, string[]> = {
    HEAD: ['fine', 'quarantined'],
    NEXT: ['fine', 'quarantined'],
    SPENT: ['quarantined'],
    REPLACED: [],
  };
  const cases = (Object.keys(TOKENS) as Standing[]).flatMap((standing) =>
    HOSTS.map(([name, host, facts]) => [standing, name, host, facts] as const),
  );
  test.each(cases)('%s on a host that is %s', (standing, name, host, facts) => {
    const use = decideUse({ token: newToken(standing), host, identity: newIdentity(facts) }, 'key');
    expect(use.kind).toBe(accepted[standing].includes(name) ? 'ACCEPT' : 'REJECT');
    const moves = standing === 'NEXT' && name === 'fine';
    expect(use.kind === 'ACCEPT' ? use.changes : undefined).toEqual(moves ? { headHash: 'next' } : undefined);
    expect(decideUse({ token: newToken(standing), host, identity: newIdentity(facts) }, 'another key').kind).toBe(
      'REJECT',
    );
  });
});

describe('a registration token', () => {
  const newRegistration = (facts: Partial<RegistrationTokenFacts> = {}): RegistrationTokenFacts => ({
    hostId: 'host',
    expiresAt: LATER,
    boundJkt: null,
    familyId: null,
    misusedAt: null,
    ...facts,
  });
  const bound = { boundJkt: 'key', familyId: 'family' };
  const decide = (
    token: RegistrationTokenFacts | undefined,
    {
      host = newHost(),
      identity,
      isAllowed = true,
      ...request
    }: { host?: HostFacts; identity?: Identity; isAllowed?: boolean; claimedId?: string; sequence?: number } = {},
  ) =>
    decideRegistration(
      { token, host, identity, isAllowed },
      {
        jkt: 'key',
        familyId: 'new family',
        sequence: (identity?.sequence ?? 0) + 1,
        machineId: 'machine',
        ...request,
      },
      NOW,
    );

  test('begins a family, and ends with that whatever was before', () => {
    const begun = (sequence: number) => ({
      kind: 'ENROL',
      parentHash: null,
      identity: { ...newIdentity({ familyId: 'new family', headHash: null, sequence }) },
    });
    expect(decide(newRegistration())).toEqual(begun(1));
    for (const identity of [newIdentity(), newIdentity({ jkt: 'old key', revokedAt: NOW })])
      expect(decide(newRegistration(), { identity })).toEqual(begun(11));
    expect(decide(newRegistration(), { host: newHost({ quarantinedAt: NOW }), identity: newIdentity() })).toEqual(
      begun(11),
    );
  });

  test.each([0, 10, 12, Number.MAX_SAFE_INTEGER])('with the sequence %i out of turn is not spent', (sequence) => {
    for (const token of [newRegistration(), newRegistration(bound)])
      expect(decide(token, { identity: newIdentity(), sequence })).toEqual({ kind: 'OUT_OF_TURN', lastSequence: 10 });
  });

  test('presented again by its key issues beside what was issued', () => {
    expect(decide(newRegistration(bound), { identity: newIdentity() })).toEqual({
      kind: 'REPEAT',
      changes: { sequence: 11 },
      parentHash: 'head',
    });
  });

  test.each<[string, Parameters<typeof decide>, object]>([
    ['that is not known', [undefined], { reason: 'TOKEN_UNKNOWN' }],
    ['of a deleted host', [newRegistration(), { host: newHost({ deletedAt: NOW }) }], { reason: 'TOKEN_UNKNOWN' }],
    ['that has expired', [newRegistration({ expiresAt: NOW })], { reason: 'TOKEN_EXPIRED' }],
    ['of a team that may not bring hosts', [newRegistration(), { isAllowed: false }], { reason: 'TEAM_NOT_BYOC' }],
    ['of another host', [newRegistration(), { claimedId: 'another' }], { reason: 'TOKEN_OTHER_HOST' }],
    ['bound to another key', [newRegistration({ boundJkt: 'theirs' })], { reason: 'TOKEN_USED', misuse: true }],
    [
      'bound to another key, again',
      [newRegistration({ boundJkt: 'theirs', misusedAt: NOW })],
      { reason: 'TOKEN_USED', misuse: false },
    ],
    [
      'spent by the same key on another machine',
      [newRegistration(bound), { identity: newIdentity({ machineId: 'theirs' }) }],
      { reason: 'TOKEN_USED', misuse: true },
    ],
    [
      'spent before a newer one was',
      [newRegistration(bound), { identity: newIdentity({ familyId: 'newer' }) }],
      { reason: 'CREDENTIALS_REPLACED' },
    ],
    [
      'spent before the quarantine',
      [newRegistration(bound), { host: newHost({ quarantinedAt: NOW }), identity: newIdentity() }],
      { reason: 'CREDENTIALS_CLONED' },
    ],
  ])('%s is refused', (_what, args, refusal) => {
    expect(decide(...args)).toMatchObject({ kind: 'REFUSE', ...refusal });
  });
});

test.each<[string, Parameters<typeof credentialState>[0], string]>([
  ['no identity', { host: newHost(), identity: undefined, renewableUntil: null }, 'NONE'],
  ['a chain that is used', { host: newHost(), identity: newIdentity(), renewableUntil: LATER }, 'WORKING'],
  [
    'a chain that was never used',
    { host: newHost(), identity: newIdentity({ headHash: null }), renewableUntil: LATER },
    'UNUSED',
  ],
  ['no token that is left', { host: newHost(), identity: newIdentity(), renewableUntil: null }, 'EXPIRED'],
  ['an expired chain', { host: newHost(), identity: newIdentity(), renewableUntil: NOW }, 'EXPIRED'],
  [
    'a revoked identity',
    { host: newHost(), identity: newIdentity({ revokedAt: NOW }), renewableUntil: LATER },
    'REVOKED',
  ],
  ['a quarantine', { host: newHost({ quarantinedAt: NOW }), identity: newIdentity(), renewableUntil: LATER }, 'CLONED'],
])('a host with %s', (_what, facts, state) => {
  expect(credentialState(facts, NOW)).toBe(state);
});
