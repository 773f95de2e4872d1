import { z } from 'zod';
import { isUniqueViolation } from '../../database/database.ts';
import { authorize, signedIn, type Action } from '../../kernel/authority.ts';
import { toCursor } from '../../kernel/events/change-stream.ts';
import type { EventHub } from '../../kernel/events/event-hub.ts';
import { inputField, parseInput } from '../../kernel/input.ts';
import { NameTaken, NotFound, UserError } from '../../kernel/user-errors.ts';
import { actorOf, type Actor, type Viewer } from '../../kernel/viewer.ts';
import type { FleetEvents, FleetTransaction, HostRow } from '../tables.ts';
import { requestHost } from './host-lifecycle.state.ts';
import type { HostService } from './host.service.ts';

/** The host has changed since the caller looked at it. */
export class RevisionMismatch extends UserError {
  readonly currentRevision: number;
  constructor(currentRevision: number) {
    super('REVISION_MISMATCH', 'The host has changed since you looked at it.', ['input', 'expectedRevision']);
    this.currentRevision = currentRevision;
  }
}

export interface HostWithCursor {
  readonly host: HostRow;
  /** Of an event not later than the one of this change. */
  readonly cursor: string;
}

const updateHostInput = z.object({
  name: inputField.name().nullish(),
  labels: inputField.labels().nullish(),
  expectedRevision: z.int().nullish(),
});

export interface HostOperationsDeps {
  readonly events: FleetEvents;
  readonly hub: EventHub;
  readonly hosts: HostService;
}

/** What people change about a host, besides making and deleting it. Asking for what is already so changes nothing. */
export class HostOperations {
  readonly #deps: HostOperationsDeps;

  constructor(deps: HostOperationsDeps) {
    this.#deps = deps;
  }

  /**
   * Changes a host's name or labels; what is not given stays.
   *
   * @throws {InvalidInput | NameTaken | NotFound | NotPermitted | RevisionMismatch}
   */
  async update(viewer: Viewer | null, hostId: string, input: unknown): Promise<HostWithCursor> {
    const { name, labels, expectedRevision } = parseInput(updateHostInput, input);
    try {
      return await this.#change(viewer, hostId, 'host:update', 'host.updated', (host) => {
        if (expectedRevision != null && expectedRevision !== host.revision) throw new RevisionMismatch(host.revision);
        return { name: name ?? host.name, labels: labels ?? host.labels };
      });
    } catch (error) {
      if (name != null && isUniqueViolation(error, 'hosts_name_key')) throw new NameTaken('host', name);
      throw error;
    }
  }

  /** Keeps new sandboxes away; those that are there live on. @throws {NotFound | NotPermitted} */
  async cordon(viewer: Viewer | null, hostId: string): Promise<HostWithCursor> {
    return this.#change(
      viewer,
      hostId,
      'host:cordon',
      'host.cordoned',
      (host) => requestHost(host, 'CORDON', new Date()).changes,
    );
  }

  /**
   * Lets new sandboxes in again, and cancels a drain: what it has paused stays paused.
   *
   * @throws {NotFound | NotPermitted}
   */
  async uncordon(viewer: Viewer | null, hostId: string): Promise<HostWithCursor> {
    return this.#change(
      viewer,
      hostId,
      'host:cordon',
      'host.uncordoned',
      (host) => requestHost(host, 'UNCORDON', new Date()).changes,
      async (tx) => {
        await tx
          .updateTable('HostDrain')
          .set({ state: 'CANCELLED', finishedAt: new Date() })
          .where('hostId', '=', hostId)
          .where('state', '=', 'RUNNING')
          .execute();
      },
    );
  }

  /**
   * Allows or ends a team's bringing its own hosts, for the hosts that it has: when it ends, they take
   * no new sandboxes; what runs on them runs on. For whoever switches it for the team, who is to be
   * authorized there. Asking again changes nothing.
   *
   * @returns how many hosts changed.
   */
  async setTeamByoc(actor: Actor, teamId: string, allowed: boolean): Promise<number> {
    const type = allowed ? 'host.byoc_enabled' : 'host.byoc_disabled';
    return this.#deps.events.transaction(actor, async (tx, record) => {
      const hosts = await tx
        .updateTable('Host')
        .set(({ eb }) => ({ byocDisabledAt: allowed ? null : new Date(), revision: eb('revision', '+', 1) }))
        .where('id', 'in', (wrong) =>
          wrong
            .selectFrom('Host as h')
            .select('h.id')
            .where('h.teamId', '=', teamId)
            .where('h.kind', '=', 'BYOC')
            .where('h.deletedAt', 'is', null)
            .where('h.byocDisabledAt', allowed ? 'is not' : 'is', null)
            // In one order, so that two of these cannot lock each other out.
            .orderBy('h.id')
            .forUpdate(),
        )
        .where('byocDisabledAt', allowed ? 'is not' : 'is', null)
        .returningAll()
        .execute();
      await record(hosts.map((row) => ({ subject: 'HOST', change: 'UPDATED', type, row })));
      return hosts.length;
    });
  }

  async #change(
    viewer: Viewer | null,
    hostId: string,
    action: Action,
    type: string,
    change: (host: HostRow) => Partial<HostRow>,
    also: (tx: FleetTransaction) => Promise<void> = async () => {},
  ): Promise<HostWithCursor> {
    const someone = signedIn(viewer);
    const { hosts, events, hub } = this.#deps;
    authorize(someone, action, (await hosts.find(someone, hostId)) ?? undefined, 'host');
    const host = await events.transaction(actorOf(someone), async (tx, record) => {
      const current = await tx
        .selectFrom('Host')
        .selectAll()
        .where('id', '=', hostId)
        .where('deletedAt', 'is', null)
        .forUpdate()
        .executeTakeFirst();
      if (!current) throw new NotFound('host');
      const changes = change(current);
      await also(tx);
      if (Object.entries(changes).every(([field, value]) => same(value, current[field as keyof HostRow]))) {
        return current;
      }
      const row = await tx
        .updateTable('Host')
        .set({ ...changes, revision: current.revision + 1 } as never)
        .where('id', '=', hostId)
        .returningAll()
        .executeTakeFirstOrThrow();
      await record([{ subject: 'HOST', change: 'UPDATED', type, row }]);
      return row;
    });
    return { host, cursor: toCursor(hub.position) };
  }
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
