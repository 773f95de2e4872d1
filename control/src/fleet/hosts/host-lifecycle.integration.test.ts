import { silentLogger } from '@rookery/wire/log.ts';
import { sql } from 'kysely';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestDatabase } from '../../../test/harness.ts';
import { everyHostState, observation, OTHER_REPLICA } from '../../../test/host-states.ts';
import type { DatabaseConnection } from '../../database/database.ts';
import { EventLog } from '../../kernel/events/event-log.ts';
import type { Term } from '../../kernel/leadership.ts';
import { noteCreateSuccess } from '../placement/failover.ts';
import type { FleetDatabase, FleetEvents, FleetTables, HostRow } from '../tables.ts';
import { observeHost, type HostObservation, type HostState } from './host-lifecycle.state.ts';
import { HostOperations } from './host-operations.service.ts';
import { HostPresence } from './host-presence.service.ts';

/**
 * Statements that change many hosts at once say in SQL what `host-lifecycle.state.ts` says in code. Each is run
 * over hosts in every state, and must leave each as the function would.
 */

let connection: DatabaseConnection;
let database: FleetDatabase;
let events: FleetEvents;
let presence: HostPresence;
const teamId = randomUUID();
const term: Term = { epoch: 1, fence: async () => {} };

beforeAll(async () => {
  connection = await openTestDatabase();
  database = connection.as<FleetTables>();
  events = new EventLog(connection, silentLogger()).as<FleetTables>();
  presence = new HostPresence({ database, events });
});
afterAll(async () => {
  await events[Symbol.asyncDispose]();
  await connection[Symbol.asyncDispose]();
});

/** Every state that differs in what these statements may read; the other facts are all set or all not. */
const states = everyHostState().filter(
  ({ kind, registeredAt, tunnelReplica, byocDisabledAt, ...others }) =>
    registeredAt !== null &&
    tunnelReplica !== OTHER_REPLICA &&
    // Nothing can have disabled a host that no team brings.
    (kind === 'BYOC' || byocDisabledAt === null) &&
    [others.quarantinedAt, others.drainingSince, others.deletingAt].every((moment) => moment === others.cordonedAt),
);

/** Hosts in all of these states, silent for an hour. */
async function hostsInEveryState(): Promise<HostRow[]> {
  await sql`truncate hosts, host_leases, events`.execute(database.query);
  const rows: HostRow[] = [];
  for (let start = 0; start < states.length; start += 500) {
    const values = states.slice(start, start + 500).map((state: HostState) => {
      const id = randomUUID();
      const team = state.kind === 'BYOC' ? teamId : null;
      return { ...state, id, name: id, teamId: team, labels: [], agentConditions: [], createdAt: new Date() };
    });
    rows.push(
      ...(await database.query
        .insertInto('Host')
        .values(values as never)
        .returningAll()
        .execute()),
    );
  }
  await sql`insert into host_leases (host_id, seen_at, load1, memory_used_mb, disk_used_mb, inventory_epoch)
    select id, now() - interval '1 hour', 0, 0, 0, 0 from hosts`.execute(database.query);
  return rows;
}

/** What can be compared: moments that were set just now are only known to be new. */
function comparable(row: HostState & { revision: number }, before: HostRow): object {
  const { status, tunnelReplica, byocDisabledAt, createFailures, lastCreateError, createsFailingSince, leftAt } = row;
  const { revision, deletedAt, cordonedAt, drainingSince, quarantinedAt, deletingAt } = row;
  const moment =
    byocDisabledAt === null ? null : byocDisabledAt.getTime() === before.byocDisabledAt?.getTime() ? 'old' : 'new';
  const others = { deletedAt, cordonedAt, drainingSince, quarantinedAt, deletingAt, createsFailingSince, leftAt };
  return { status, tunnelReplica, byoc: moment, createFailures, lastCreateError, revision, ...others };
}

async function conforms(
  type: HostObservation['type'],
  run: (hosts: readonly HostRow[]) => Promise<unknown>,
): Promise<void> {
  const before = await hostsInEveryState();
  await run(before);
  const rows = await database.query.selectFrom('Host').selectAll().execute();
  const after = new Map(rows.map((row) => [row.id, row]));
  const logged = await database.query.selectFrom('Event').select(['subjectId', 'revision']).execute();
  const differing: object[] = [];
  const changed: string[] = [];
  for (const host of before) {
    const { changes } = observeHost(host, observation(type), new Date());
    const isChange = Object.keys(changes).length > 0;
    if (isChange) changed.push(host.id);
    const expected = comparable({ ...host, ...changes, revision: host.revision + (isChange ? 1 : 0) }, host);
    const actual = comparable(after.get(host.id) as HostRow, host);
    if (JSON.stringify(expected) !== JSON.stringify(actual)) differing.push({ host, expected, actual });
  }
  expect(differing.slice(0, 2)).toEqual([]);
  expect(changed.length).toBeGreaterThan(0);
  // One event for each row that has changed, and none for the others.
  expect(logged.map(({ subjectId, revision }) => [subjectId, revision]).sort()).toEqual(
    changed.map((id) => [id, 2]).sort(),
  );
}

describe('of hosts in every state, each becomes what the lifecycle says, and says so in one event:', () => {
  test('heartbeats were heard', async () => {
    await conforms('HEARD', (hosts) => presence.heard(hosts.map(({ id }) => id)));
  }, 60_000);

  test('nothing was heard for a lease', async () => {
    await conforms('SILENT', () => presence.silence(term, new Date(), Number.POSITIVE_INFINITY));
  }, 60_000);

  test('the team may not bring hosts any more, or may again', async () => {
    const operations = new HostOperations({ events } as never);
    await conforms('BYOC_DISABLED', () => operations.setTeamByoc('control', teamId, false));
    await conforms('BYOC_ENABLED', () => operations.setTeamByoc('control', teamId, true));
  }, 60_000);

  test('a sandbox has started', async () => {
    await conforms('CREATE_SUCCEEDED', async (hosts) => {
      await events.transaction('control', async (tx, record) => {
        for (const { id } of hosts) await noteCreateSuccess(tx, record, id);
      });
    });
  }, 60_000);
});
