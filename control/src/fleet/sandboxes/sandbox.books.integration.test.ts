import { silentLogger } from '@rookery/wire/log.ts';
import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { insertHost, newTeam, startTestControl } from '../../../test/harness.ts';
import type { Control } from '../../app.ts';
import { EventLog } from '../../kernel/events/event-log.ts';
import { Placements } from '../placement/placement.service.ts';
import type { FleetDatabase, FleetTables, HostRow } from '../tables.ts';
import { SandboxTables } from './sandbox.books.ts';
import { observedSandboxSchema } from './sandbox.report.ts';

describe('the inventories of many hosts that come together', () => {
  let control: Control;
  let database: FleetDatabase;
  let books: SandboxTables;
  let teamId: string;
  const size = { milliVcpus: 100, memoryMb: 64, diskMb: 64 };

  beforeAll(async () => {
    control = await startTestControl();
    database = control.database.as<FleetTables>();
    teamId = (await newTeam(control)).team.id;
    const events = new EventLog(control.database, silentLogger()).as<FleetTables>();
    books = new SandboxTables({
      database,
      events,
      placements: new Placements({ strategy: 'ROUND_ROBIN', cpuOvercommit: 1 }),
    });
  });
  afterAll(() => control[Symbol.asyncDispose]());

  async function newHost(sandboxes: number): Promise<{ host: HostRow; sandboxIds: string[] }> {
    const host = await insertHost(control.database, {
      allocatedSandboxes: sandboxes,
      allocatedMilliVcpus: sandboxes * size.milliVcpus,
      allocatedMemoryMb: sandboxes * size.memoryMb,
      allocatedDiskMb: sandboxes * size.diskMb,
    });
    await database.query
      .insertInto('HostLease')
      .values({ hostId: host.id, seenAt: new Date(), load1: 0, memoryUsedMb: 0, diskUsedMb: 0, inventoryEpoch: 10 })
      .execute();
    const sandboxIds = Array.from({ length: sandboxes }, () => randomUUID());
    if (sandboxes > 0) {
      await database.query
        .insertInto('Sandbox')
        .values(
          sandboxIds.map((id) => ({
            ...size,
            id,
            name: id,
            teamId,
            hostId: host.id,
            template: 'host',
            labels: [],
            desiredState: 'RUNNING',
            observedGeneration: 1,
            status: 'MISSING',
            statusBeforeMissing: 'RUNNING',
            startedAt: new Date(),
            placement: {},
            requestHash: '',
          })) as never,
        )
        .execute();
    }
    return { host, sandboxIds };
  }

  const epochOf = async (hostId: string) =>
    (await database.query.selectFrom('HostLease').selectAll().where('hostId', '=', hostId).executeTakeFirstOrThrow())
      .inventoryEpoch;
  const running = (id: string) => observedSandboxSchema.parse({ id, generation: 1, epoch: 11, status: 'RUNNING' });

  it('are each taken unless they are older than the last, also those of one host, in the order they came', async () => {
    const [one, other] = [await newHost(0), await newHost(0)];
    expect(
      await Promise.all([
        books.takeEpoch(one.host.id, 11),
        books.takeEpoch(other.host.id, 9),
        books.takeEpoch(one.host.id, 13),
        books.takeEpoch(one.host.id, 12),
        books.takeEpoch(one.host.id, 13),
        books.takeEpoch(randomUUID(), 1),
      ]),
    ).toEqual([true, false, true, false, true, false]);
    expect(await epochOf(one.host.id)).toBe(13);
    expect(await epochOf(other.host.id)).toBe(10);
    await Promise.all([books.keepDigest(one.host.id, 12, 'old'), books.keepDigest(one.host.id, 13, 'new')]);
    const { inventoryDigest } = await database.query
      .selectFrom('HostLease')
      .selectAll()
      .where('hostId', '=', one.host.id)
      .executeTakeFirstOrThrow();
    expect(inventoryDigest).toBe('new');
  });

  it('do not wait for a lease that somebody else is writing, except for its own host’s', async () => {
    const [busy, free] = [await newHost(0), await newHost(0)];
    const held = Promise.withResolvers<void>();
    const locked = Promise.withResolvers<void>();
    const holding = database.transaction(async (tx) => {
      await sql`select 1 from host_leases where host_id = ${busy.host.id} for update`.execute(tx);
      locked.resolve();
      await held.promise;
    });
    await locked.promise;
    const taken = Promise.all([books.takeEpoch(busy.host.id, 11), books.takeEpoch(free.host.id, 11)]);
    // Written although the other one waits.
    await expect.poll(() => epochOf(free.host.id), { timeout: 10_000 }).toBe(11);
    expect(await epochOf(busy.host.id)).toBe(10);
    held.resolve();
    await holding;
    expect(await taken).toEqual([true, true]);
    expect(await epochOf(busy.host.id)).toBe(11);
  });

  it('give each host its own rows, and what else is known of what it lists', async () => {
    const [one, other] = [await newHost(2), await newHost(1)];
    const [mine, theirs, none] = await Promise.all([
      books.forInventory(one.host.id, [one.sandboxIds[0] ?? '', other.sandboxIds[0] ?? '']),
      books.forInventory(other.host.id, []),
      books.forInventory(randomUUID(), [randomUUID()]),
    ]);
    expect(mine.map(({ id }) => id).sort()).toEqual([...one.sandboxIds, ...other.sandboxIds].sort());
    expect(theirs.map(({ id }) => id)).toEqual(other.sandboxIds);
    expect(none).toEqual([]);
  });

  it('bring back what was missing, each with an event of its host; what is gone gives its place back, and nobody speaks for another host', async () => {
    const [one, other] = [await newHost(3), await newHost(2)];
    const [back, gone, alsoBack] = one.sandboxIds as [string, string, string];
    const [theirs, foreign] = other.sandboxIds as [string, string];
    await Promise.all([
      books.takeReports(
        one.host.id,
        new Map<string, ReturnType<typeof running> | { absentAsOf: number }>([
          [back, running(back)],
          [gone, { absentAsOf: 11 }],
          [alsoBack, running(alsoBack)],
          [foreign, running(foreign)],
        ]),
      ),
      books.takeReports(other.host.id, new Map([[theirs, running(theirs)]])),
    ]);
    const status = async (id: string) => (await books.find(id))?.status;
    expect(await Promise.all([back, gone, alsoBack, theirs, foreign].map(status))).toEqual([
      'RUNNING',
      'STOPPED',
      'RUNNING',
      'RUNNING',
      'MISSING',
    ]);
    const events = await database.query
      .selectFrom('Event')
      .select(['subjectId', 'revision', 'type', 'actor', 'state'])
      .where('subjectId', 'in', [back, theirs, gone])
      .orderBy('id')
      .execute();
    const rows = await Promise.all([back, theirs, gone].map((id) => books.find(id)));
    expect(Object.fromEntries(events.map((event) => [event.subjectId, event]))).toEqual({
      [back]: expect.objectContaining({ type: 'sandbox.running', actor: `host:${one.host.id}`, revision: 2 }),
      [theirs]: expect.objectContaining({ type: 'sandbox.running', actor: `host:${other.host.id}`, revision: 2 }),
      [gone]: expect.objectContaining({ type: 'sandbox.stopped', actor: `host:${one.host.id}`, revision: 2 }),
    });
    // What the event says is what is in the row.
    for (const row of rows) {
      const event = events.find(({ subjectId }) => subjectId === row?.id);
      expect(event?.state).toEqual(JSON.parse(JSON.stringify(row)));
    }
    const host = await database.query
      .selectFrom('Host')
      .selectAll()
      .where('id', '=', one.host.id)
      .executeTakeFirstOrThrow();
    expect(host).toMatchObject({ allocatedSandboxes: 2, allocatedMilliVcpus: 200, allocatedMemoryMb: 128 });
  });
});
