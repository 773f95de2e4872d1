import type { Logger } from '@rookery/wire/log.ts';
import { isDatabaseOutage } from '../../database/database.ts';
import type { Term } from '../../kernel/leadership.ts';
import type { InterruptionWatch } from './interruption-watch.ts';
import {
  beginning,
  interrupted,
  judge,
  type Evidence,
  type Interruption,
  type MonitorMemory,
  type Verdict,
} from './monitor.state.ts';

/** What the monitor reads and writes; see `HostPresence` and `FleetHealthService`. */
export interface MonitorStore {
  evidence(leaseMs: number): Promise<Evidence & { readonly now: Date; readonly cutoff: Date }>;
  silence(term: Term, cutoff: Date, quota: number): Promise<number>;
  markMissing(term: Term): Promise<number>;
  /** Online hosts that have missing sandboxes are asked for everything they have. */
  askAgain(term: Term): Promise<number>;
  /** Leases that are dated in the future, because a clock was put back, are dated now. */
  clampLeases(term: Term): Promise<void>;
  publish(term: Term, verdict: Verdict, evidence: Evidence): Promise<void>;
}

export interface HostMonitorDeps {
  readonly store: MonitorStore;
  readonly watch: Pick<InterruptionWatch, 'take' | 'databaseClock'>;
  /** Silence after which a host is lost, in ms. */
  readonly leaseMs: number;
  readonly log: Logger;
  /** Monotonic, in ms. */
  readonly now?: () => number;
}

/**
 * Declares hosts lost that nobody hears, as far as that can be known (`monitor.state.ts`).
 *
 * Only the leader judges, and each term of leadership begins with a full lease of listening: of what
 * was heard before it began this process knows nothing.
 */
export class HostMonitor {
  readonly #deps: HostMonitorDeps;
  readonly #now: () => number;
  #memory: MonitorMemory;
  #epoch: number | undefined;
  /** A clock may have been put back, unnoticed by us: a lease from the future would hide a dead host for as long as the jump. */
  #mustClamp = true;

  constructor(deps: HostMonitorDeps) {
    this.#deps = deps;
    this.#now = deps.now ?? (() => performance.now());
    this.#memory = beginning('CONTROL_STARTED', this.#now(), deps.leaseMs);
  }

  /**
   * One pass.
   *
   * @returns how many hosts were declared lost.
   * @throws {FencedOff} when somebody else judges by now.
   */
  async pass(term: Term): Promise<number> {
    const { store, watch, leaseMs, log } = this.#deps;
    if (this.#epoch !== term.epoch) this.#listen(this.#epoch === undefined ? 'CONTROL_STARTED' : 'LEADER_CHANGED');
    this.#epoch = term.epoch;
    try {
      const evidence = await store.evidence(leaseMs);
      watch.databaseClock(evidence.now.getTime());
      // After the evidence, whose answer may have taken long, and not only before.
      const interruption = watch.take();
      if (interruption) this.#listen(interruption);
      if (this.#mustClamp) {
        await store.clampLeases(term);
        this.#mustClamp = false;
      }

      const verdict = judge(this.#memory, evidence, this.#now(), leaseMs);
      this.#memory = verdict.memory;
      // Published first: nothing is judged that people are not told of.
      await store.publish(term, verdict, evidence);
      const hosts =
        verdict.quota > 0 && evidence.silent > 0 ? await store.silence(term, evidence.cutoff, verdict.quota) : 0;
      await store.markMissing(term);
      await store.askAgain(term);
      if (hosts > 0) log.warn({ hosts, state: verdict.state }, 'hosts are silent and count as unreachable');
      return hosts;
    } catch (error) {
      // While the database is away nobody's lease is renewed.
      if (isDatabaseOutage(error)) this.#listen('DATABASE_OUTAGE');
      throw error;
    }
  }

  #listen(reason: Interruption): void {
    const { leaseMs, log } = this.#deps;
    this.#mustClamp = true;
    this.#memory = interrupted(this.#memory, reason, this.#now(), leaseMs);
    log.info({ reason, leaseMs }, 'the monitor listens for a full lease before it judges');
  }
}
