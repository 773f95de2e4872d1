import { sql } from 'kysely';
import type { DatabaseConnection } from '../database/database.ts';
import { newSigningKey, type KeyPurpose, type SigningKeyTables } from './signing-keys.ts';

export const KEY_PURPOSES: readonly KeyPurpose[] = ['SESSION', 'HOST'];

/** Age at which a key stops signing, in days. Shorter bounds what a stolen key is good for; each one is one more to verify with. */
const SIGNS_FOR_DAYS = 90;

/** How long a key still verifies after the next one began to sign, in days: above the life of every token. */
const VERIFIES_FOR_DAYS = 120;

/** Any constant; the same in every replica. */
const ROTATION_LOCK = 7_665_703;

/**
 * Gives a purpose a new key, which signs from now on. The old ones go on verifying, so nobody is
 * logged out. Other replicas learn of it from the first token they see, or within a minute.
 *
 * @param dropOld whether what the old keys signed is refused from now on: for a key that was stolen.
 */
export async function rotateKey(database: DatabaseConnection, purpose: KeyPurpose, dropOld = false): Promise<string> {
  const key = await newSigningKey(purpose);
  await database.as<SigningKeyTables>().transaction(async (tx) => {
    if (dropOld) await tx.deleteFrom('SigningKey').where('purpose', '=', purpose).execute();
    await tx.insertInto('SigningKey').values(key).execute();
  });
  return key.kid;
}

/** Rotates keys that have signed for long enough, and drops those whose tokens have all expired. Returns how many changed. */
export async function keepKeysFresh(database: DatabaseConnection): Promise<number> {
  return database.as<SigningKeyTables>().transaction(async (tx) => {
    await sql`select pg_advisory_xact_lock(${ROTATION_LOCK})`.execute(tx);
    let changed = 0;
    for (const purpose of KEY_PURPOSES) {
      const keys = await tx
        .selectFrom('SigningKey')
        .select(['kid', 'createdAt'])
        .where('purpose', '=', purpose)
        .orderBy('createdAt', 'desc')
        .execute();
      const [signing] = keys;
      if (signing && ageInDays(signing.createdAt) > SIGNS_FOR_DAYS) {
        await tx
          .insertInto('SigningKey')
          .values(await newSigningKey(purpose))
          .execute();
        changed += 1;
      }
      // A key stopped signing when its successor was made.
      const spent = keys.filter(
        (_key, i) => i > 0 && ageInDays((keys[i - 1] as { createdAt: Date }).createdAt) > VERIFIES_FOR_DAYS,
      );
      if (spent.length === 0) continue;
      const kids = spent.map(({ kid }) => kid);
      await tx.deleteFrom('SigningKey').where('kid', 'in', kids).execute();
      changed += kids.length;
    }
    return changed;
  });
}

const ageInDays = (date: Date): number => (Date.now() - date.getTime()) / 86_400_000;
