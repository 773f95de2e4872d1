import type { Logger } from '@rookery/wire/log.ts';
import type { SandboxSupervisor } from './sandbox.supervisor.ts';

export interface ControlLossDeps {
  /** Silence of control after which the policy applies, in ms; counted from the start if it was never heard. */
  readonly graceMs: number;
  readonly policy: 'pause' | 'keep';
  readonly supervisor: Pick<SandboxSupervisor, 'holdAll' | 'releaseAll' | 'endHolds'>;
  /**
   * Of some sandboxes, those that control wants running: it may have paused or destroyed some while it could not be
   * heard. Asked again with the next heartbeat when it fails. Default: all.
   */
  readonly toRun?: (ids: readonly string[]) => Promise<ReadonlySet<string>>;
  readonly log: Logger;
}

/**
 * Applies the policy for the loss of control: sandboxes that nobody can see, bill or stop are
 * paused, and resumed as soon as control is heard again. Nothing is ever stopped because of it.
 */
export class ControlLossWatch implements AsyncDisposable {
  readonly #deps: ControlLossDeps;
  #timer: NodeJS.Timeout | undefined;
  #lost = false;
  #refused = false;
  #isFirst = true;
  #stopped = false;

  constructor(deps: ControlLossDeps) {
    this.#deps = deps;
    this.#arm();
  }

  /** Control has acknowledged a heartbeat. */
  heard(): void {
    if (this.#stopped) return;
    this.#arm();
    // An old connection can outlive the credentials; what they were refused for is not over with a beat on it.
    if (this.#refused) return;
    // The first time also for what an earlier agent has paused, at its exit or during an outage.
    if (!this.#lost && !this.#isFirst) return;
    if (this.#lost) this.#deps.log.info('control is back');
    this.#lost = false;
    this.#isFirst = false;
    void this.#release();
  }

  /** Control has refused our credentials, proven: no patience mends that, so the policy applies at once. */
  refused(): void {
    if (this.#stopped || this.#refused) return;
    this.#refused = true;
    this.#lose('control has refused the credentials of this host');
  }

  /** There are good credentials again; the next heartbeat ends the loss. */
  accepted(): void {
    this.#refused = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #release(): Promise<void> {
    const { supervisor, toRun, log } = this.#deps;
    if (!toRun) return supervisor.releaseAll();
    const held = supervisor.endHolds();
    if (held.length === 0) return;
    try {
      const wanted = await toRun(held);
      // Lost again meanwhile: what was to be released is to be held.
      if (!this.#lost && !this.#stopped) await supervisor.releaseAll(wanted);
    } catch (err) {
      log.info({ err }, 'control has not said yet what should run; it is asked again');
      this.#isFirst = true;
    }
  }

  #arm(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lose('control has not been heard for the grace'), this.#deps.graceMs);
  }

  #lose(why: string): void {
    this.#lost = true;
    const { policy, graceMs, log, supervisor } = this.#deps;
    log.error({ graceMs, policy }, why);
    if (policy === 'pause') void supervisor.holdAll('CONTROL_LOSS');
  }
}
