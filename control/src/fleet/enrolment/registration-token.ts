import { newSecret, sha256 } from '@rookery/wire/secrets.ts';
import type { FleetTransaction } from '../tables.ts';

/** A registration token, of which only the hash is kept. */
export interface IssuedToken {
  readonly token: string;
  readonly expiresAt: Date;
}

/**
 * Makes a registration token for a host. Any older one of the host dies with it, spent or not: what
 * nobody has seen must not let a second machine in.
 *
 * @param seconds how long it can be spent.
 */
export async function replaceRegistrationToken(
  tx: FleetTransaction,
  hostId: string,
  seconds: number,
): Promise<IssuedToken> {
  await dropRegistrationTokens(tx, hostId);
  const token = newSecret('rkt');
  const expiresAt = new Date(Date.now() + seconds * 1_000);
  await tx
    .insertInto('RegistrationToken')
    .values({ hash: sha256(token), hostId, expiresAt, createdAt: new Date() })
    .execute();
  return { token, expiresAt };
}

export async function dropRegistrationTokens(tx: FleetTransaction, hostId: string): Promise<void> {
  await tx.deleteFrom('RegistrationToken').where('hostId', '=', hostId).execute();
}

/** Ends every credential of a host for good. Its identity and tokens stay known, so that its agent can be told. */
export async function revokeCredentials(tx: FleetTransaction, hostId: string): Promise<void> {
  await tx.updateTable('HostIdentity').set({ revokedAt: new Date() }).where('hostId', '=', hostId).execute();
  await dropRegistrationTokens(tx, hostId);
}
