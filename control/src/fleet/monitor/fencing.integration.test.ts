import { silentLogger } from '@rookery/wire/log.ts';
import { sql } from 'kysely';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { insertHost, openTestDatabase } from '../../../test/harness.ts';
import type { DatabaseConnection } from '../../database/database.ts';
import { EventLog } from '../../kernel/events/event-log.ts';
import { FencedOff, Leadership, type Term } from '../../kernel/leadership.ts';
import { TunnelBooks } from '../tunnels/tunnel.books.ts';
import { HostPresence } from '../hosts/host-presence.service.ts';
import { START_DEADLINE_MS, StartDeadlines } from '../sandboxes/start-deadline.ts';
import type { SandboxStatus } from '../sandboxes/sandbox.state.ts';
import type { FleetDatabase, FleetEvents, FleetTables } from '../tables.ts';
import { FleetHealthService } from './fleet-health.service.ts';
import { beginning, judge } from './monitor.state.ts';

/**
 * Every write of a judge, made by one that another replica has overtaken between its judging and its writing:
 * nothing may be written. And by the one that leads, so that it is seen to be a write at all.
 */

const log = silentLogger();
let connection: DatabaseConnection;
let database: FleetDatabase;
let events: FleetEvents;
let overtaken: Term;
let current: Term;
let online: string;

beforeAll(async () => {
  connection = await openTestDatabase();
  database = connection.as<FleetTables>();
  events = new EventLog(connection, log).as<FleetTables>();
  const term = async (): Promise<Term> => {
    await using leadership = new Leadership({ url: connection.url, replicaId: randomUUID(), log });
    await leadership.start();
    return leadership.term as Term;
  };
  // The second takes the lock after the first, whose term goes on existing in what it has begun.
  overtaken = await term();
  current = await term();
});
afterAll(async () => {
  await events[Symbol.asyncDispose]();
  await connection[Symbol.asyncDispose]();
});

async function lease(hostId: string, seenAgo: string, digest: string | null = null): Promise<void> {
  await sql`insert into host_leases
    (host_id, seen_at, load1, memory_used_mb, disk_used_mb, inventory_epoch, inventory_digest)
    values (${hostId}, now() - ${seenAgo}::interval, 0, 0, 0, 0, ${digest})`.execute(database.query);
}

async function sandbox(hostId: string, status: SandboxStatus = 'STARTING'): Promise<void> {
  const size = { milliVcpus: 100, memoryMb: 64, diskMb: 64 };
  await database.query
    .insertInto('Sandbox')
    .values({
      ...size,
      ...{ id: randomUUID(), name: 'box', teamId: randomUUID(), hostId, template: 'host', labels: [] },
      ...{ desiredState: 'RUNNING', status, placement: {}, requestHash: '', createdAt: new Date() },
    } as never)
    .execute();
}

beforeEach(async () => {
  await sql`truncate hosts, host_leases, sandboxes, events, fleet_health`.execute(database.query);
  online = (await insertHost(connection)).id;
  await lease(online, '1 hour');
  await sandbox(online);
  const away = await insertHost(connection, { status: 'UNREACHABLE', tunnelReplica: null });
  await lease(away.id, '1 hour');
  await sandbox(away.id);
  const back = await insertHost(connection);
  await lease(back.id, '0 hours', 'known');
  await sandbox(back.id, 'MISSING');
  const early = await insertHost(connection, { tunnelReplica: null });
  await lease(early.id, '-1 hour');
});

/** Everything that a judge could write to. */
async function everything(): Promise<string> {
  const { query } = database;
  return JSON.stringify([
    await query.selectFrom('Host').selectAll().orderBy('id').execute(),
    await query.selectFrom('HostLease').selectAll().orderBy('hostId').execute(),
    await query.selectFrom('Sandbox').selectAll().orderBy('id').execute(),
    await query.selectFrom('FleetHealth').selectAll().execute(),
    await query.selectFrom('Event').select(['subjectId', 'revision', 'type']).orderBy('id').execute(),
  ]);
}

const presence = () => new HostPresence({ database, events });
const tunnels = () => new TunnelBooks({ database, events, replicaId: randomUUID() });

/** One whose waiting is over: it has judged, and would write now. */
async function impatient(term: Term): Promise<() => Promise<unknown>> {
  let now = 0;
  const deadlines = new StartDeadlines({ database, events, log, now: () => now });
  await deadlines.pass(term);
  now = START_DEADLINE_MS;
  return () => deadlines.pass(term);
}

const WRITES: Record<string, (term: Term) => Promise<unknown>> = {
  'a silent host is unreachable': (term) => presence().silence(term, new Date(), Number.POSITIVE_INFINITY),
  'the sandboxes of an unreachable host are missing': (term) => presence().markMissing(term),
  'an online host with missing sandboxes is asked again': (term) => presence().askAgain(term),
  'a lease from the future is dated now': (term) => presence().clampLeases(term),
  'the tunnel of a dead replica is down': (term) => tunnels().clearOrphaned(term, 10_000),
  'the fleet is observed': (term) => {
    const evidence = { heard: 1, silent: 1, lost: 0, unreachable: 1 };
    const verdict = judge(beginning('CONTROL_STARTED', 0, 1_000), evidence, 0, 1_000);
    return new FleetHealthService({ database, events, leaseMs: 1_000 }).publish(term, verdict, evidence);
  },
  'a sandbox that its host says nothing of is given up': (term) => impatient(term).then((write) => write()),
};

describe('a judge that was overtaken writes nothing, and the one that leads does:', () => {
  test.each(Object.keys(WRITES))('%s', async (name) => {
    const write = WRITES[name] as (term: Term) => Promise<unknown>;
    expect(overtaken.epoch).toBeLessThan(current.epoch);
    const before = await everything();
    await expect(write(overtaken)).rejects.toThrow(FencedOff);
    expect(await everything()).toBe(before);
    await write(current);
    expect(await everything()).not.toBe(before);
  });
});
