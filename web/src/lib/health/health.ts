import type { FleetHealthReason, FleetState, HealthFieldsFragment } from '#lib/gql/generated/graphql.ts';
import { formatNumber } from '#lib/ui/format.ts';
import type { Tone } from '#lib/ui/tone.ts';

/** What the server last made of the fleet. */
export type Health = HealthFieldsFragment;

/**
 * Milliseconds without news of a further look at the fleet, after which nobody knows how it is. The server looks
 * every few seconds and is asked every ten: shorter cries wolf when one answer is slow, longer keeps claiming what
 * nobody checks.
 */
export const UNKNOWN_AFTER_MS = 45_000;

/** What is known now: a state, or that nothing is. The server says so too, when nobody has looked for some time. */
export type HealthState = FleetState;

export interface HealthWords {
  readonly label: string;
  readonly tone: Tone;
  /** In one line. */
  readonly title: string;
  /** What becomes of new sandboxes. */
  readonly placements: string;
  /** What becomes of hosts that are silent. */
  readonly judgements: string;
}

export const healthWords: Record<HealthState, HealthWords> = {
  NORMAL: {
    label: 'Normal',
    tone: 'ok',
    title: 'All is as usual.',
    placements: 'New sandboxes go to every host that is connected and has room.',
    judgements: 'A host that is silent for too long is shown as unreachable, and its sandboxes as missing.',
  },
  OBSERVING: {
    label: 'Listening first',
    tone: 'info',
    title: 'Hosts are given time to report before any counts as unreachable.',
    placements: 'New sandboxes go to the hosts that are connected right now, as usual.',
    judgements:
      'No host is declared unreachable yet. One that is really gone is shown as online for a little longer than usual.',
  },
  SLOWED: {
    label: 'Careful',
    tone: 'warn',
    title: 'Many hosts fell silent together. They are declared unreachable only a few at a time.',
    placements: 'New sandboxes go to the hosts that are connected right now, as usual.',
    judgements:
      'Silent hosts are declared unreachable a few at a time, in case the fault is not theirs. Some that are gone are still shown as online.',
  },
  FROZEN: {
    label: 'On hold',
    tone: 'bad',
    title: 'So many hosts are silent that the fault is probably on our side. None is declared unreachable.',
    placements: 'New sandboxes go to the hosts that are connected right now, if there are any.',
    judgements: 'What is shown of hosts and sandboxes may be out of date. They most likely run on as they were.',
  },
  UNKNOWN: {
    label: 'Unknown',
    tone: 'idle',
    title: 'It is not known right now whether silent hosts are noticed.',
    placements: 'Not known.',
    judgements: 'Not known. What is shown of hosts and sandboxes may be out of date.',
  },
};

const reasons: Readonly<Record<FleetHealthReason, string>> = {
  CONTROL_STARTED: 'Rookery has just started',
  LEADER_CHANGED: 'Another server has taken over',
  CONTROL_STALLED: 'The server stood still for a moment',
  CLOCK_JUMPED: 'A server’s clock has jumped',
  DATABASE_OUTAGE: 'The database was away',
  HOSTS_RETURNING: 'Hosts are coming back',
  MASS_SILENCE: 'Many hosts fell silent together',
};

/** Null when there is nothing to explain. A reason that this build does not know is still worth showing. */
export function reasonLabel(reason: FleetHealthReason | null | undefined): string | null {
  if (!reason) return null;
  return reasons[reason] ?? reason.toLowerCase().replaceAll('_', ' ');
}

/** "6 of 10 hosts are silent"; null for who is not told the numbers. */
export function silentShare({ heardHosts, silentHosts, lostHosts }: Health): string | null {
  if (heardHosts == null || silentHosts == null || lostHosts == null) return null;
  const silent = silentHosts + lostHosts;
  return `${formatNumber(silent)} of ${formatNumber(heardHosts + silent)} hosts are silent`;
}

/** How many hosts there are; null when it is not told. */
export function hostTotal({ heardHosts, silentHosts, unreachableHosts }: Health): number | null {
  if (heardHosts == null || silentHosts == null || unreachableHosts == null) return null;
  return heardHosts + silentHosts + unreachableHosts;
}

/** Of two things heard of the fleet the one that is about a later look: answers overtake each other. */
export function laterHealth(known: Health | null, heard: Health | null): Health | null {
  if (!known || !heard) return heard ?? known;
  return Date.parse(heard.checkedAt) >= Date.parse(known.checkedAt) ? heard : known;
}

export interface HealthKnowledge {
  readonly health: Health | null;
  /** By this browser's clock, when it was heard of a look at the fleet that was news; null when never. */
  readonly newsAt: number | null;
  /** Whether changes are heard of at once. */
  readonly live: boolean;
}

/**
 * What may be claimed now. Nothing is, where changes would not be heard of or nobody has looked at the fleet for long.
 * Ages are taken by one clock, this browser's, because it may be off by minutes.
 *
 * @returns null while nothing was ever heard, and where the server has not begun to look.
 */
export function knownState({ health, newsAt, live }: HealthKnowledge, now: number): HealthState | null {
  if (!health || newsAt === null) return null;
  return live && now - newsAt <= UNKNOWN_AFTER_MS ? health.state : 'UNKNOWN';
}
