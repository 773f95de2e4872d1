import { CloseCode } from '@rookery/wire/close-codes.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { RookeryError } from '@rookery/wire/errors.ts';
import { sha256 } from '@rookery/wire/secrets.ts';
import { authorize, signedIn } from '../../kernel/authority.ts';
import { NotFound, UserError } from '../../kernel/user-errors.ts';
import { actorOf, type Viewer } from '../../kernel/viewer.ts';
import { toCursor } from '../../kernel/events/change-stream.ts';
import type { EventHub } from '../../kernel/events/event-hub.ts';
import { revokeCredentials } from '../enrolment/registration-token.ts';
import { ClaimKind, type Claims } from '../claims.ts';
import type { Convergence } from '../sandboxes/convergence.service.ts';
import { transitionSandbox } from '../sandboxes/sandbox.record.ts';
import { isEnded, observe, requestDestroy, type SandboxState, type Transition } from '../sandboxes/sandbox.state.ts';
import type { FleetDatabase, FleetEvents, FleetTransaction, HostRow, SandboxRow } from '../tables.ts';
import type { HostClientPool } from '../tunnels/host-client-pool.ts';
import { observeHost, requestHost } from './host-lifecycle.state.ts';
import type { HostService } from './host.service.ts';

/** Deleting the host would take these sandboxes with it. */
export class HostHasSandboxes extends UserError {
  readonly affectedSandboxes: SandboxRow[];
  readonly previewDigest: string;
  constructor(affected: SandboxRow[]) {
    super(
      'HOST_HAS_SANDBOXES',
      `Deleting this host destroys ${affected.length === 1 ? 'a sandbox' : `${affected.length} sandboxes`}; confirm with the digest of this preview.`,
    );
    this.affectedSandboxes = affected;
    this.previewDigest = previewDigest(affected);
  }
}

export interface DeletedHost {
  readonly hostId: string;
  readonly destroyedSandboxes: SandboxRow[];
  readonly cursor: string;
}

/** How long the host gets to remove its sandboxes before it is deleted all the same, in ms. */
const REMOVAL_DEADLINE_MS = 15_000;

export interface HostDeletionDeps {
  readonly database: FleetDatabase;
  readonly events: FleetEvents;
  readonly hub: EventHub;
  readonly hosts: HostService;
  readonly pool: HostClientPool;
  readonly convergence: Convergence;
  readonly claims: Claims;
  /** Cuts the host's agent channel. */
  readonly disconnect: (hostId: string, code: CloseCode, reason: string) => void;
  readonly log: Logger;
}

/** Between two looks whether somebody else has finished the same deletion, in ms. */
const POLL_MS = 100;

/** How long somebody who asks for a deletion that another process is at waits for its end, in ms; it goes on without being waited for. */
const CLAIM_WAIT_MS = 30_000;

/** Deletes hosts, and never a sandbox that nobody was shown. */
export class HostDeletion {
  readonly #deps: HostDeletionDeps;

  constructor(deps: HostDeletionDeps) {
    this.#deps = deps;
  }

  /** What a deletion would destroy now: every sandbox that has not ended, paused and missing ones included. */
  async preview(hostId: string): Promise<{ affectedSandboxes: SandboxRow[]; previewDigest: string }> {
    const affectedSandboxes = await liveSandboxes(this.#deps.database.query, hostId);
    return { affectedSandboxes, previewDigest: previewDigest(affectedSandboxes) };
  }

  /**
   * Deletes a host. With live sandboxes on it, only with `force` and the digest of a preview that
   * showed all of them. Once a deletion has begun nothing new can come to the host, and what there was
   * has been agreed to: whoever asks again, also without `force`, waits for its end.
   *
   * @param force without it the digest counts for nothing.
   * @param waitMs for another process that is at it; default 30 s.
   * @throws {RookeryError} `UNAVAILABLE` when that has not finished by then.
   * @throws {HostHasSandboxes} when there are any that the caller has not seen.
   * @throws {NotFound | NotPermitted}
   */
  async delete(
    viewer: Viewer | null,
    hostId: string,
    force: boolean,
    digest: string | null,
    waitMs = CLAIM_WAIT_MS,
  ): Promise<DeletedHost> {
    const someone = signedIn(viewer);
    const host = await this.#deps.hosts.find(someone, hostId);
    authorize(someone, 'host:delete', host ?? undefined, 'host');
    const doomed = await this.#condemn(someone, hostId, force ? digest : null);
    const deadline = performance.now() + waitMs;
    for (;;) {
      const destroyedSandboxes = await this.#claimed(hostId, () => this.#finish(hostId, doomed));
      if (destroyedSandboxes) return { hostId, destroyedSandboxes, cursor: toCursor(this.#deps.hub.position) };
      if (performance.now() >= deadline)
        throw new RookeryError('UNAVAILABLE', 'The deletion has begun and goes on; its end was not seen in time.');
      await new Promise((wake) => setTimeout(wake, POLL_MS));
    }
  }

  /** Finishes deletions that were interrupted, at once: whoever is at one holds a claim on it. */
  async resume(): Promise<number> {
    const unfinished = await this.#deps.database.query
      .selectFrom('Host')
      .select('id')
      .where('deletingAt', 'is not', null)
      .where('deletedAt', 'is', null)
      .execute();
    let resumed = 0;
    for (const { id } of unfinished) {
      // One that fails again must not keep the others waiting.
      const done = await this.#claimed(id, async () =>
        this.#finish(id, await liveSandboxes(this.#deps.database.query, id)),
      ).catch((err: unknown) =>
        this.#deps.log.warn({ hostId: id, err }, 'a deletion could not be finished; it is tried again'),
      );
      if (done) resumed++;
    }
    return resumed;
  }

  #claimed<T>(hostId: string, work: () => Promise<T>): Promise<T | undefined> {
    return this.#deps.claims.exclusively(ClaimKind.deletion, hostId, work);
  }

  /**
   * Decides under the host's lock: placements need the same lock, so no sandbox can slip in between
   * the comparison with the preview and the mark that keeps all further ones away.
   */
  async #condemn(viewer: Viewer, hostId: string, digest: string | null): Promise<SandboxRow[]> {
    return this.#deps.events.transaction(actorOf(viewer), async (tx, record) => {
      const host = await tx
        .selectFrom('Host')
        .selectAll()
        .where('id', '=', hostId)
        .where('deletedAt', 'is', null)
        .forUpdate()
        .executeTakeFirst();
      if (!host) throw new NotFound('host');
      const affected = await liveSandboxes(tx, hostId);
      const unseen = affected.length > 0 && !host.deletingAt && !covers(digest, affected);
      if (unseen) throw new HostHasSandboxes(affected);
      const { changes } = requestHost(host, 'DELETE', new Date());
      if (Object.keys(changes).length > 0) {
        const row = await tx
          .updateTable('Host')
          .set({ ...changes, revision: host.revision + 1 })
          .where('id', '=', hostId)
          .returningAll()
          .executeTakeFirstOrThrow();
        await record([{ subject: 'HOST', change: 'UPDATED', type: 'host.deletion_requested', row }]);
      }
      return affected;
    });
  }

  /** Repeatable from any point: destroys, revokes, disconnects, deletes. */
  async #finish(hostId: string, doomed: readonly SandboxRow[]): Promise<SandboxRow[]> {
    const { database, events, convergence, disconnect, log } = this.#deps;
    for (const { id } of doomed) {
      await events.transaction('control', (tx, record) =>
        transitionSandbox(tx, record, id, 'sandbox.destroy_requested', ifOn(hostId, becauseOfHost)),
      );
    }
    // Best effort: a host that is away cannot be asked, and is not waited for.
    await withDeadline(Promise.all(doomed.map(({ id }) => convergence.push(id))), REMOVAL_DEADLINE_MS, () =>
      log.warn({ hostId }, 'the host did not remove all its sandboxes in time; it is deleted all the same'),
    );

    // A transaction for each: one that held several would lock sandbox, host, sandbox, against the order of all others.
    for (const { id } of await allSandboxes(database.query, hostId)) {
      await events.transaction('control', (tx, record) =>
        transitionSandbox(tx, record, id, 'sandbox.deleted', ifOn(hostId, endWithHost)),
      );
    }
    await events.transaction('control', async (tx, record) => {
      const row = await markDeleted(tx, hostId);
      await revokeCredentials(tx, hostId);
      await leaveNothingBehind(tx, hostId);
      if (row) await record([{ subject: 'HOST', change: 'DELETED', type: 'host.deleted', row }]);
    });
    // On its own: whoever judges leases locks them before their hosts. What a crash leaves here, retention sweeps up.
    await database.query.deleteFrom('HostLease').where('hostId', '=', hostId).execute();
    disconnect(hostId, CloseCode.HostDeleted, 'host deleted');
    this.#deps.pool.evict(hostId, CloseCode.HostDeleted, 'host deleted');

    if (doomed.length === 0) return [];
    return this.#deps.database.query
      .selectFrom('Sandbox')
      .selectAll()
      .where(
        'id',
        'in',
        doomed.map(({ id }) => id),
      )
      .where('hostId', '=', hostId)
      .execute();
  }
}

/** As when somebody destroys it, with the reason said. */
function becauseOfHost(state: SandboxState): Transition {
  const { changes, push } = requestDestroy(state);
  return {
    changes: Object.keys(changes).length > 0 ? { ...changes, statusReason: 'Its host was deleted.' } : changes,
    push,
  };
}

/** The host is gone, and with it what it had. */
function endWithHost(state: SandboxState): Transition {
  const { changes } = observe({ ...state, desiredState: 'DESTROYED' }, { absentAsOf: null }, new Date());
  return {
    changes: { ...changes, desiredState: 'DESTROYED', pauseCause: null, statusReason: 'Its host was deleted.' },
    push: false,
  };
}

/** One that could not be started there has perhaps gone to another host since it was read; it has nothing to do with this one any more. */
const ifOn =
  (hostId: string, decide: (state: SandboxState) => Transition) =>
  (row: SandboxRow): Transition =>
    row.hostId === hostId ? decide(row) : { changes: {}, push: false };

type Query = Pick<FleetTransaction, 'selectFrom'>;

async function allSandboxes(query: Query, hostId: string): Promise<SandboxRow[]> {
  return query
    .selectFrom('Sandbox')
    .selectAll()
    .where('hostId', '=', hostId)
    .where('deletedAt', 'is', null)
    .orderBy('id')
    .execute();
}

async function liveSandboxes(query: Query, hostId: string): Promise<SandboxRow[]> {
  return (await allSandboxes(query, hostId)).filter(({ status }) => !isEnded(status));
}

async function markDeleted(tx: FleetTransaction, hostId: string): Promise<HostRow | undefined> {
  const host = await tx
    .selectFrom('Host')
    .selectAll()
    .where('id', '=', hostId)
    .where('deletedAt', 'is', null)
    .forUpdate()
    .executeTakeFirst();
  if (!host) return undefined;
  const { changes } = observeHost(host, { type: 'DELETION_FINISHED' }, new Date());
  return tx
    .updateTable('Host')
    .set({ ...changes, tunnelHolder: null, revision: host.revision + 1 })
    .where('id', '=', hostId)
    .returningAll()
    .executeTakeFirst();
}

/** What is only about a host that is there. Its row, its identity and its drains stay: they are told and read of. */
async function leaveNothingBehind(tx: FleetTransaction, hostId: string): Promise<void> {
  await tx.deleteFrom('Orphan').where('hostId', '=', hostId).execute();
  await tx
    .updateTable('HostDrain')
    .set({ state: 'CANCELLED', finishedAt: new Date() })
    .where('hostId', '=', hostId)
    .where('state', '=', 'RUNNING')
    .execute();
}

/**
 * A digest lists what was shown, so that sandboxes which ended meanwhile do not count as a change:
 * only one that was not shown does.
 */
function previewDigest(sandboxes: readonly SandboxRow[]): string {
  return (
    sandboxes
      .map(({ id }) => sha256(id).slice(0, 16))
      .sort()
      .join('.') || 'none'
  );
}

function covers(digest: string | null, sandboxes: readonly SandboxRow[]): boolean {
  if (digest === null) return false;
  const shown = new Set(digest.split('.'));
  return sandboxes.every(({ id }) => shown.has(sha256(id).slice(0, 16)));
}

async function withDeadline(work: Promise<unknown>, ms: number, late: () => void): Promise<void> {
  let timeout: NodeJS.Timeout | undefined;
  const deadline = new Promise<void>((resolve) => {
    timeout = setTimeout(() => {
      late();
      resolve();
    }, ms);
  });
  await Promise.race([work, deadline]);
  clearTimeout(timeout);
}
