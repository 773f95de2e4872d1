import type { Caller } from '@rookery/wire/caller.ts';
import { newSecret, sha256 } from '@rookery/wire/secrets.ts';
import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { isUniqueViolation } from '../../database/database.ts';
import { authorize, may, signedIn } from '../../kernel/authority.ts';
import { inputField, parseInput } from '../../kernel/input.ts';
import { IdempotencyKeyReused, NameTaken, NotFound } from '../../kernel/user-errors.ts';
import { actorOf, API_KEY_SCOPES, type ApiKeyViewer, type Viewer } from '../../kernel/viewer.ts';
import { isStale } from '../sessions/session.service.ts';
import type { AccountsDatabase, AccountsEvents, ApiKeyRow } from '../tables.ts';
import { changeTeam, lockTeam } from '../teams/team.record.ts';

/** By which a credential is known to be an API key, by us and by secret scanners. */
export const API_KEY_PREFIX = 'rk';

/** Characters of a key that stay visible: enough to tell keys apart, far from enough to guess one. */
const VISIBLE_CHARACTERS = 10;

/** A key with its secret, which is shown this once. */
export interface CreatedApiKey {
  readonly apiKey: ApiKeyRow;
  readonly secret: string;
}

const createInput = z.object({
  name: inputField.text(63),
  scopes: z
    .array(z.enum(API_KEY_SCOPES))
    .min(1, 'must name at least one scope')
    .transform((scopes) => [...new Set(scopes)].sort()),
  expiresAt: z
    .date()
    .refine((date) => date.getTime() > Date.now(), 'must be in the future')
    .nullish(),
  idempotencyKey: inputField.idempotencyKey().nullish(),
});

export interface ApiKeyServiceDeps {
  readonly database: AccountsDatabase;
  readonly events: AccountsEvents;
}

/** Teams' API keys. */
export class ApiKeyService {
  readonly #deps: ApiKeyServiceDeps;

  constructor(deps: ApiKeyServiceDeps) {
    this.#deps = deps;
  }

  /**
   * Makes a key. Repeated with the same idempotency key before the key was ever used, it answers
   * with the same key and a fresh secret: the first one may not have arrived.
   *
   * @throws {InvalidInput | NameTaken | NotFound | NotPermitted | IdempotencyKeyReused}
   */
  async create(viewer: Viewer | null, teamId: string, input: unknown): Promise<CreatedApiKey> {
    const someone = signedIn(viewer);
    const team = await this.#deps.database.query
      .selectFrom('Team')
      .select('id')
      .where('id', '=', teamId)
      .executeTakeFirst();
    authorize(someone, 'api-key:create', team && { teamId }, 'team');
    const request = parseInput(createInput, input);
    const { name, scopes, expiresAt, idempotencyKey } = request;
    const requestHash = sha256(JSON.stringify({ teamId, ...request }));
    const secret = newSecret(API_KEY_PREFIX);
    const identity = { prefix: secret.slice(0, VISIBLE_CHARACTERS), hash: sha256(secret) };
    const retried = () =>
      idempotencyKey ? this.#retried(someone, idempotencyKey, requestHash, identity) : Promise.resolve(undefined);
    const known = await retried();
    if (known) return { apiKey: known, secret };
    try {
      const apiKey = await this.#deps.events.transaction(actorOf(someone), async (tx, record) => {
        await lockTeam(tx, teamId);
        const row = await tx
          .insertInto('ApiKey')
          .values({
            id: uuidv7(),
            teamId,
            name,
            ...identity,
            scopes,
            expiresAt: expiresAt ?? null,
            createdBy: someone.id,
            createdAt: new Date(),
            idempotencyKey: idempotencyKey ?? null,
            requestHash,
          } as never)
          .returningAll()
          .executeTakeFirstOrThrow();
        await changeTeam(tx, record, teamId, 'team.api_key_created');
        return row;
      });
      return { apiKey, secret };
    } catch (error) {
      const first = isUniqueViolation(error, 'api_keys_idempotency_key') ? await retried() : undefined;
      if (first) return { apiKey: first, secret };
      throw isUniqueViolation(error, 'api_keys_name_key') ? new NameTaken('key', name) : error;
    }
  }

  /** Refuses a key from now on. @throws {NotFound | NotPermitted} */
  async revoke(viewer: Viewer | null, apiKeyId: string): Promise<ApiKeyRow> {
    const someone = signedIn(viewer);
    const [apiKey] = await this.byIds([apiKeyId]);
    authorize(someone, 'api-key:revoke', apiKey, 'API key');
    return this.#deps.events.transaction(actorOf(someone), async (tx, record) => {
      await lockTeam(tx, apiKey.teamId);
      const revoked = await tx
        .updateTable('ApiKey')
        .set({ revokedAt: new Date() })
        .where('id', '=', apiKeyId)
        .where('revokedAt', 'is', null)
        .returningAll()
        .executeTakeFirst();
      // Already revoked is what was wanted.
      if (!revoked) return apiKey;
      await changeTeam(tx, record, apiKey.teamId, 'team.api_key_revoked');
      return revoked;
    });
  }

  /** A team's keys that have not been revoked, newest first; none for who may not see them. */
  async ofTeam(viewer: Viewer, teamId: string): Promise<ApiKeyRow[]> {
    if (!may(viewer, 'api-key:read', { teamId })) return [];
    return this.#deps.database.query
      .selectFrom('ApiKey')
      .selectAll()
      .where('teamId', '=', teamId)
      .where('revokedAt', 'is', null)
      .orderBy('id', 'desc')
      .execute();
  }

  /** Those of the keys that the viewer may know of; a key knows itself. */
  async visible(viewer: Viewer, ids: readonly string[]): Promise<ApiKeyRow[]> {
    const rows = await this.byIds(ids);
    return rows.filter((key) => key.id === viewer.id || may(viewer, 'api-key:read', key));
  }

  async byIds(ids: readonly string[]): Promise<ApiKeyRow[]> {
    if (ids.length === 0) return [];
    return this.#deps.database.query.selectFrom('ApiKey').selectAll().where('id', 'in', ids).execute();
  }

  /** What a key is good for at this moment; null for one that is unknown, expired or revoked. */
  async viewerOfSecret(secret: string, { address }: Caller): Promise<ApiKeyViewer | null> {
    const key = await this.#deps.database.query
      .selectFrom('ApiKey')
      .selectAll()
      .where('hash', '=', sha256(secret))
      .where('revokedAt', 'is', null)
      .executeTakeFirst();
    if (!key || (key.expiresAt && key.expiresAt.getTime() <= Date.now())) return null;
    if (isStale(key.lastUsedAt)) await this.#touch(key.id, address);
    const { id, teamId } = key;
    return {
      kind: 'API_KEY',
      id,
      label: `${key.prefix}… ${key.name}`,
      isAdmin: false,
      teamId,
      scopes: new Set(key.scopes),
    };
  }

  async #touch(id: string, address: string | undefined): Promise<void> {
    await this.#deps.database.query
      .updateTable('ApiKey')
      .set({ lastUsedAt: sql<Date>`now()`, lastUsedAddress: address ?? null })
      .where('id', '=', id)
      .execute();
  }

  async #retried(
    viewer: Viewer,
    idempotencyKey: string,
    requestHash: string,
    identity: { prefix: string; hash: string },
  ): Promise<ApiKeyRow | undefined> {
    const { query } = this.#deps.database;
    const row = await query
      .selectFrom('ApiKey')
      .selectAll()
      .where('createdBy', '=', viewer.id)
      .where('idempotencyKey', '=', idempotencyKey)
      .executeTakeFirst();
    if (!row) return undefined;
    if (row.requestHash !== requestHash) throw new IdempotencyKeyReused();
    const renewed = await query
      .updateTable('ApiKey')
      .set(identity)
      .where('id', '=', row.id)
      .where('lastUsedAt', 'is', null)
      .where('revokedAt', 'is', null)
      .returningAll()
      .executeTakeFirst();
    // It is in use: whoever repeats the request has its secret, or should make another key.
    if (!renewed) throw new NotFound('unused API key of that request');
    return renewed;
  }
}
