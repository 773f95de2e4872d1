import { MikroKyselyPlugin } from '@mikro-orm/sql';
import { sql } from 'kysely';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { insertHost, openTestDatabase } from '../../test/harness.ts';
import type { FleetTables } from '../fleet/tables.ts';
import { QUERY_OPTIONS, type DatabaseConnection } from './database.ts';

describe('rows that queries answer with', () => {
  let connection: DatabaseConnection;
  beforeAll(async () => {
    connection = await openTestDatabase();
    const { id } = await insertHost(connection, { labels: [{ key: 'zone', value: 'a' }], cordonedAt: new Date() });
    await connection
      .as<FleetTables>()
      .query.insertInto('Event')
      .values({
        subject: 'HOST',
        subjectId: id,
        change: 'UPDATED',
        revision: 1,
        state: { nested: ['x'] },
        type: 'host.tested',
        actor: 'control',
        position: 7,
      } as never)
      .execute();
  });
  afterAll(() => connection[Symbol.asyncDispose]());

  /** As the ORM's own plugin would have them. */
  const ormQuery = () => {
    const em = connection.orm.em.fork();
    return em.getKysely<FleetTables>().withPlugin(new MikroKyselyPlugin(em, QUERY_OPTIONS));
  };
  const ourQuery = () => connection.as<FleetTables>().query;
  type Query = ReturnType<typeof ourQuery>;

  it.each<[string, (query: Query) => Promise<unknown[]>]>([
    ['of a whole table', (query) => query.selectFrom('Host').selectAll().execute()],
    ['with big numbers and JSON', (query) => query.selectFrom('Event').selectAll().execute()],
    [
      'with an aggregate',
      (query) =>
        query
          .selectFrom('Event')
          .select(({ fn }) => fn.max('position').as('position'))
          .execute(),
    ],
    [
      'of two tables joined, under other names',
      (query) =>
        query
          .selectFrom('Host as h')
          .innerJoin('HostLease as l', 'l.hostId', 'h.id')
          .select(['h.id', 'h.createdAt', 'l.seenAt', 'h.cordonedAt as since', 'l.inventoryEpoch'])
          .execute(),
    ],
    ['of nothing', (query) => query.selectFrom('Sandbox').selectAll().execute()],
    [
      'that were changed',
      (query) =>
        query.updateTable('Host').set({ name: 'renamed' }).where('status', '=', 'ONLINE').returningAll().execute(),
    ],
    [
      'that were made',
      (query) =>
        query
          .insertInto('HostLease')
          .values({
            hostId: randomUUID(),
            inventoryEpoch: 5,
            seenAt: new Date(0),
            load1: 0,
            memoryUsedMb: 0,
            diskUsedMb: 0,
          })
          .returning(['inventoryEpoch', 'seenAt'])
          .execute(),
    ],
    [
      'of raw SQL stay as they are',
      async (query) => (await sql`select id, created_at, cordoned_at as "cordonedAt" from hosts`.execute(query)).rows,
    ],
  ])('are those of the ORM: %s', async (_case, run) => {
    const expected = await run(ormQuery() as never);
    const rows = await run(ourQuery());
    expect(rows).toEqual(expected);
    expect(rows.map((row) => Object.keys(row as object).sort())).toEqual(
      expected.map((row) => Object.keys(row as object).sort()),
    );
  });
});
