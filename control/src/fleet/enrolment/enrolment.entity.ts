import { defineEntity, p } from '@mikro-orm/core';
import { QUARANTINE_CAUSES } from './credential.state.ts';

/** A one-time token with which one machine may become one host. */
export const RegistrationTokenSchema = defineEntity({
  name: 'RegistrationToken',
  tableName: 'registration_tokens',
  properties: {
    /** SHA-256 of the token, base64url. */
    hash: p.text().primary(),
    hostId: p.uuid().index(),
    expiresAt: p.datetime(),
    /** Thumbprint (RFC 7638) of the first key that presented it; from then on only that key may. */
    boundJkt: p.text().nullable(),
    boundAt: p.datetime().nullable(),
    /** The family of refresh tokens that spending it began. */
    familyId: p.uuid().nullable(),
    /** When another key than the bound one was first refused; that is one event, however often it is tried. */
    misusedAt: p.datetime().nullable(),
    createdAt: p.datetime().defaultRaw('now()'),
  },
});

export class RegistrationToken extends RegistrationTokenSchema.class {}
RegistrationTokenSchema.setClass(RegistrationToken);

/**
 * The key a host proves itself with, the family of tokens that counts, and the machine that was last
 * seen with them. Kept when the host is deleted, so that its agent can be told so with a signature.
 */
export const HostIdentitySchema = defineEntity({
  name: 'HostIdentity',
  tableName: 'host_identities',
  properties: {
    hostId: p.uuid().primary(),
    /** Raw Ed25519 public key, base64url. */
    publicKey: p.text(),
    jkt: p.text(),
    familyId: p.uuid(),
    /** Hash of the newest refresh token that is known to have arrived; see `credential.state.ts`. */
    headHash: p.text().nullable(),
    sequence: p.bigint('number').default(0),
    revokedAt: p.datetime().nullable(),
    createdAt: p.datetime().defaultRaw('now()'),

    // The machine that was last granted credentials, as it describes itself, and where control saw it.
    machineId: p.text().nullable(),
    bootId: p.text().nullable(),
    address: p.text().nullable(),
    seenAt: p.datetime().nullable(),

    // The other one, while the host is quarantined (`hosts.quarantined_at`).
    quarantineCause: p.enum(QUARANTINE_CAUSES).nullable(),
    rivalMachineId: p.text().nullable(),
    rivalBootId: p.text().nullable(),
    rivalAddress: p.text().nullable(),
    rivalSeenAt: p.datetime().nullable(),
  },
});

export class HostIdentity extends HostIdentitySchema.class {}
HostIdentitySchema.setClass(HostIdentity);

/** Refresh tokens that were handed out. Which of them are good follows from the identity's head. */
export const RefreshTokenSchema = defineEntity({
  name: 'RefreshToken',
  tableName: 'refresh_tokens',
  properties: {
    /** SHA-256 of the token, base64url. */
    hash: p.text().primary(),
    hostId: p.uuid().index(),
    familyId: p.uuid(),
    /** The token it was issued for; null before anything of its family was used. */
    parentHash: p.text().nullable(),
    expiresAt: p.datetime(),
    createdAt: p.datetime().defaultRaw('now()'),
  },
});

export class RefreshToken extends RefreshTokenSchema.class {}
RefreshTokenSchema.setClass(RefreshToken);
