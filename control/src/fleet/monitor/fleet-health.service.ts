import type { LoopStatus } from '../../kernel/loops.ts';
import { may, signedIn } from '../../kernel/authority.ts';
import type { Term } from '../../kernel/leadership.ts';
import { REPLICA_DEAD_AFTER_MS } from '../../kernel/replica.ts';
import type { Viewer } from '../../kernel/viewer.ts';
import { sql } from 'kysely';
import type { FleetDatabase, FleetEvents, FleetHealthRow } from '../tables.ts';
import { FLEET_ID } from './fleet-health.entity.ts';
import { staleAfter, type Evidence, type FleetState, type Verdict } from './monitor.state.ts';

/** A control process that lives, and how its loops go. */
export interface ReplicaHealth {
  readonly id: string;
  readonly startedAt: Date;
  readonly seenAt: Date;
  readonly isLeader: boolean;
  readonly loops: readonly LoopStatus[];
}

/** The last verdict, or that there is none any more. */
export type KnownFleetHealth = Omit<FleetHealthRow, 'state'> & { readonly state: FleetState | 'UNKNOWN' };

/** Whether somebody may know how many hosts the platform has and how control's own work goes. */
export const seesEvidence = (viewer: Viewer | null): boolean =>
  may(signedIn(viewer), 'platform:read', { teamId: null });

/** What the monitor thinks of the fleet. */
export class FleetHealthService {
  readonly #database: FleetDatabase;
  readonly #events: FleetEvents;
  readonly #staleAfterMs: number;

  /** @param deps.leaseMs silence after which a host is lost, in ms. */
  constructor(deps: { database: FleetDatabase; events: FleetEvents; leaseMs: number }) {
    this.#database = deps.database;
    this.#events = deps.events;
    this.#staleAfterMs = staleAfter(deps.leaseMs);
  }

  /**
   * The last pass of the monitor, for whoever is signed in. One that was long ago, by the database's clock, says only
   * when it was: since then nobody judges. Null before the first pass ever.
   */
  async read(viewer: Viewer | null): Promise<KnownFleetHealth | null> {
    signedIn(viewer);
    const row = await this.#database.query
      .selectFrom('FleetHealth')
      .selectAll()
      .select(sql<boolean>`checked_at < now() - ${this.#staleAfterMs} * interval '1 ms'`.as('isStale'))
      .executeTakeFirst();
    if (!row) return null;
    const { isStale, ...health } = row;
    return isStale ? { ...health, state: 'UNKNOWN', reason: null, since: health.checkedAt } : health;
  }

  /** The control processes that live. Null for all but platform admins. */
  async replicas(viewer: Viewer | null): Promise<ReplicaHealth[] | null> {
    if (!seesEvidence(viewer)) return null;
    const rows = await this.#database.query
      .selectFrom('Replica')
      .leftJoin('Leadership', 'Leadership.replicaId', 'Replica.id')
      .select(['Replica.id', 'Replica.startedAt', 'Replica.seenAt', 'Replica.loops', 'Leadership.epoch'])
      .where('Replica.seenAt', '>', sql<Date>`now() - ${REPLICA_DEAD_AFTER_MS} * interval '1 ms'`)
      .orderBy('Replica.id')
      .execute();
    return rows.map(({ epoch, loops, ...replica }) => ({
      ...replica,
      isLeader: epoch !== null,
      loops: (loops as unknown as LoopStatus[]).map((loop) => ({
        ...loop,
        lastRunAt: loop.lastRunAt === null ? null : new Date(loop.lastRunAt),
      })),
    }));
  }

  /** How many sandboxes hosts run that nobody wants. Null for all but platform admins. */
  async orphans(viewer: Viewer | null): Promise<number | null> {
    if (!seesEvidence(viewer)) return null;
    const { count } = await this.#database.query
      .selectFrom('Orphan')
      .select(({ fn }) => fn.countAll().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  /**
   * Writes down what a pass has made of the fleet. A change of state or reason is an event; counts alone are not.
   *
   * @throws {FencedOff}
   */
  async publish(term: Term, { state, reason }: Verdict, { heard, silent, lost, unreachable }: Evidence): Promise<void> {
    await this.#events.transaction('control', async (tx, record) => {
      await term.fence(tx);
      const before = await tx.selectFrom('FleetHealth').selectAll().executeTakeFirst();
      const isNews = before?.state !== state || before.reason !== reason;
      const now = sql<Date>`date_trunc('milliseconds', now())`;
      const fields = { epoch: term.epoch, state, reason, checkedAt: now, heard, silent, lost, unreachable };
      const row = await tx
        .insertInto('FleetHealth')
        .values({ id: FLEET_ID, since: now, revision: 1, ...fields })
        .onConflict((conflict) =>
          conflict.column('id').doUpdateSet(({ ref }) => ({
            ...fields,
            ...(isNews ? { since: now, revision: sql<number>`${ref('FleetHealth.revision')} + 1` } : {}),
          })),
        )
        .returningAll()
        .executeTakeFirstOrThrow();
      if (!isNews) return;
      await record([
        {
          subject: 'FLEET',
          change: before ? 'UPDATED' : 'CREATED',
          type: `fleet.${state.toLowerCase()}`,
          row: { ...row, teamId: null } as never,
        },
      ]);
    });
  }
}
