import type { Logger } from '@rookery/wire/log.ts';
import type { SandboxSupervisor } from './sandbox.supervisor.ts';

export interface ControlLossDeps {
  /** Silence of control after which the policy applies, in ms; counted from the start if it was never heard. */
  readonly graceMs: number;
  readonly policy: 'pause' | 'keep';
  readonly supervisor: Pick<SandboxSupervisor, 'holdAll' | 'releaseAll'>;
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
    // The first time also for what an earlier agent has paused, at its exit or during an outage.
    if (!this.#lost && !this.#isFirst) return;
    if (this.#lost) this.#deps.log.info('control is back');
    this.#lost = false;
    this.#isFirst = false;
    void this.#deps.supervisor.releaseAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lose(), this.#deps.graceMs);
  }

  #lose(): void {
    this.#lost = true;
    const { policy, graceMs, log, supervisor } = this.#deps;
    log.error({ graceMs, policy }, 'control has not been heard for the grace');
    if (policy === 'pause') void supervisor.holdAll('CONTROL_LOSS');
  }
}
