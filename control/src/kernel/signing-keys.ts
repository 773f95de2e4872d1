import type { InferKyselyDB } from '@mikro-orm/sql';
import {
  calculateJwkThumbprint,
  CompactSign,
  exportJWK,
  generateKeyPair,
  importJWK,
  jwtVerify,
  SignJWT,
  type CryptoKey,
  type JWTPayload,
} from 'jose';
import { QUERY_OPTIONS, type DatabaseConnection } from '../database/database.ts';
import type { SigningKeySchema } from './signing-key.entity.ts';

export type SigningKeyTables = InferKyselyDB<typeof SigningKeySchema, typeof QUERY_OPTIONS>;

/** `SESSION` signs users' tokens, `HOST` hosts' tokens; a key never does both. */
export type KeyPurpose = 'SESSION' | 'HOST';

const ISSUER = 'rookery';

/** A public key that others check control's signatures by. */
export interface ControlKey {
  readonly kid: string;
  /** Raw Ed25519 public key, base64url. */
  readonly publicKey: string;
}

/** How long the keys of a purpose are taken from memory, in ms: a key that another replica made signs here this late. */
const KEYS_FRESH_MS = 60_000;

/** A fresh key as a row. */
export async function newSigningKey(purpose: KeyPurpose) {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
  const publicJwk = await exportJWK(publicKey);
  return {
    kid: await calculateJwkThumbprint(publicJwk),
    purpose,
    publicJwk,
    privateJwk: await exportJWK(privateKey),
    createdAt: new Date(),
  };
}

/** The keys of one purpose as they were a moment ago. */
export interface Signer {
  /** The signing one first. */
  readonly publicKeys: readonly ControlKey[];
  /** As {@link SigningKeys.sign}. */
  sign(type: string, audience: string, lifetimeSeconds: number, claims: JWTPayload): Promise<string>;
}

interface LoadedKey {
  readonly kid: string;
  readonly raw: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
}

/**
 * Signs and checks tokens with keys that all replicas share. The newest key of a purpose signs; all
 * of them verify, so that a key can be rotated without logging anyone out.
 */
export class SigningKeys {
  readonly #database: DatabaseConnection;
  readonly #loaded = new Map<KeyPurpose, { readonly keys: LoadedKey[]; readonly at: number }>();
  readonly #loading = new Map<KeyPurpose, Promise<LoadedKey[]>>();

  constructor(database: DatabaseConnection) {
    this.#database = database;
  }

  /**
   * Issues a token. Not to be called inside a transaction, see {@link signer}.
   *
   * @param type the JWT `typ`, by which kinds of tokens are told apart.
   * @param lifetimeSeconds from now, by this process's clock.
   */
  async sign(
    purpose: KeyPurpose,
    type: string,
    audience: string,
    lifetimeSeconds: number,
    claims: JWTPayload,
  ): Promise<string> {
    return (await this.signer(purpose)).sign(type, audience, lifetimeSeconds, claims);
  }

  /**
   * What signs without the database, for whoever is about to open a transaction.
   *
   * INVARIANT: keys are never read inside one. Reading takes a connection of its own, and as many
   * transactions as the pool has connections would then wait for each other.
   */
  async signer(purpose: KeyPurpose): Promise<Signer> {
    const keys = await this.#keys(purpose);
    const [key] = keys;
    if (!key) throw new Error(`no ${purpose} signing key`);
    return {
      publicKeys: keys.map(({ kid, raw }) => ({ kid, publicKey: raw })),
      sign: (type, audience, lifetimeSeconds, claims) =>
        new SignJWT(claims)
          .setProtectedHeader({ alg: 'EdDSA', kid: key.kid, typ: type })
          .setIssuer(ISSUER)
          .setAudience(audience)
          .setIssuedAt()
          .setExpirationTime(`${lifetimeSeconds}s`)
          .sign(key.privateKey),
    };
  }

  /** The claims of a valid token; undefined for anything that is not one. */
  async verify(purpose: KeyPurpose, type: string, audience: string, token: string): Promise<JWTPayload | undefined> {
    const keys = await this.#keys(purpose);
    try {
      const { payload } = await jwtVerify(
        token,
        async ({ kid }) =>
          (keys.find((key) => key.kid === kid) ?? (await this.#reload(purpose, kid)))?.publicKey as CryptoKey,
        { issuer: ISSUER, audience, typ: type, algorithms: ['EdDSA'], requiredClaims: ['sub', 'exp'] },
      );
      return payload;
    } catch {
      return undefined;
    }
  }

  /** A statement that does not expire, as a compact JWS by each key of a purpose: whoever knows any of them can check it. */
  async signWithAll(purpose: KeyPurpose, type: string, statement: Record<string, unknown>): Promise<string[]> {
    const payload = new TextEncoder().encode(JSON.stringify({ iss: ISSUER, ...statement }));
    return Promise.all(
      (await this.#keys(purpose)).map(({ kid, privateKey }) =>
        new CompactSign(payload).setProtectedHeader({ alg: 'EdDSA', kid, typ: type }).sign(privateKey),
      ),
    );
  }

  /** Looks at the database again before the next use. */
  forget(): void {
    this.#loaded.clear();
  }

  async #keys(purpose: KeyPurpose): Promise<LoadedKey[]> {
    const loaded = this.#loaded.get(purpose);
    return loaded && performance.now() - loaded.at < KEYS_FRESH_MS ? loaded.keys : this.#shared(purpose);
  }

  /** A token by a key we do not know may come from a replica that has just made one. */
  async #reload(purpose: KeyPurpose, kid: string | undefined): Promise<LoadedKey> {
    const key = (await this.#load(purpose)).find((candidate) => candidate.kid === kid);
    if (!key) throw new Error('unknown key');
    return key;
  }

  /** One reading for all who want the keys at once. */
  #shared(purpose: KeyPurpose): Promise<LoadedKey[]> {
    const loading = this.#loading.get(purpose) ?? this.#load(purpose).finally(() => this.#loading.delete(purpose));
    this.#loading.set(purpose, loading);
    return loading;
  }

  async #load(purpose: KeyPurpose): Promise<LoadedKey[]> {
    const rows = await this.#database.as<SigningKeyTables>().transaction(async (tx) => {
      const select = tx
        .selectFrom('SigningKey')
        .selectAll()
        .where('purpose', '=', purpose)
        .orderBy('createdAt', 'desc');
      const existing = await select.execute();
      if (existing.length > 0) return existing;
      // Two replicas may both make a first key: both verify, and both are known to each other on demand.
      await tx
        .insertInto('SigningKey')
        .values(await newSigningKey(purpose))
        .execute();
      return select.execute();
    });
    const keys = await Promise.all(
      rows.map(async (row) => ({
        kid: row.kid,
        raw: row.publicJwk.x ?? '',
        privateKey: (await importJWK(row.privateJwk, 'EdDSA')) as CryptoKey,
        publicKey: (await importJWK(row.publicJwk, 'EdDSA')) as CryptoKey,
      })),
    );
    this.#loaded.set(purpose, { keys, at: performance.now() });
    return keys;
  }
}
