import type { InferKyselyDB } from '@mikro-orm/sql';
import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { isDatabaseOutage, type DatabaseConnection, type QUERY_OPTIONS } from '../database/database.ts';
import type { LoopDriver } from './loops.ts';
import type { ReplicaSchema } from './replica.entity.ts';

type Tables = InferKyselyDB<typeof ReplicaSchema, typeof QUERY_OPTIONS>;

/** How often a replica says that it lives, in ms. */
const BEAT_MS = 2_000;

/** Silence after which a replica counts as dead, in ms: several beats, so that a pause is not a death. */
export const REPLICA_DEAD_AFTER_MS = 10_000;

/** Silence after which a dead replica's row is dropped, in ms. */
const FORGOTTEN_AFTER_MS = 24 * 60 * 60 * 1_000;

/** This control process's presence among the replicas. */
export interface Replica extends AsyncDisposable {
  readonly id: string;
  /** Tells the other replicas where they reach this one. */
  announce(address: string): Promise<void>;
}

/** Enters a new replica and keeps its row fresh. */
export async function joinReplicas(connection: DatabaseConnection, loops: LoopDriver): Promise<Replica> {
  const { query } = connection.as<Tables>();
  const id = uuidv7();
  let address: string | null = null;
  const beat = async (): Promise<number> => {
    const statuses = JSON.stringify(loops.statuses());
    await sql`
      insert into replicas (id, address, loops) values (${id}, ${address}, ${statuses}::jsonb)
      on conflict (id) do update
        set seen_at = now(), address = excluded.address, loops = excluded.loops`.execute(query);
    const { numDeletedRows } = await query
      .deleteFrom('Replica')
      .where('seenAt', '<', sql<Date>`now() - ${FORGOTTEN_AFTER_MS} * interval '1 ms'`)
      .executeTakeFirst();
    return Number(numDeletedRows);
  };
  await beat();
  loops.add({
    name: 'replica-heartbeat',
    description: 'Says that this control process lives, and how its loops went.',
    periodMs: BEAT_MS,
    run: beat,
  });
  return {
    id,
    async announce(given) {
      address = given;
      await beat();
    },
    async [Symbol.asyncDispose]() {
      await query
        .deleteFrom('Replica')
        .where('id', '=', id)
        .execute()
        .catch((error: unknown) => {
          // Without a database there is nobody to take leave of; the others find out by the silence.
          if (!isDatabaseOutage(error)) throw error;
        });
    },
  };
}
