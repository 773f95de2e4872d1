import { hash, verify } from '@node-rs/argon2';
import { v7 as uuidv7 } from 'uuid';
import type { Viewer } from '../../kernel/viewer.ts';
import type { AccountsDatabase, UserRow } from '../tables.ts';

/**
 * Cost of a password hash: OWASP's argon2id recommendation of 19 MiB, two passes (some 25 ms). More
 * slows an attacker with the table as much as it slows a sign-in.
 */
const ARGON2_OPTIONS = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

export interface NewUser {
  readonly email: string;
  readonly name: string;
  readonly password: string;
  readonly isAdmin: boolean;
}

/** People who can sign in. */
export class UserService {
  readonly #database: AccountsDatabase;
  /** A hash of nothing, against which unknown accounts are checked. */
  readonly #decoy = hash(uuidv7(), ARGON2_OPTIONS);

  constructor(database: AccountsDatabase) {
    this.#database = database;
  }

  async anyExists(): Promise<boolean> {
    return (await this.#database.query.selectFrom('User').select('id').limit(1).executeTakeFirst()) !== undefined;
  }

  async create({ email, name, password, isAdmin }: NewUser): Promise<UserRow> {
    return this.#database.query
      .insertInto('User')
      .values({
        id: uuidv7(),
        email: normalizeEmail(email),
        name,
        isAdmin,
        passwordHash: await hash(password, ARGON2_OPTIONS),
        createdAt: new Date(),
      })
      .returningAll()
      .executeTakeFirstOrThrow();
  }

  /**
   * The user with this e-mail and password; undefined when either is wrong. An unknown address takes
   * as long as a wrong password, so that addresses cannot be probed.
   */
  async withPassword(email: string, password: string): Promise<UserRow | undefined> {
    const user = await this.#database.query
      .selectFrom('User')
      .selectAll()
      .where('email', '=', normalizeEmail(email))
      .executeTakeFirst();
    const matches = await verify(user?.passwordHash ?? (await this.#decoy), password);
    return matches && user?.passwordHash ? user : undefined;
  }

  /** Those of the users that the viewer may know of: themselves; everyone for a platform admin. */
  async visible(viewer: Viewer, ids: readonly string[]): Promise<UserRow[]> {
    return this.byIds(ids.filter((id) => viewer.isAdmin || id === viewer.userId));
  }

  async byIds(ids: readonly string[]): Promise<UserRow[]> {
    if (ids.length === 0) return [];
    return this.#database.query.selectFrom('User').selectAll().where('id', 'in', ids).execute();
  }
}

const normalizeEmail = (email: string): string => email.trim().toLowerCase();
