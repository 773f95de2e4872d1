import fc from 'fast-check';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { insertHost, openTestDatabase } from '../../../test/harness.ts';
import type { DatabaseConnection } from '../../database/database.ts';
import { EventLog } from '../../kernel/events/event-log.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { SandboxCreation } from '../sandboxes/sandbox-creation.ts';
import { transitionSandbox } from '../sandboxes/sandbox.record.ts';
import {
  isEnded,
  markPushed,
  requestDestroy,
  requestPause,
  requestResume,
  type SandboxReport,
} from '../sandboxes/sandbox.state.ts';
import type { FleetDatabase, FleetEvents, FleetTables, SandboxRow } from '../tables.ts';
import { takeReport } from './failover.ts';
import { NoHostFits, Placements } from './placement.service.ts';
import { PLACEMENT_STRATEGIES } from './placement.ts';

let connection: DatabaseConnection;
let database: FleetDatabase;
let events: FleetEvents;
const teamId = randomUUID();

beforeAll(async () => {
  connection = await openTestDatabase();
  database = connection.as<FleetTables>();
  events = new EventLog(connection, silentLogger()).as<FleetTables>();
});
afterAll(async () => {
  await events[Symbol.asyncDispose]();
  await connection[Symbol.asyncDispose]();
});

/** What may happen to a sandbox: a wish, or a report of the host that it is on or of any other. */
const happening = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('create' as const), milliVcpus: fc.constantFrom(500, 1_000) }),
  },
  fc.record({
    kind: fc.constantFrom('pause' as const, 'resume' as const, 'destroy' as const, 'push' as const),
    which: fc.nat({ max: 5 }),
  }),
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('report' as const),
      which: fc.nat({ max: 5 }),
      /** Mostly the host that it is on. */
      fromHost: fc.option(fc.nat(), { freq: 4 }),
      status: fc.constantFrom('STARTING', 'RUNNING', 'PAUSED', 'STOPPED', 'ERROR', 'ABSENT'),
      errorCause: fc.constantFrom('HOST', 'SANDBOX', null),
      isOld: fc.boolean(),
    }),
  },
);
type Happening = typeof happening extends fc.Arbitrary<infer T> ? T : never;

test('whatever happens at the same time, the books are the live sandboxes, nothing is overbooked, and no end is left', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...PLACEMENT_STRATEGIES),
      // Each round happens at once.
      fc.array(fc.array(happening, { minLength: 1, maxLength: 6 }), { minLength: 4, maxLength: 12 }),
      async (strategy, rounds) => {
        await database.query.deleteFrom('Sandbox').execute();
        await database.query.deleteFrom('Host').execute();
        const hosts = await Promise.all(
          [2, 1, 3].map((cpuCores) => insertHost(connection, { cpuCores, memoryMb: 2_048, arch: 'x86_64' })),
        );
        const placements = new Placements({ strategy, cpuOvercommit: 1 });
        const creation = new SandboxCreation({ database, events, placements });
        let epoch = 1;
        let before = new Map<string, SandboxRow>();
        for (const round of rounds) {
          const rows = [...before.values()];
          epoch += 1;
          await Promise.all(
            round.map((event) =>
              happen(event, { rows, hostIds: hosts.map(({ id }) => id), placements, creation, epoch }),
            ),
          );
          before = await check(before);
        }
      },
    ),
    { numRuns: 120 },
  );
}, 180_000);

interface World {
  readonly rows: readonly SandboxRow[];
  readonly hostIds: readonly string[];
  readonly placements: Placements;
  readonly creation: SandboxCreation;
  readonly epoch: number;
}

async function happen(event: Happening, { rows, hostIds, placements, creation, epoch }: World): Promise<void> {
  if (event.kind === 'create') {
    const size = { milliVcpus: event.milliVcpus, memoryMb: 256, diskMb: 64 };
    const request = {
      teamId,
      template: 'host',
      ...size,
      constraints: { hostId: null, arch: null, labels: [] },
      failedHostIds: [],
    };
    await creation
      .create('control', {
        request,
        fields: {
          id: randomUUID(),
          name: 'box',
          teamId,
          template: 'host',
          ...size,
          labels: [],
          timeoutSeconds: 60,
          desiredState: 'RUNNING',
          status: 'PENDING',
          requestHash: '',
          createdAt: new Date(),
        },
      })
      .catch((error: unknown) => {
        if (!(error instanceof NoHostFits)) throw error;
      });
    return;
  }
  const row = rows[event.which % Math.max(rows.length, 1)];
  if (!row) return;
  await events.transaction('control', async (tx, record) => {
    if (event.kind !== 'report') {
      const decide = {
        pause: (state: SandboxRow) => requestPause(state, 'REQUESTED'),
        resume: requestResume,
        destroy: requestDestroy,
        push: markPushed,
      }[event.kind];
      await transitionSandbox(tx, record, row.id, `sandbox.${event.kind}`, decide);
      return;
    }
    const hostId = event.fromHost === null ? row.hostId : (hostIds[event.fromHost % hostIds.length] as string);
    const report: SandboxReport = {
      generation: event.isOld ? row.generation - 1 : row.generation,
      epoch,
      status: event.status === 'ABSENT' ? 'STOPPED' : event.status,
      statusReason: null,
      startedAt: event.status === 'RUNNING' ? new Date() : null,
      lastActiveAt: null,
      autoPaused: event.status === 'PAUSED',
      errorCause: event.errorCause,
    };
    const said = event.status === 'ABSENT' ? { absentAsOf: epoch } : report;
    await takeReport(tx, record, placements, { hostId, sandboxId: row.id, report: said });
  });
}

/** Compares the rows with each other and with what they were. @returns the rows. */
async function check(before: ReadonlyMap<string, SandboxRow>): Promise<Map<string, SandboxRow>> {
  const sandboxes = await database.query.selectFrom('Sandbox').selectAll().orderBy('id').execute();
  for (const host of await database.query.selectFrom('Host').selectAll().execute()) {
    const live = sandboxes.filter(({ hostId, holdsReservation }) => hostId === host.id && holdsReservation);
    const sum = (amount: (row: SandboxRow) => number): number => live.reduce((total, row) => total + amount(row), 0);
    expect(host.allocatedSandboxes).toBe(live.length);
    expect(host.allocatedMilliVcpus).toBe(sum(({ milliVcpus }) => milliVcpus));
    expect(host.allocatedMemoryMb).toBe(sum(({ memoryMb }) => memoryMb));
    expect(host.allocatedDiskMb).toBe(sum(({ diskMb }) => diskMb));
    expect(host.allocatedMilliVcpus).toBeLessThanOrEqual((host.cpuCores ?? 0) * 1_000);
    expect(host.allocatedMemoryMb).toBeLessThanOrEqual(host.memoryMb ?? 0);
  }
  for (const row of sandboxes) {
    const was = before.get(row.id);
    if (isEnded(row.status)) expect(row.holdsReservation).toBe(false);
    // One that had ended before it was to be destroyed has nothing to give back.
    else if (row.desiredState !== 'DESTROYED') expect(row.holdsReservation).toBe(true);
    if (was && isEnded(was.status) && row.desiredState !== 'DESTROYED') expect(row.status).toBe(was.status);
    if (was?.deletedAt) expect(row).toEqual(was);
    // It changes its host only before it has run.
    if (was && was.hostId !== row.hostId) expect(was.startedAt).toBeNull();
    if (was) expect(row.generation).toBeGreaterThanOrEqual(was.generation);
  }
  return new Map(sandboxes.map((row) => [row.id, row]));
}
