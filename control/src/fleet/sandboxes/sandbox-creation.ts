import { hasSqlState } from '../../database/database.ts';
import type { Actor } from '../../kernel/viewer.ts';
import type { PlacementRequest } from '../placement/placement.ts';
import { NoHostFits, pause, TRIES, type Placements } from '../placement/placement.service.ts';
import type { FleetDatabase, FleetEvents, SandboxRow } from '../tables.ts';

/** A sandbox that has no place yet. */
export interface NewSandbox {
  readonly request: PlacementRequest;
  /** Its row, but for what its place decides. */
  readonly fields: Omit<Partial<SandboxRow>, 'hostId' | 'placement'>;
}

/** Sandboxes in one transaction. More are fewer commits, and hold the rows of their hosts for longer. */
const BATCH = 64;

/** SQLSTATEs of trouble with one row, or with somebody else: what the others of a batch need not share. */
const OF_ONE = /^(22|23|40)/;

interface Waiting extends NewSandbox {
  readonly answer: PromiseWithResolvers<SandboxRow>;
  attempt: number;
}

/**
 * Places sandboxes and inserts them, with their events. Those that are asked for while a transaction
 * is under way go together into the next one: each on its own costs some ten statements and a commit.
 * Nobody waits for company: the first is alone.
 */
export class SandboxCreation {
  readonly #database: FleetDatabase;
  readonly #events: FleetEvents;
  readonly #placements: Placements;
  /** By actor, because that is who a transaction is written down for. */
  readonly #waiting = new Map<Actor, Waiting[]>();
  readonly #running = new Set<Actor>();

  constructor(deps: { database: FleetDatabase; events: FleetEvents; placements: Placements }) {
    this.#database = deps.database;
    this.#events = deps.events;
    this.#placements = deps.placements;
  }

  /**
   * Resolves with the row when it is durable; with the one that is there already when the team has used
   * the idempotency key before, for whatever.
   *
   * @throws {NoHostFits}
   */
  create(actor: Actor, sandbox: NewSandbox): Promise<SandboxRow> {
    const answer = Promise.withResolvers<SandboxRow>();
    this.#enter(actor, { ...sandbox, answer, attempt: 1 });
    return answer.promise;
  }

  #enter(actor: Actor, waiting: Waiting): void {
    const queue = this.#waiting.get(actor) ?? [];
    this.#waiting.set(actor, queue);
    queue.push(waiting);
    if (!this.#running.has(actor)) void this.#run(actor);
  }

  async #run(actor: Actor): Promise<void> {
    this.#running.add(actor);
    for (;;) {
      const batch = this.#waiting.get(actor)?.splice(0, BATCH) ?? [];
      if (batch.length === 0) break;
      await this.#settle(actor, batch);
    }
    this.#waiting.delete(actor);
    this.#running.delete(actor);
  }

  async #settle(actor: Actor, batch: readonly Waiting[]): Promise<void> {
    try {
      await this.#place(actor, batch);
    } catch (error) {
      if (batch.length === 1 || !hasSqlState(error, OF_ONE)) for (const { answer } of batch) answer.reject(error);
      else for (const one of batch) await this.#settle(actor, [one]);
    }
  }

  async #place(actor: Actor, asked: readonly Waiting[]): Promise<void> {
    const batch = await this.#withoutKnown(asked);
    if (batch.length === 0) return;
    const { outcomes, rows } = await this.#events.transaction(actor, async (tx, record) => {
      const reserved = await this.#placements.reserveAll(
        tx,
        batch.map(({ request }) => request),
      );
      const values = batch.flatMap(({ fields }, index) => {
        const outcome = reserved[index];
        return outcome && 'hostId' in outcome ? [{ ...fields, ...outcome }] : [];
      });
      if (values.length === 0) return { outcomes: reserved, rows: [] };
      // In one order, so that two processes with the same idempotency keys cannot lock each other out.
      values.sort((a, b) => ((a.idempotencyKey ?? '') < (b.idempotencyKey ?? '') ? -1 : 1));
      const inserted = await tx
        .insertInto('Sandbox')
        .values(values as never)
        .returningAll()
        .execute();
      const hosts = await tx
        .selectFrom('Host')
        .selectAll()
        .where('id', 'in', [...new Set(values.map(({ hostId }) => hostId))])
        .execute();
      await record([
        ...hosts.map((row) => ({ subject: 'HOST', change: 'UPDATED', type: 'host.reserved', row }) as const),
        ...inserted.map((row) => ({ subject: 'SANDBOX', change: 'CREATED', type: 'sandbox.created', row }) as const),
      ]);
      return { outcomes: reserved, rows: inserted };
    });
    const byId = new Map(rows.map((row) => [row.id, row]));
    for (const [index, waiting] of batch.entries()) {
      const row = byId.get(waiting.fields.id as string);
      const outcome = outcomes[index];
      if (row) waiting.answer.resolve(row);
      else if (outcome && 'busy' in outcome) this.#refuseOrRetry(actor, waiting, outcome);
      else waiting.answer.reject(new Error('a sandbox was placed and not inserted'));
    }
  }

  /** Answers what has been asked for before; returns the rest. */
  async #withoutKnown(batch: readonly Waiting[]): Promise<readonly Waiting[]> {
    const keys = batch.flatMap(({ fields }) => fields.idempotencyKey ?? []);
    if (keys.length === 0) return batch;
    const rows = await this.#database.query
      .selectFrom('Sandbox')
      .selectAll()
      .where('teamId', 'in', [...new Set(batch.map(({ request }) => request.teamId))])
      .where('idempotencyKey', 'in', keys)
      .execute();
    const known = new Map(rows.map((row) => [`${row.teamId} ${row.idempotencyKey}`, row]));
    return batch.filter(({ request, fields, answer }) => {
      const row = fields.idempotencyKey ? known.get(`${request.teamId} ${fields.idempotencyKey}`) : undefined;
      if (row) answer.resolve(row);
      return !row;
    });
  }

  #refuseOrRetry(
    actor: Actor,
    waiting: Waiting,
    { refusal, busy }: { refusal: ConstructorParameters<typeof NoHostFits>[0]; busy: boolean },
  ): void {
    if (!busy || waiting.attempt >= TRIES) {
      waiting.answer.reject(new NoHostFits(refusal));
      return;
    }
    waiting.attempt += 1;
    void pause().then(() => this.#enter(actor, waiting));
  }
}
