import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DatabaseConnection } from '../../src/database/database.ts';
import type { SandboxRow } from '../../src/fleet/tables.ts';
import { FencedOff } from '../../src/kernel/leadership.ts';
import { insertHost, insertIdentity, openTestDatabase } from '../harness.ts';
import { runModel } from '../lifecycle/replay.ts';
import { HOSTS, LEASE_MS, operations, REPLICAS, view, type Kept, type Pair } from './book-operations.ts';
import { MemoryBooks } from './memory-books.ts';
import { TableBooks } from './table-books.ts';

const MACHINE = { cpuCores: 2, memoryMb: 2_048, diskGb: 1 };

let connection: DatabaseConnection;

beforeAll(async () => {
  connection = await openTestDatabase();
});
afterAll(() => connection[Symbol.asyncDispose]());

const byId = <T extends { readonly id: string }>(rows: readonly T[]): T[] =>
  [...rows].sort((a, b) => (a.id < b.id ? -1 : 1));

/** Everything that the books say, in one form. */
async function everything({ books }: Kept, rows: () => Promise<{ hosts: object[]; sandboxes: SandboxRow[] }>) {
  const [{ hosts, sandboxes }, { now, cutoff, ...counts }, inventories, unsettled, failing, orphans, withOrphans] =
    await Promise.all([
      rows(),
      books.evidence(LEASE_MS),
      Promise.all(HOSTS.map((id) => books.forInventory(id, []))),
      books.unsettled(HOSTS, 1_000),
      books.failing(HOSTS),
      Promise.all(HOSTS.map((id) => books.orphansOf(id))),
      books.hostsWithOrphans(HOSTS, new Date(Date.UTC(2026, 0, 2))),
    ]);
  return {
    hosts,
    sandboxes: byId(sandboxes).map(view),
    counts,
    leaseMs: now.getTime() - cutoff.getTime(),
    listed: inventories.map((listed) => byId(listed).map(({ id, generation, status }) => ({ id, generation, status }))),
    unsettled: byId(unsettled).map(({ id }) => id),
    failing: [...failing].sort(),
    orphans: orphans.map((seen) =>
      seen
        .map(({ sandboxId: id, generation, firstSeenAt, lastSeenAt, readings }) => ({
          ...{ id, generation, firstSeenAt, lastSeenAt, readings },
        }))
        .sort((a, b) => (a.id < b.id ? -1 : 1)),
    ),
    withOrphans: [...withOrphans].sort(),
  };
}

async function inMemory({ hosts, sandboxes }: MemoryBooks) {
  const kept = [...hosts.values()].map(
    ({ capacity: _capacity, seenAt: _seenAt, lastPlacement: _last, isFailing: _isFailing, ...host }) => host,
  );
  return { hosts: kept, sandboxes: [...sandboxes.values()] };
}

async function inTables({ database }: TableBooks) {
  const { rows } = await sql<object>`select host.id, host.status, host.tunnel_replica as "tunnelReplica",
      json_build_object('sandboxes', allocated_sandboxes, 'milliVcpus', allocated_milli_vcpus,
        'memoryMb', allocated_memory_mb, 'diskMb', allocated_disk_mb) as allocated,
      create_failures as "createFailures",
      lease.inventory_digest as "inventoryDigest", lease.inventory_epoch::int as "inventoryEpoch"
    from hosts as host join host_leases as lease on lease.host_id = host.id order by host.id`.execute(database.query);
  return { hosts: rows, sandboxes: await database.query.selectFrom('Sandbox').selectAll().execute() };
}

async function start(): Promise<Pair> {
  const memory = new MemoryBooks(Date.now, { onSandbox: () => {}, onLost: () => {} });
  const tables = new TableBooks(connection, MACHINE);
  await sql`truncate hosts, host_identities, host_leases, sandboxes, orphans, events`.execute(tables.database.query);
  for (const id of HOSTS) {
    memory.addHost(id, {
      milliVcpus: MACHINE.cpuCores * 1_000,
      memoryMb: MACHINE.memoryMb,
      diskMb: MACHINE.diskGb * 1_024,
    });
    await insertHost(connection, { id, ...MACHINE, tunnelReplica: null });
    tables.families.set(id, await insertIdentity(connection, id));
    await sql`insert into host_leases (host_id, seen_at, load1, memory_used_mb, disk_used_mb, inventory_epoch)
      values (${id}, now(), 0, 0, 0, 0)`.execute(tables.database.query);
  }
  const setMemory = async (id: string, seenAt: Date) =>
    Object.assign(memory.hosts.get(id) as object, { seenAt: seenAt.getTime() });
  const setTables = (id: string, seenAt: Date) =>
    sql`update host_leases set seen_at = ${seenAt} where host_id = ${id}`.execute(tables.database.query);
  const all: Kept[] = [
    { books: memory, terms: [await memory.newTerm()], setLease: (id, at) => setMemory(id, at).then(() => {}) },
    { books: tables, terms: [await tables.newTerm()], setLease: (id, at) => setTables(id, at).then(() => {}) },
  ];
  for (const { books } of all) for (const id of HOSTS) await books.tunnelReady(id, REPLICAS[0] as string);
  return { memory, tables, all, sandboxes: 0 };
}

/** What comes of it; of a judge that was overtaken: nothing. */
const outcome = (act: Promise<unknown>): Promise<unknown> =>
  act.catch((error: unknown) => {
    if (error instanceof FencedOff) return 'fenced off';
    throw error;
  });

test('the books that the simulation keeps in memory say what those in PostgreSQL say, whatever is done to both', async () => {
  await runModel(
    fc.asyncProperty(operations, async (sequence) => {
      const pair = await start();
      await using tables = pair.tables;
      const { memory, all } = pair;
      const [inner, outer] = all as [Kept, Kept];
      for (const [index, one] of sequence.entries()) {
        const say = `${index}: ${fc.stringify(one)}`;
        const act = one.act(pair);
        const expected = await outcome(act(outer));
        expect(await outcome(act(inner)), say).toEqual(expected);
        expect(await everything(inner, () => inMemory(memory)), say).toEqual(
          await everything(outer, () => inTables(tables)),
        );
      }
    }),
    8,
  );
}, 180_000);
