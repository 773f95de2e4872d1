import { authorize, signedIn, type Action } from '../../kernel/authority.ts';
import { toCursor } from '../../kernel/events/change-stream.ts';
import type { EventHub } from '../../kernel/events/event-hub.ts';
import { NotFound, UserError } from '../../kernel/user-errors.ts';
import { actorOf, type Viewer } from '../../kernel/viewer.ts';
import type { FleetEvents, FleetTransaction, SandboxRow } from '../tables.ts';
import type { Convergence } from './convergence.service.ts';
import { transitionSandbox } from './sandbox.record.ts';
import type { SandboxService, SandboxWithCursor } from './sandbox.service.ts';
import { requestPause, requestResume, type SandboxStatus, type Transition } from './sandbox.state.ts';

/** The sandbox is in a state in which it cannot be paused. */
export class SandboxNotPausable extends UserError {
  readonly status: SandboxStatus;
  constructor(message: string, { status }: SandboxRow) {
    super('SANDBOX_NOT_PAUSABLE', message);
    this.status = status;
  }
}

/** The sandbox is in a state in which it cannot be resumed. */
export class SandboxNotResumable extends UserError {
  readonly status: SandboxStatus;
  constructor(message: string, { status }: SandboxRow) {
    super('SANDBOX_NOT_RESUMABLE', message);
    this.status = status;
  }
}

/** The sandbox's host is being drained, which would pause it again. */
export class HostDraining extends UserError {
  constructor() {
    super('HOST_DRAINING', 'Its host is being drained; it can be resumed when that is over.');
  }
}

export interface SandboxOperationsDeps {
  readonly events: FleetEvents;
  readonly hub: EventHub;
  readonly sandboxes: SandboxService;
  readonly convergence: Convergence;
}

/** Pausing and resuming. Wishes are kept and carried out by {@link Convergence}, at once or when the host returns. */
export class SandboxOperations {
  readonly #deps: SandboxOperationsDeps;

  constructor(deps: SandboxOperationsDeps) {
    this.#deps = deps;
  }

  /**
   * Wants the sandbox paused: its processes are frozen, its memory stays. Asking again changes nothing.
   *
   * @throws {NotFound | NotPermitted | SandboxNotPausable}
   */
  async pause(viewer: Viewer | null, sandboxId: string): Promise<SandboxWithCursor> {
    return this.#wish(viewer, sandboxId, 'sandbox:pause', 'sandbox.pause_requested', (sandbox) => {
      const transition = requestPause(sandbox, 'REQUESTED');
      if (transition.refusal) throw new SandboxNotPausable(transition.refusal, sandbox);
      return transition;
    });
  }

  /**
   * Wants the sandbox to run. Asking again changes nothing.
   *
   * @throws {HostDraining | NotFound | NotPermitted | SandboxNotResumable}
   */
  async resume(viewer: Viewer | null, sandboxId: string): Promise<SandboxWithCursor> {
    return this.#wish(viewer, sandboxId, 'sandbox:resume', 'sandbox.resume_requested', resume);
  }

  /**
   * Makes a sandbox run that its host has paused because it was idle, and waits until it does: using
   * it is what ends its idleness. One that somebody has paused is left alone.
   *
   * @param hostSays the host has just refused a command because it is paused, whatever we know of it.
   * @returns the sandbox as it is then; still paused when it may not be resumed.
   */
  async wake(viewer: Viewer, sandbox: SandboxRow, hostSays = false): Promise<SandboxRow> {
    const { sandboxes, convergence } = this.#deps;
    const isIdle = sandbox.desiredState === 'PAUSED' && sandbox.pauseCause === 'IDLE';
    // Paused without control having heard of it yet; only one with a timeout pauses itself.
    const mayBeIdle = hostSays && sandbox.desiredState === 'RUNNING' && sandbox.timeoutSeconds !== null;
    if (!isIdle && !mayBeIdle) return sandbox;
    try {
      await this.#transition(viewer, sandbox.id, 'sandbox.resume_requested', resume);
      await convergence.push(sandbox.id);
    } catch (error) {
      if (!(error instanceof SandboxNotResumable || error instanceof HostDraining)) throw error;
    }
    return (await sandboxes.find(viewer, sandbox.id)) ?? sandbox;
  }

  async #wish(
    viewer: Viewer | null,
    sandboxId: string,
    action: Action,
    type: string,
    decide: Decide,
  ): Promise<SandboxWithCursor> {
    const someone = signedIn(viewer);
    const sandbox = await this.#deps.sandboxes.find(someone, sandboxId);
    authorize(someone, action, sandbox ?? undefined, 'sandbox');
    const { row, transition } = await this.#transition(someone, sandboxId, type, decide);
    if (transition.push) this.#deps.convergence.nudge(sandboxId);
    return { sandbox: row, cursor: toCursor(this.#deps.hub.position) };
  }

  async #transition(viewer: Viewer, sandboxId: string, type: string, decide: Decide) {
    const result = await this.#deps.events.transaction(actorOf(viewer), async (tx, record) => {
      const isDraining = await hostIsDraining(tx, sandboxId);
      return transitionSandbox(tx, record, sandboxId, type, (sandbox) => decide(sandbox, isDraining));
    });
    if (!result) throw new NotFound('sandbox');
    return result;
  }
}

type Decide = (sandbox: SandboxRow, isDraining: boolean) => Transition;

const resume: Decide = (sandbox, isDraining) => {
  const transition = requestResume(sandbox);
  if (transition.refusal) throw new SandboxNotResumable(transition.refusal, sandbox);
  if (isDraining && sandbox.status !== 'RUNNING') throw new HostDraining();
  return transition;
};

/** Locks the sandbox, and then its host as far as that keeps a drain from beginning meanwhile. */
async function hostIsDraining(tx: FleetTransaction, sandboxId: string): Promise<boolean> {
  const sandbox = await tx
    .selectFrom('Sandbox')
    .select('hostId')
    .where('id', '=', sandboxId)
    .forUpdate()
    .executeTakeFirst();
  if (!sandbox) return false;
  const host = await tx
    .selectFrom('Host')
    .select('drainingSince')
    .where('id', '=', sandbox.hostId)
    .forKeyShare()
    .executeTakeFirst();
  return host?.drainingSince != null;
}
