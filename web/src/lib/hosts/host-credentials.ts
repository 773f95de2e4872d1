import type {
  HostCredentialsQuery as CredentialsData,
  HostCredentialsState,
  HostQuarantineCause,
} from '#lib/gql/generated/graphql.ts';
import type { Tone } from '#lib/ui/tone.ts';

/** What a host's credentials are worth, for who manages it. */
export type HostCredentials = NonNullable<NonNullable<CredentialsData['host']>['credentials']>;

/** A machine that has used a host's credentials, as it describes itself. */
export type CredentialHolder = HostCredentials['holders'][number];

interface StateWords {
  readonly label: string;
  readonly tone: Tone;
  readonly meaning: string;
}

const states: Readonly<Record<HostCredentialsState, StateWords>> = {
  NONE: { label: 'None yet', tone: 'idle', meaning: 'No machine has joined as this host yet.' },
  UNUSED: { label: 'Issued', tone: 'info', meaning: 'A machine has just joined; its credentials were not used yet.' },
  WORKING: { label: 'Working', tone: 'ok', meaning: 'The machine renews its credentials by itself.' },
  EXPIRED: {
    label: 'Expired',
    tone: 'warn',
    meaning: 'The machine was away for too long to renew them. It comes back with a new token.',
  },
  REVOKED: {
    label: 'Withdrawn',
    tone: 'warn',
    meaning: 'They were taken back and open nothing any more. The machine comes back with a new token.',
  },
  CLONED: {
    label: 'Used by two machines',
    tone: 'bad',
    meaning:
      'Two machines have used this host’s credentials, so one is a copy of the other. Sandboxes run on, but none is placed here and neither machine can renew, until you say which of them is the host.',
  },
};

/** A state that this build does not know still has a name. */
export function credentialWords(state: HostCredentialsState): StateWords {
  return states[state] ?? { label: state.toLowerCase().replaceAll('_', ' '), tone: 'idle', meaning: '' };
}

export function quarantineCause(cause: HostQuarantineCause): string {
  switch (cause) {
    case 'REFRESH_REUSED':
      return 'Credentials came back that newer ones had replaced.';
    case 'SECOND_AGENT':
      return 'A second agent came with them while the first was connected and answered.';
    case 'SECOND_MACHINE':
      return 'They came from another machine than they were given to.';
  }
}

/** What may tell two machines apart. */
export const MACHINE_FIELDS = [
  { field: 'address', label: 'Address', hint: 'Where it was seen; that of a proxy when there is one in between' },
  { field: 'machineId', label: 'Machine id', hint: 'Stays the same across boots' },
  { field: 'bootId', label: 'Boot id', hint: 'Another one with every boot' },
] as const;

/** In which of these two machines differ; a value that is not known tells nothing. */
export function differences(
  a: CredentialHolder | undefined,
  b: CredentialHolder | undefined,
): readonly (typeof MACHINE_FIELDS)[number]['field'][] {
  if (!a || !b) return [];
  return MACHINE_FIELDS.map(({ field }) => field).filter(
    (field) => a[field] !== null && b[field] !== null && a[field] !== b[field],
  );
}

/** What a new token would do to the machines there are. */
export type TokenStake = 'NONE' | 'REPLACES' | 'DECIDES';

/** @param refusal the type of the last refusal, which knows better than what was shown. */
export function stakeOf(state: HostCredentialsState | null, refusal: string | null = null): TokenStake {
  if (refusal === 'HostQuarantined') return 'DECIDES';
  if (refusal === 'HostHasCredentials') return 'REPLACES';
  if (state === 'CLONED') return 'DECIDES';
  return state === 'WORKING' ? 'REPLACES' : 'NONE';
}

/** Whether the machine that a token was made for is there: it has credentials that are nobody else's. */
export function hasJoined(state: HostCredentialsState | null, isOnline: boolean): boolean {
  return isOnline && (state === 'WORKING' || state === 'UNUSED');
}
