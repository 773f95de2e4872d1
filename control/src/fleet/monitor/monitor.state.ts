/**
 * Whether silent hosts may be declared lost now, and how many. Pure: evidence in, verdict out.
 *
 * A host that is silent says little about the host. Control may have been away itself, its database
 * may have been, its clock may have jumped, or the network may have parted it from half the fleet. So
 * silence counts only when control has listened for a full lease, and only as long as it is the
 * exception: when many fall silent together the fault is probably ours.
 */

export const FLEET_STATES = ['NORMAL', 'OBSERVING', 'SLOWED', 'FROZEN'] as const;
export type FleetState = (typeof FLEET_STATES)[number];

/** Why the monitor does not judge as usual. */
export const FLEET_REASONS = [
  'CONTROL_STARTED',
  'LEADER_CHANGED',
  'CONTROL_STALLED',
  'CLOCK_JUMPED',
  'DATABASE_OUTAGE',
  'HOSTS_RETURNING',
  'MASS_SILENCE',
] as const;
export type FleetReason = (typeof FLEET_REASONS)[number];

/** What put the listening of control itself in doubt. */
export type Interruption = Exclude<FleetReason, 'MASS_SILENCE'>;

/**
 * Fewer hosts than this are judged one by one: two of four machines may well be switched off together. Higher
 * leaves more small fleets without the brake, lower makes it seize in them for a single host.
 */
export const MASS_MIN_HOSTS = 5;

/**
 * Share of the hosts whose silence slows judging down. Lower delays the news of a failed rack, higher
 * lets a partition of that size declare everything behind it lost at once.
 */
export const SLOW_SHARE = 0.2;

/** Share of the hosts whose silence stops judging. Lower freezes for a lost data centre, higher trusts an outage of ours for longer. */
export const FREEZE_SHARE = 0.55;

/**
 * Share of the hosts that one pass may declare lost while slowed, at least one host. At the default
 * period of 5 s a fifth of the fleet takes some two minutes: higher leaves less time for what is
 * behind it to mend or to grow until it freezes, lower keeps the dead among the living.
 */
export const SLOW_SHARE_PER_PASS = 0.01;

/**
 * How long a loss counts as "together" with later ones, in leases. Longer slows down for losses that have
 * nothing to do with each other, shorter forgets a loss that comes in drops.
 */
export const TOGETHER_LEASES = 4;

/** How often the monitor looks at the fleet, in ms. Longer hides a silent host for longer, shorter counts the leases more often. */
export const monitorPeriod = (leaseMs: number): number => Math.max(250, Math.min(5_000, leaseMs / 6));

/** Periods without a pass after which a verdict says nothing any more: one may fail, one may be late. */
const STALE_PERIODS = 3;

/** A verdict counts for this long at least, in ms, where leases are short; less takes a busy machine for one without a judge. */
const MIN_STALE_MS = 5_000;

/** Age from which on a verdict is no knowledge, in ms: nobody judges. */
export const staleAfter = (leaseMs: number): number => Math.max(MIN_STALE_MS, STALE_PERIODS * monitorPeriod(leaseMs));

/** Hosts, counted by what their leases say; deleted ones, those that have left and those that never joined are not among them. */
export interface Evidence {
  /** Online and heard within a lease. */
  readonly heard: number;
  /** Online in our books and not heard for a lease: those that might be declared lost. */
  readonly silent: number;
  /** Declared lost not long ago (see {@link TOGETHER_LEASES}). */
  readonly lost: number;
  /** All that are declared lost. */
  readonly unreachable: number;
}

/** What the monitor remembers from pass to pass. */
export interface MonitorMemory {
  /** Until when control only listens, on the monotonic clock, in ms; and since what. */
  readonly observing: { readonly until: number; readonly reason: Interruption } | null;
  readonly frozen: boolean;
}

export interface Verdict {
  readonly state: FleetState;
  /** Null when all is normal. */
  readonly reason: FleetReason | null;
  /** How many silent hosts may be declared lost in this pass. */
  readonly quota: number;
  /** Share of the hosts that are silent or were lost together. */
  readonly silentShare: number;
  readonly memory: MonitorMemory;
}

/** Control may not have listened: from now on every lease gets a full period before anyone is judged. */
export function interrupted(memory: MonitorMemory, reason: Interruption, now: number, leaseMs: number): MonitorMemory {
  return { ...memory, observing: { until: now + leaseMs, reason } };
}

/** A monitor that has just begun. */
export const beginning = (reason: Interruption, now: number, leaseMs: number): MonitorMemory =>
  interrupted({ observing: null, frozen: false }, reason, now, leaseMs);

/**
 * Decides one pass.
 *
 * @param now     monotonic clock, in ms.
 * @param leaseMs silence after which a host is lost.
 */
export function judge(memory: MonitorMemory, evidence: Evidence, now: number, leaseMs: number): Verdict {
  const { heard, silent, lost } = evidence;
  const hosts = heard + silent + lost;
  const silentShare = hosts === 0 ? 0 : (silent + lost) / hosts;
  const isMass = hosts >= MASS_MIN_HOSTS;
  const verdict = (state: FleetState, reason: FleetReason | null, quota: number, next: MonitorMemory): Verdict => ({
    state,
    reason,
    quota,
    silentShare,
    memory: next,
  });

  if (memory.observing && now < memory.observing.until) {
    return verdict('OBSERVING', memory.observing.reason, 0, memory);
  }
  // Hosts that are gone count here only as long as nobody has declared them lost: else the dead would freeze us for ever.
  if (isMass && silent > 0 && silentShare >= FREEZE_SHARE) {
    return verdict('FROZEN', 'MASS_SILENCE', 0, { observing: null, frozen: true });
  }
  if (memory.frozen) {
    // What has frozen us is passing. Those who are not back yet are on their way.
    const next = interrupted({ observing: null, frozen: false }, 'HOSTS_RETURNING', now, leaseMs);
    return verdict('OBSERVING', 'HOSTS_RETURNING', 0, next);
  }
  const normal: MonitorMemory = { observing: null, frozen: false };
  if (isMass && silent > 0 && silentShare >= SLOW_SHARE) {
    return verdict('SLOWED', 'MASS_SILENCE', Math.max(1, Math.floor(hosts * SLOW_SHARE_PER_PASS)), normal);
  }
  return verdict('NORMAL', null, Number.POSITIVE_INFINITY, normal);
}
