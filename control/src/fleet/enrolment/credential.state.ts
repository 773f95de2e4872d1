/**
 * What a host's credentials are, and what may be done with them. Pure: facts in, decisions out; the
 * service writes down exactly what is decided here, and the property tests drive exactly this.
 *
 * A host has one identity: a key and a family of refresh tokens, begun by spending a registration
 * token. One token of the family is the head, the newest that is known to have arrived because it, or
 * the access token issued beside it, was used. A token is good if it is the head or was issued for it:
 *
 *     head ──► next        a refresh whose answer was lost
 *         ╰──► next        the refresh that repeated it; its first use makes it the head
 *
 * INVARIANT: there is one live chain. Whatever gets lost, doubled or reordered, the head moves only to
 * a token that was issued for it, and with that move everything else ends.
 * INVARIANT: nobody is locked out. What an agent has saved is the head or was issued for the head,
 * because the head moves only when an agent uses what it has saved.
 */

/** The facts of `host_identities`. */
export interface Identity {
  /** Thumbprint of the host's key. */
  readonly jkt: string;
  readonly familyId: string;
  /** Null until anything of the family was used. */
  readonly headHash: string | null;
  /** Of the request that was granted last; see {@link Request}. */
  readonly sequence: number;
  /** Null when the machine has no lasting identity. */
  readonly machineId: string | null;
  readonly revokedAt: Date | null;
}

/** The facts of `refresh_tokens`. */
export interface RefreshTokenFacts {
  readonly hash: string;
  readonly familyId: string;
  /** The token it was issued for; null for those issued before anything of the family was used. */
  readonly parentHash: string | null;
  readonly expiresAt: Date;
}

/** The facts of `registration_tokens`. */
export interface RegistrationTokenFacts {
  readonly hostId: string;
  readonly expiresAt: Date;
  readonly boundJkt: string | null;
  readonly familyId: string | null;
  /** When a second key was first refused. */
  readonly misusedAt: Date | null;
}

/** The facts of `hosts`. */
export interface HostFacts {
  readonly deletedAt: Date | null;
  readonly quarantinedAt: Date | null;
}

/** What an agent sends beside its token. */
export interface Request {
  /**
   * One more than that of the request which was granted last, as control has told it. No other is
   * granted, and none twice: a message that was delayed on its way, or recorded and sent again, is out
   * of turn, and whoever is alive is told the number and comes again with the next one. So no number
   * that anybody chooses takes one away from anybody else.
   */
  readonly sequence: number;
  readonly machineId: string | null;
}

export const REFUSALS = {
  CREDENTIALS_CLONED: 'Two machines have used this host’s credentials; its owner must decide by a new token.',
  CREDENTIALS_REPLACED: 'The host was registered anew; these credentials are of before that.',
  CREDENTIALS_REVOKED: 'The host’s credentials were revoked.',
  TEAM_NOT_BYOC: 'The host’s team may not bring its own hosts any more; a platform admin can allow it.',
  TOKEN_EXPIRED: 'The token has expired; make a new one for the host.',
  TOKEN_OTHER_HOST: 'This token is of another host than the one this machine is.',
  TOKEN_UNKNOWN: 'The token is not known; make a new one for the host.',
  TOKEN_USED: 'The token was already used.',
} as const;
export type Refusal = keyof typeof REFUSALS;

/** How control came to know that two machines, or two agents, have the same credentials. */
export const QUARANTINE_CAUSES = ['REFRESH_REUSED', 'SECOND_AGENT', 'SECOND_MACHINE'] as const;
export type QuarantineCause = (typeof QUARANTINE_CAUSES)[number];

interface Refused {
  readonly kind: 'REFUSE';
  readonly reason: Refusal;
}

const refuse = (reason: Refusal): Refused => ({ kind: 'REFUSE', reason });

/** Says nothing about anybody's credentials, and changes nothing. */
export interface OutOfTurn {
  readonly kind: 'OUT_OF_TURN';
  /** The next request has the number after it. */
  readonly lastSequence: number;
}

/** Undefined for a request that has its turn. */
function outOfTurn(identity: Identity | undefined, sequence: number): OutOfTurn | undefined {
  const lastSequence = identity?.sequence ?? 0;
  return sequence === lastSequence + 1 ? undefined : { kind: 'OUT_OF_TURN', lastSequence };
}

export type Standing = 'HEAD' | 'NEXT' | 'SPENT' | 'REPLACED';

/** What a refresh token is to an identity. */
export function standingOf(identity: Identity, token: RefreshTokenFacts): Standing {
  if (token.familyId !== identity.familyId) return 'REPLACED';
  if (token.hash === identity.headHash) return 'HEAD';
  return token.parentHash === identity.headHash ? 'NEXT' : 'SPENT';
}

export type Registration =
  /** A new family, with which all before it ends. `boundTo` is what the token has to be bound to in the same breath. */
  | { readonly kind: 'ENROL'; readonly identity: Identity; readonly parentHash: null }
  /** The same key again: its answer may have been lost. */
  | { readonly kind: 'REPEAT'; readonly changes: Pick<Identity, 'sequence'>; readonly parentHash: string | null }
  | OutOfTurn
  /** `misuse`: the first time that another key came, which the owner should hear of. */
  | (Refused & { readonly misuse?: boolean });

/**
 * Decides about a registration token.
 *
 * @param jkt       thumbprint of a key whose possession was proven.
 * @param claimedId the host that the machine says it is already; undefined for a new machine.
 * @param familyId  for a family that is to begin.
 */
export function decideRegistration(
  facts: {
    readonly token: RegistrationTokenFacts | undefined;
    readonly host: HostFacts | undefined;
    readonly identity: Identity | undefined;
    /** Whether the host's team may have hosts of its own; true for a host of the platform. */
    readonly isAllowed: boolean;
  },
  { jkt, claimedId, familyId, sequence, machineId }: Request & { jkt: string; claimedId?: string; familyId: string },
  now: Date,
): Registration {
  const { token, host, identity, isAllowed } = facts;
  if (!token || !host || host.deletedAt) return refuse('TOKEN_UNKNOWN');
  if (claimedId !== undefined && claimedId !== token.hostId) return refuse('TOKEN_OTHER_HOST');
  if (token.boundJkt !== null && token.boundJkt !== jkt)
    return { ...refuse('TOKEN_USED'), misuse: token.misusedAt === null };
  if (token.expiresAt <= now) return refuse('TOKEN_EXPIRED');
  if (!isAllowed) return refuse('TEAM_NOT_BYOC');
  const untimely = outOfTurn(identity, sequence);
  if (token.boundJkt === null) {
    if (untimely) return untimely;
    const begun: Identity = { jkt, familyId, headHash: null, sequence, machineId, revokedAt: null };
    return { kind: 'ENROL', identity: begun, parentHash: null };
  }
  if (!identity || identity.familyId !== token.familyId) return refuse('CREDENTIALS_REPLACED');
  if (host.quarantinedAt) return refuse('CREDENTIALS_CLONED');
  // A key and a token that came with a disk image: the first of its machines is the host.
  if (isOtherMachine(identity, machineId)) return { ...refuse('TOKEN_USED'), misuse: token.misusedAt === null };
  if (untimely) return untimely;
  return { kind: 'REPEAT', changes: { sequence }, parentHash: identity.headHash };
}

export type Renewal =
  | {
      readonly kind: 'RENEW';
      readonly changes: Pick<Identity, 'headHash' | 'sequence' | 'machineId'>;
      /** The token that the new one is issued for. */
      readonly parentHash: string;
    }
  /** Proven by nobody but control, so the answer is signed. */
  | { readonly kind: 'DELETED' }
  | { readonly kind: 'QUARANTINE'; readonly cause: QuarantineCause }
  | OutOfTurn
  | Refused;

/** Decides about a refresh token that came with a proof of the host's key. */
export function decideRefresh(
  facts: {
    readonly token: RefreshTokenFacts | undefined;
    readonly host: HostFacts | undefined;
    readonly identity: Identity | undefined;
  },
  { sequence, machineId }: Request,
  now: Date,
): Renewal {
  const { token, host, identity } = facts;
  if (!token || !host || !identity) return refuse('TOKEN_UNKNOWN');
  if (host.deletedAt) return { kind: 'DELETED' };
  if (identity.revokedAt) return refuse('CREDENTIALS_REVOKED');
  const standing = standingOf(identity, token);
  if (standing === 'REPLACED') return refuse('CREDENTIALS_REPLACED');
  if (host.quarantinedAt) return refuse('CREDENTIALS_CLONED');
  const untimely = outOfTurn(identity, sequence);
  if (untimely) return untimely;
  // Somebody who knows the newest number and holds an old token: no message of the host's own is that.
  if (standing === 'SPENT') return { kind: 'QUARANTINE', cause: 'REFRESH_REUSED' };
  if (token.expiresAt <= now) return refuse('TOKEN_EXPIRED');
  if (isOtherMachine(identity, machineId)) return { kind: 'QUARANTINE', cause: 'SECOND_MACHINE' };
  return {
    kind: 'RENEW',
    changes: {
      headHash: token.hash,
      sequence,
      machineId: machineId ?? identity.machineId,
    },
    parentHash: token.hash,
  };
}

export type Use =
  /** `changes`: the first use, which ends everything before it. */
  { readonly kind: 'ACCEPT'; readonly changes?: Pick<Identity, 'headHash'> } | { readonly kind: 'REJECT' };

/**
 * Decides about a request that is authenticated by an access token.
 *
 * @param jkt   thumbprint in the access token.
 * @param token the refresh token that it was issued beside.
 */
export function decideUse(
  facts: { readonly token: RefreshTokenFacts; readonly host: HostFacts; readonly identity: Identity },
  jkt: string,
): Use {
  const { token, host, identity } = facts;
  const standing = standingOf(identity, token);
  if (host.deletedAt || identity.revokedAt || identity.jkt !== jkt || standing === 'REPLACED')
    return { kind: 'REJECT' };
  // Which of the two is the host is for its owner to say: until then both are heard, and neither moves on.
  if (host.quarantinedAt) return { kind: 'ACCEPT' };
  if (standing === 'SPENT') return { kind: 'REJECT' };
  return standing === 'HEAD' ? { kind: 'ACCEPT' } : { kind: 'ACCEPT', changes: { headHash: token.hash } };
}

/**
 * Whether a machine is another one than the identity's. Only a machine's lasting identity counts: a
 * boot id changes with every reboot and proves nothing, and a machine without one may be the same.
 */
export function isOtherMachine(identity: Pick<Identity, 'machineId'>, machineId: string | null): boolean {
  return machineId !== null && identity.machineId !== null && machineId !== identity.machineId;
}

export const CREDENTIAL_STATES = ['NONE', 'UNUSED', 'WORKING', 'EXPIRED', 'REVOKED', 'CLONED'] as const;
export type CredentialState = (typeof CREDENTIAL_STATES)[number];

/**
 * What a host's credentials are worth, by the rows. `WORKING` is an identity that is bound, not
 * revoked and not quarantined, whose family has a token that can still renew, and which has shown that
 * its credentials arrived by using them.
 *
 * @param renewableUntil the latest expiry among head and what was issued for it; null without any.
 */
export function credentialState(
  facts: { readonly host: HostFacts; readonly identity: Identity | undefined; readonly renewableUntil: Date | null },
  now: Date,
): CredentialState {
  const { host, identity, renewableUntil } = facts;
  if (!identity) return 'NONE';
  if (identity.revokedAt) return 'REVOKED';
  if (host.quarantinedAt) return 'CLONED';
  if (renewableUntil === null || renewableUntil <= now) return 'EXPIRED';
  return identity.headHash === null ? 'UNUSED' : 'WORKING';
}
