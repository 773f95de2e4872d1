import { endOfTunnels } from '../tunnels/tunnel.books.ts';
import DataLoader from 'dataloader';
import { sql, type Selectable } from 'kysely';
import { inOrder, together } from '../../kernel/batching.ts';
import { observeHost } from '../hosts/host-lifecycle.state.ts';
import { specsToColumns, type HostSpecs } from '../hosts/host.specs.ts';
import type { FleetDatabase, FleetTables, FleetTransaction, HostRow } from '../tables.ts';

/** Hosts whose credentials are looked up by one statement. */
const HOSTS_TOGETHER = 200;

/** A machine as it describes itself, and where its request came from. */
export interface Machine {
  readonly machineId: string | null;
  readonly bootId: string;
  readonly address: string | null;
}

export type IdentityRow = Selectable<FleetTables['HostIdentity']>;

/** Locks a host, which whoever changes something of its own does first, and reads its identity. */
export async function lockHost(
  tx: FleetTransaction,
  hostId: string,
): Promise<{ host: HostRow | undefined; identity: IdentityRow | undefined }> {
  const host = await tx.selectFrom('Host').selectAll().where('id', '=', hostId).forUpdate().executeTakeFirst();
  const identity = await tx
    .selectFrom('HostIdentity')
    .selectAll()
    .where('hostId', '=', hostId)
    .forUpdate()
    .executeTakeFirst();
  return { host, identity };
}

/**
 * One statement, so that of two machines that race with one token exactly one wins even if the lock above were not there.
 *
 * @returns whether it is bound now; false when another key was first.
 */
export async function bindToken(tx: FleetTransaction, hash: string, jkt: string, familyId: string): Promise<boolean> {
  const { numUpdatedRows } = await tx
    .updateTable('RegistrationToken')
    .set({ boundJkt: jkt, boundAt: new Date(), familyId })
    .where('hash', '=', hash)
    .where('boundJkt', 'is', null)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/**
 * What a use of credentials is decided by, for the hash of the refresh token that they were issued beside: the token,
 * its host, and the identity that the host has now.
 */
export const useLoader = (database: FleetDatabase) =>
  new DataLoader(async (hashes: readonly string[]) => {
    const rows = await database.query
      .selectFrom('HostIdentity')
      .innerJoin('Host', 'Host.id', 'HostIdentity.hostId')
      .innerJoin('RefreshToken', 'RefreshToken.hostId', 'HostIdentity.hostId')
      .selectAll('HostIdentity')
      .select([
        'Host.deletedAt',
        'Host.quarantinedAt',
        'RefreshToken.hash as tokenHash',
        'RefreshToken.familyId as tokenFamilyId',
        'RefreshToken.parentHash',
        'RefreshToken.expiresAt',
      ])
      .where('RefreshToken.hash', '=', sql<string>`any(${[...hashes]}::text[])`)
      .execute();
    return inOrder(hashes, rows, ({ tokenHash }) => tokenHash);
  }, together(HOSTS_TOGETHER));

type Identity = Omit<IdentityRow, 'hostId' | 'createdAt'>;

/** Begins an identity, or begins it anew. */
export async function saveIdentity(tx: FleetTransaction, hostId: string, identity: Identity): Promise<void> {
  await tx
    .insertInto('HostIdentity')
    .values({ ...identity, hostId, createdAt: new Date() })
    .onConflict((conflict) => conflict.column('hostId').doUpdateSet(identity))
    .execute();
}

/** The machine that was just granted credentials, as columns. */
export const seen = (machine: Machine, seenAt: Date) => ({ ...machineColumns(machine), seenAt });
const machineColumns = ({ machineId, bootId, address }: Machine) => ({ machineId, bootId, address });

/** Columns of an identity without a quarantine. */
export const NO_RIVAL = {
  quarantineCause: null,
  rivalMachineId: null,
  rivalBootId: null,
  rivalAddress: null,
  rivalSeenAt: null,
} as const;

/** A machine is the host from now on: it is described anew, heard, and its inventory counts from the beginning. */
export async function enrolHost(tx: FleetTransaction, host: HostRow, specs: HostSpecs, now: Date): Promise<HostRow> {
  const lease = { seenAt: now, inventoryDigest: null, inventoryEpoch: 0 };
  await tx
    .insertInto('HostLease')
    .values({ hostId: host.id, ...lease, load1: 0, memoryUsedMb: 0, diskUsedMb: 0 })
    .onConflict((conflict) => conflict.column('hostId').doUpdateSet(lease))
    .execute();
  await tx.updateTable('Sandbox').set({ observedEpoch: 0 }).where('hostId', '=', host.id).execute();
  return touchHost(tx, host, {
    ...specsToColumns(specs),
    ...observeHost(host, { type: 'JOINED' }, now).changes,
    // What is open was opened with credentials that are over.
    ...endOfTunnels(host),
  });
}

/** Writes a host with its next revision. */
export async function touchHost(tx: FleetTransaction, host: HostRow, changes: Partial<HostRow>): Promise<HostRow> {
  return tx
    .updateTable('Host')
    .set({ ...changes, revision: host.revision + 1 })
    .where('id', '=', host.id)
    .returningAll()
    .executeTakeFirstOrThrow();
}
