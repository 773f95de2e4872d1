import type { Logger } from '@rookery/wire/log.ts';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { authorize, signedIn } from '../../kernel/authority.ts';
import { toCursor } from '../../kernel/events/change-stream.ts';
import type { EventHub } from '../../kernel/events/event-hub.ts';
import { parseInput } from '../../kernel/input.ts';
import { NotFound, UserError } from '../../kernel/user-errors.ts';
import { actorOf, type Viewer } from '../../kernel/viewer.ts';
import { ClaimKind, type Claims } from '../claims.ts';
import type { Convergence } from '../sandboxes/convergence.service.ts';
import { transitionSandbox } from '../sandboxes/sandbox.record.ts';
import {
  ENDED_STATUSES,
  requestDestroy,
  requestPause,
  type SandboxState,
  type Transition,
} from '../sandboxes/sandbox.state.ts';
import type { FleetDatabase, FleetEvents, HostDrainRow } from '../tables.ts';
import { HostBeingDeleted } from '../enrolment/host-token.service.ts';
import { requestHost } from './host-lifecycle.state.ts';
import { DRAIN_POLICIES, drainProgress, isSettled, type DrainPolicy } from './host-drain.state.ts';
import type { HostWithCursor } from './host-operations.service.ts';
import type { HostService } from './host.service.ts';

/** The host is being drained already, by another policy. */
export class DrainInProgress extends UserError {
  constructor(policy: DrainPolicy) {
    super(
      'DRAIN_IN_PROGRESS',
      `The host is being drained already, with the policy ${policy}; uncordon it to cancel that.`,
    );
  }
}

const drainHostInput = z.object({
  policy: z
    .enum(DRAIN_POLICIES)
    .nullish()
    .transform((policy) => policy ?? 'PAUSE'),
  deadlineSeconds: z
    .int()
    .min(1, 'must be at least 1')
    .max(86_400, 'must be at most a day')
    .nullish()
    .transform((seconds) => seconds ?? 600),
});

export interface HostDrainsDeps {
  readonly database: FleetDatabase;
  readonly events: FleetEvents;
  readonly hub: EventHub;
  readonly hosts: HostService;
  readonly convergence: Convergence;
  readonly claims: Claims;
  readonly log: Logger;
}

/**
 * Moves the sandboxes of a host out of the way, as a job that is written down: any control process
 * takes it up where another has left it, and how far it has come is read off the sandboxes.
 */
export class HostDrains {
  readonly #deps: HostDrainsDeps;

  constructor(deps: HostDrainsDeps) {
    this.#deps = deps;
  }

  /**
   * Cordons a host and begins to pause or destroy its sandboxes. Asking again while it goes on changes nothing.
   *
   * @throws {InvalidInput | NotFound | NotPermitted | DrainInProgress | HostBeingDeleted}
   */
  async drain(viewer: Viewer | null, hostId: string, input: unknown): Promise<HostWithCursor> {
    const someone = signedIn(viewer);
    const { policy, deadlineSeconds } = parseInput(drainHostInput, input);
    const { hosts, events, hub, log } = this.#deps;
    authorize(someone, 'host:drain', (await hosts.find(someone, hostId)) ?? undefined, 'host');
    const actor = actorOf(someone);
    const host = await events.transaction(actor, async (tx, record) => {
      const current = await tx
        .selectFrom('Host')
        .selectAll()
        .where('id', '=', hostId)
        .where('deletedAt', 'is', null)
        .forUpdate()
        .executeTakeFirst();
      if (!current) throw new NotFound('host');
      const running = await tx
        .selectFrom('HostDrain')
        .select('policy')
        .where('hostId', '=', hostId)
        .where('state', '=', 'RUNNING')
        .executeTakeFirst();
      if (running && running.policy !== policy) throw new DrainInProgress(running.policy);
      if (running) return current;
      const startedAt = new Date();
      const { changes, refusal } = requestHost(current, 'DRAIN', startedAt);
      if (refusal) throw new HostBeingDeleted();
      const deadlineAt = new Date(startedAt.getTime() + deadlineSeconds * 1_000);
      await tx
        .insertInto('HostDrain')
        .values({ id: uuidv7(), hostId, policy, state: 'RUNNING', startedBy: actor, startedAt, deadlineAt } as never)
        .execute();
      const row = await tx
        .updateTable('Host')
        .set({ ...changes, revision: current.revision + 1 })
        .where('id', '=', hostId)
        .returningAll()
        .executeTakeFirstOrThrow();
      await record([{ subject: 'HOST', change: 'UPDATED', type: 'host.drain_started', row }]);
      return row;
    });
    void this.run().catch((err: unknown) =>
      log.warn({ hostId, err }, 'a drain could not be begun; the next round will'),
    );
    return { host, cursor: toCursor(hub.position) };
  }

  /** The newest drain of each of some hosts. */
  async latest(hostIds: readonly string[]): Promise<HostDrainRow[]> {
    if (hostIds.length === 0) return [];
    return this.#deps.database.query
      .selectFrom('HostDrain')
      .selectAll()
      .distinctOn('hostId')
      .where('hostId', 'in', hostIds)
      .orderBy('hostId')
      .orderBy('id', 'desc')
      .execute();
  }

  /** Ids of the sandboxes of a drain that are not, or not yet, as it wants them. */
  async remaining({ id, policy }: Pick<HostDrainRow, 'id' | 'policy'>): Promise<string[]> {
    const sandboxes = await this.#deps.database.query
      .selectFrom('Sandbox')
      .select(['id', 'status', 'deletedAt'])
      .where('drainId', '=', id)
      .orderBy('id')
      .execute();
    return sandboxes.filter((sandbox) => !isSettled(policy, sandbox)).map((sandbox) => sandbox.id);
  }

  /** One step of every drain that goes on. @returns how many that is. */
  async run(): Promise<number> {
    const { database, claims, log } = this.#deps;
    const running = await database.query.selectFrom('HostDrain').selectAll().where('state', '=', 'RUNNING').execute();
    for (const drain of running) {
      // One that fails must not keep the others waiting.
      await claims
        .exclusively(ClaimKind.drain, drain.id, () => this.#step(drain))
        .catch((err: unknown) =>
          log.warn({ hostId: drain.hostId, err }, 'a drain could not go on; the next round tries again'),
        );
    }
    return running.length;
  }

  async #step(drain: HostDrainRow): Promise<void> {
    const { database, convergence } = this.#deps;
    // The host is cordoned, so these are all there will be.
    const left = await database.query
      .selectFrom('Sandbox')
      .select('id')
      .where('hostId', '=', drain.hostId)
      .where('deletedAt', 'is', null)
      .where('status', 'not in', ENDED_STATUSES)
      .where((eb) =>
        eb.or([
          eb('drainId', 'is distinct from', drain.id),
          eb('desiredState', 'not in', drain.policy === 'PAUSE' ? ['PAUSED', 'DESTROYED'] : ['DESTROYED']),
        ]),
      )
      .orderBy('id')
      .execute();
    const asked: string[] = [];
    for (const { id } of left) {
      const answer = await this.#ask(drain, id);
      if (answer === 'CANCELLED') break;
      if (answer === 'ASKED') asked.push(id);
    }
    convergence.nudgeAll(drain.hostId, asked);
    await this.#writeProgress(drain);
  }

  /**
   * Makes a sandbox part of a drain and asks of it what the drain wants.
   *
   * INVARIANT: whoever cancels the drain waits for this, or this finds it cancelled. The sandbox is
   * locked before the drain, because a cancellation locks the drain while it holds the host, and hosts
   * are locked after sandboxes.
   */
  async #ask(
    { id: drainId, hostId, policy }: HostDrainRow,
    sandboxId: string,
  ): Promise<'ASKED' | 'GONE' | 'CANCELLED'> {
    return this.#deps.events.transaction('control', async (tx, record) => {
      const sandbox = await tx
        .selectFrom('Sandbox')
        .select('drainId')
        .where('id', '=', sandboxId)
        .where('hostId', '=', hostId)
        .where('deletedAt', 'is', null)
        .where('status', 'not in', ENDED_STATUSES)
        .forUpdate()
        .executeTakeFirst();
      const running = await tx
        .selectFrom('HostDrain')
        .select('id')
        .where('id', '=', drainId)
        .where('state', '=', 'RUNNING')
        .forShare()
        .executeTakeFirst();
      if (!running) return 'CANCELLED';
      if (!sandbox) return 'GONE';
      if (sandbox.drainId !== drainId)
        await tx.updateTable('Sandbox').set({ drainId }).where('id', '=', sandboxId).execute();
      const decide = policy === 'PAUSE' ? pauseForDrain : destroyForDrain;
      await transitionSandbox(tx, record, sandboxId, `sandbox.${policy.toLowerCase()}_requested`, decide);
      return 'ASKED';
    });
  }

  async #writeProgress(drain: HostDrainRow): Promise<void> {
    await this.#deps.events.transaction('control', async (tx, record) => {
      const host = await tx
        .selectFrom('Host')
        .selectAll()
        .where('id', '=', drain.hostId)
        .forUpdate()
        .executeTakeFirst();
      const current = await tx
        .selectFrom('HostDrain')
        .selectAll()
        .where('id', '=', drain.id)
        .where('state', '=', 'RUNNING')
        .forUpdate()
        .executeTakeFirst();
      // Cancelled meanwhile.
      if (!host || !current) return;
      const sandboxes = await tx
        .selectFrom('Sandbox')
        .select(['status', 'deletedAt'])
        .where('drainId', '=', drain.id)
        .execute();
      // What a deletion destroys is not the drain's doing.
      const progress = host.deletingAt
        ? ({ ...drainProgress(current, sandboxes, new Date()), state: 'CANCELLED' } as const)
        : drainProgress(current, sandboxes, new Date());
      const { state, total, done, failed } = progress;
      const isNews = state !== current.state || total !== current.total || done !== current.done;
      if (!isNews) return;
      const isOver = state !== 'RUNNING';
      await tx
        .updateTable('HostDrain')
        .set({ state, total, done, failed, finishedAt: isOver ? new Date() : null })
        .where('id', '=', drain.id)
        .execute();
      if (host.deletedAt) return;
      const row = await tx
        .updateTable('Host')
        .set({ ...(isOver ? { drainingSince: null } : {}), revision: host.revision + 1 })
        .where('id', '=', host.id)
        .returningAll()
        .executeTakeFirstOrThrow();
      const type = isOver ? `host.drain_${state.toLowerCase()}` : 'host.drain_progressed';
      await record([{ subject: 'HOST', change: 'UPDATED', type, row }]);
    });
  }
}

const pauseForDrain = (state: SandboxState): Transition => {
  const { changes, push } = requestPause(state, 'DRAIN');
  return { changes, push };
};

const destroyForDrain = (state: SandboxState): Transition => {
  const { changes, push } = requestDestroy(state);
  const isNews = Object.keys(changes).length > 0;
  return { changes: isNews ? { ...changes, statusReason: 'Its host is being drained.' } : changes, push };
};
