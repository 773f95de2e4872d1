import { defineEntity, p } from '@mikro-orm/core';

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
    createdAt: p.datetime().defaultRaw('now()'),
  },
});

export class RegistrationToken extends RegistrationTokenSchema.class {}
RegistrationTokenSchema.setClass(RegistrationToken);

/** The key a host proves itself with. */
export const HostIdentitySchema = defineEntity({
  name: 'HostIdentity',
  tableName: 'host_identities',
  properties: {
    hostId: p.uuid().primary(),
    /** Raw Ed25519 public key, base64url. */
    publicKey: p.text(),
    jkt: p.text(),
    revokedAt: p.datetime().nullable(),
    createdAt: p.datetime().defaultRaw('now()'),
  },
});

export class HostIdentity extends HostIdentitySchema.class {}
HostIdentitySchema.setClass(HostIdentity);

/**
 * Refresh tokens that were handed out. Using one retires all others of its host that were issued
 * before it or beside it, so the old token lives until the new one is first used.
 */
export const RefreshTokenSchema = defineEntity({
  name: 'RefreshToken',
  tableName: 'refresh_tokens',
  properties: {
    /** SHA-256 of the token, base64url. */
    hash: p.text().primary(),
    hostId: p.uuid().index(),
    /** One more than that of the token it was issued for. */
    generation: p.integer(),
    expiresAt: p.datetime(),
    usedAt: p.datetime().nullable(),
    retiredAt: p.datetime().nullable(),
    createdAt: p.datetime().defaultRaw('now()'),
  },
});

export class RefreshToken extends RefreshTokenSchema.class {}
RefreshTokenSchema.setClass(RefreshToken);
