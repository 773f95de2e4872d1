import { describe, expect, it } from 'vitest';
import type { HostCredentialsState } from '#lib/gql/generated/graphql.ts';
import { credentialWords, differences, hasJoined, stakeOf, type CredentialHolder } from './host-credentials.ts';

const newHolder = (more: Partial<CredentialHolder> = {}): CredentialHolder => ({
  address: '10.0.0.1',
  bootId: 'boot',
  machineId: 'machine',
  seenAt: null,
  ...more,
});

describe('two machines with one host’s credentials', () => {
  it('differ in what both tell and tell differently', () => {
    expect(differences(newHolder(), newHolder({ bootId: 'other', address: '10.0.0.2' }))).toEqual([
      'address',
      'bootId',
    ]);
    expect(differences(newHolder(), newHolder({ machineId: null }))).toEqual([]);
    expect(differences(newHolder(), undefined)).toEqual([]);
  });
});

describe('a new token', () => {
  it.each<[HostCredentialsState | null, string]>([
    ['NONE', 'NONE'],
    ['UNUSED', 'NONE'],
    ['EXPIRED', 'NONE'],
    ['REVOKED', 'NONE'],
    ['WORKING', 'REPLACES'],
    ['CLONED', 'DECIDES'],
    [null, 'NONE'],
  ])('for credentials that are %s has something at stake: %s', (state, stake) => {
    expect(stakeOf(state)).toBe(stake);
  });

  it('takes the server’s word over what was shown', () => {
    expect(stakeOf('NONE', 'HostHasCredentials')).toBe('REPLACES');
    expect(stakeOf('WORKING', 'HostQuarantined')).toBe('DECIDES');
    expect(stakeOf('CLONED', 'NotPermitted')).toBe('DECIDES');
  });

  it('is spent when the host is heard with credentials that are its own', () => {
    expect(hasJoined('WORKING', true)).toBe(true);
    expect(hasJoined('UNUSED', true)).toBe(true);
    expect(hasJoined('CLONED', true)).toBe(false);
    expect(hasJoined('WORKING', false)).toBe(false);
    expect(hasJoined(null, true)).toBe(false);
  });
});

describe('the words for credentials', () => {
  it('name also a state that this build does not know', () => {
    expect(credentialWords('CLONED')).toMatchObject({ tone: 'bad' });
    expect(credentialWords('HALF_EATEN' as never).label).toBe('half eaten');
  });
});
