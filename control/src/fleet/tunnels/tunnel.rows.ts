import DataLoader from 'dataloader';
import { sql } from 'kysely';
import { isDatabaseOutage } from '../../database/database.ts';
import { inOrder, together } from '../../kernel/batching.ts';
import type { Change as LoggedChange, Record } from '../../kernel/events/event-log.ts';
import type { FleetDatabase, FleetEvents, FleetTransaction, HostRow } from '../tables.ts';

/** Hosts whose tunnels are read, or written down, together. */
export const HOSTS_TOGETHER = 200;

/** Least time between two transactions that write tunnels down, in ms. More makes fewer of them, and keeps hosts that return waiting. */
const WRITE_PACE_MS = 25;

/** What the books say of a host's tunnel. */
export interface TunnelFacts {
  readonly generation: number;
  readonly holder: string | null;
  /** The agent process that was admitted last. */
  readonly instance: string | null;
  readonly address: string | null;
  readonly quarantinedAt: Date | null;
}

/** What the books say of hosts' tunnels, by the hosts' ids. */
export const factsLoader = (database: FleetDatabase) =>
  new DataLoader(async (hostIds: readonly string[]) => {
    const rows = await database.query
      .selectFrom('Host')
      .leftJoin('HostIdentity', 'HostIdentity.hostId', 'Host.id')
      .select([
        'Host.id',
        'Host.tunnelGeneration as generation',
        'Host.tunnelHolder as holder',
        'Host.tunnelInstance as instance',
        'Host.tunnelAddress as address',
        'Host.quarantinedAt',
        'HostIdentity.familyId',
        'HostIdentity.revokedAt',
      ])
      .where('Host.id', '=', anyOf(hostIds))
      .where('Host.deletedAt', 'is', null)
      .execute();
    return inOrder(hostIds, rows, ({ id }) => id);
  }, together(HOSTS_TOGETHER));

/** A change of one host's tunnel. */
export interface Change {
  readonly hostId: string;
  /** Of the event that it is when placement may care. */
  readonly type: string;
  /** Of the host's credentials: nothing is changed when these are not those that stand. */
  readonly familyId?: string | undefined;
  /** Decides on the locked row. */
  readonly decide: (host: HostRow) => TunnelChanges | undefined;
}

type TunnelChanges = Pick<HostRow, 'tunnelReplica'> &
  Partial<Pick<HostRow, 'tunnelGeneration' | 'tunnelHolder' | 'tunnelInstance' | 'tunnelAddress'>>;

export type Outcome = 'WRITTEN' | 'UNCHANGED' | 'NO_HOST';

/** What changes hosts, each under its lock; those that come together in one transaction. */
export function changerOf(events: FleetEvents): (change: Change) => Promise<Outcome> {
  const loader = new DataLoader<Change, Outcome | 'ALONE'>(
    async (changes) => {
      try {
        return await events.transaction('control', (tx, record) => changeFree(tx, record, changes));
      } catch (error) {
        if (isDatabaseOutage(error) || changes.length === 1) throw error;
        // What cannot be written of one host must not cost the others theirs.
        return changes.map(() => 'ALONE' as const);
      }
    },
    together(HOSTS_TOGETHER, WRITE_PACE_MS),
  );
  return async (change) => {
    const outcome = await loader.load(change);
    if (outcome !== 'ALONE') return outcome;
    const [alone = 'NO_HOST'] = await events.transaction('control', async (tx, record) =>
      write(tx, record, [change], await lockedRows(tx, [change.hostId]).execute()),
    );
    return alone;
  };
}

/**
 * Changes the hosts that nobody has locked. Of the others, at which somebody may be for long, the answer is `ALONE`: the
 * caller changes each in a transaction of its own, which may wait.
 *
 * INVARIANT: a transaction about several hosts waits for none of them, so that it cannot lock itself out with whoever
 * holds one of them and waits for something else.
 */
export async function changeFree(
  tx: FleetTransaction,
  record: Record,
  changes: readonly Change[],
): Promise<(Outcome | 'ALONE')[]> {
  const ids = changes.map(({ hostId }) => hostId);
  const free = await lockedRows(tx, ids).skipLocked().execute();
  const outcomes = await write(tx, record, changes, free);
  if (!outcomes.includes('NO_HOST')) return outcomes;
  const there = await tx
    .selectFrom('Host')
    .select('id')
    .where('id', '=', anyOf(ids))
    .where('deletedAt', 'is', null)
    .execute();
  const existing = new Set(there.map(({ id }) => id));
  return outcomes.map((outcome, index) =>
    outcome === 'NO_HOST' && existing.has(ids[index] as string) ? 'ALONE' : outcome,
  );
}

/** Decides on locked rows and writes what changes, with its events, by one statement each. */
async function write(
  tx: FleetTransaction,
  record: Record,
  changes: readonly Change[],
  locked: readonly HostRow[],
): Promise<Outcome[]> {
  const hosts = new Map(locked.map((host) => [host.id, host]));
  const claiming = changes.filter(({ familyId }) => familyId !== undefined).map(({ hostId }) => hostId);
  // After the lock, and so what holds as long as it does.
  const families = claiming.length > 0 ? await currentFamilies(tx, claiming) : new Map<string, string>();
  const changed = new Map<string, HostRow>();
  const events: LoggedChange[] = [];
  const outcomes = changes.map(({ hostId, type, familyId, decide }): Outcome => {
    const host = hosts.get(hostId);
    if (!host) return 'NO_HOST';
    if (familyId !== undefined && families.get(hostId) !== familyId) return 'UNCHANGED';
    const fields = decide(host);
    if (!fields) return 'UNCHANGED';
    const isNews = fields.tunnelReplica !== host.tunnelReplica;
    const row = { ...host, ...fields, revision: host.revision + (isNews ? 1 : 0) };
    // As if those of one host had come one after the other.
    hosts.set(hostId, row);
    changed.set(hostId, row);
    if (isNews) events.push({ subject: 'HOST', change: 'UPDATED', type, row, actor: `host:${hostId}` });
    return 'WRITTEN';
  });
  await save(tx, [...changed.values()]);
  await record(events);
  return outcomes;
}

const lockedRows = (tx: FleetTransaction, ids: readonly string[]) =>
  tx.selectFrom('Host').selectAll().where('id', '=', anyOf(ids)).where('deletedAt', 'is', null).forUpdate();

async function currentFamilies(tx: FleetTransaction, hostIds: readonly string[]): Promise<Map<string, string>> {
  const rows = await tx
    .selectFrom('HostIdentity')
    .select(['hostId', 'familyId'])
    .where('hostId', '=', anyOf(hostIds))
    .where('revokedAt', 'is', null)
    .execute();
  return new Map(rows.map(({ hostId, familyId }) => [hostId, familyId]));
}

async function save(tx: FleetTransaction, rows: readonly HostRow[]): Promise<void> {
  if (rows.length === 0) return;
  const column = <T>(pick: (row: HostRow) => T): T[] => rows.map(pick);
  await sql`
    update hosts set tunnel_generation = changed.generation, tunnel_holder = changed.holder,
      tunnel_instance = changed.instance, tunnel_address = changed.address, tunnel_replica = changed.replica,
      revision = changed.revision
    from unnest(
      ${column((row) => row.id)}::uuid[], ${column((row) => row.tunnelGeneration)}::int[],
      ${column((row) => row.tunnelHolder)}::uuid[], ${column((row) => row.tunnelInstance)}::text[],
      ${column((row) => row.tunnelAddress)}::text[], ${column((row) => row.tunnelReplica)}::uuid[],
      ${column((row) => row.revision)}::int[]
    ) as changed (id, generation, holder, instance, address, replica, revision)
    where hosts.id = changed.id`.execute(tx);
}

const anyOf = (ids: readonly string[]) => sql<string>`any(${[...ids]}::uuid[])`;
