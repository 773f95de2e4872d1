import type { HostFacts, HostKind } from './host.state.ts';

/**
 * The lifecycle of a host as a pure state machine.
 *
 * A host is several facts at once (heard or not, reached or not, cordoned, draining, left, quarantined…),
 * each of which somebody else decides about. {@link requestHost} is for what people want of it and may be
 * refused; {@link observeHost} is for what is seen of it, and is dropped where it cannot be news. Statements
 * that write many rows at once (`HostPresence`, `HostOperations.setTeamByoc`) do the same in SQL;
 * `host-lifecycle.integration.test.ts` holds each of them to these functions in every state.
 */

/** The part of a host's row that its lifecycle reads and writes. */
export interface HostState extends Omit<HostFacts, 'runtimeName' | 'agentVersion' | 'agentConditions'> {
  readonly kind: HostKind;
  readonly registeredAt: Date | null;
  readonly deletedAt: Date | null;
}

/** What people want of a host. */
export const HOST_REQUESTS = ['CORDON', 'UNCORDON', 'DRAIN', 'DELETE', 'NEW_TOKEN'] as const;
export type HostRequest = (typeof HOST_REQUESTS)[number];

/** What is seen of a host: by its agent, its tunnel, the monitor, its sandboxes, and the jobs that work on it. */
export type HostObservation =
  /** A machine has spent a registration token. */
  | { readonly type: 'JOINED' }
  | { readonly type: 'HEARD' }
  /** Nothing has been heard for a lease. */
  | { readonly type: 'SILENT' }
  /** A control process has made a round trip through its tunnel, or has lost that tunnel. */
  | { readonly type: 'TUNNEL_UP' | 'TUNNEL_DOWN'; readonly replicaId: string }
  | { readonly type: 'LEFT' }
  /** A second machine has used its credentials. */
  | { readonly type: 'CLONED' }
  | { readonly type: 'BYOC_DISABLED' | 'BYOC_ENABLED' }
  | { readonly type: 'CREATE_FAILED'; readonly error: string }
  | { readonly type: 'CREATE_SUCCEEDED' }
  | { readonly type: 'DRAIN_ENDED' }
  /** Everything that was on it is gone. */
  | { readonly type: 'DELETION_FINISHED' };

export const HOST_OBSERVATIONS = [
  'JOINED',
  'HEARD',
  'SILENT',
  'TUNNEL_UP',
  'TUNNEL_DOWN',
  'LEFT',
  'CLONED',
  'BYOC_DISABLED',
  'BYOC_ENABLED',
  'CREATE_FAILED',
  'CREATE_SUCCEEDED',
  'DRAIN_ENDED',
  'DELETION_FINISHED',
] as const satisfies readonly HostObservation['type'][];

export interface HostTransition {
  /** The fields that change; empty when nothing does. */
  readonly changes: Partial<HostState>;
  /** Why the wish cannot be granted, in words that name the state; nothing changes then. */
  readonly refusal?: string;
}

const nothing: HostTransition = { changes: {} };

const WORDS: Record<HostRequest, string> = {
  CORDON: 'cordon',
  UNCORDON: 'uncordon',
  DRAIN: 'drain',
  DELETE: 'delete',
  NEW_TOKEN: 'make a new token for',
};

/** Somebody wants something of a host. Asking for what is already so changes nothing. */
export function requestHost(host: HostState, request: HostRequest, now: Date): HostTransition {
  const refuse = (word: string): HostTransition => ({
    changes: {},
    refusal: `Cannot ${WORDS[request]} a host that is ${word}.`,
  });
  if (host.deletedAt) return refuse('deleted');
  // What a deletion does is all that still happens to it: it is cordoned for good, and what is on it is destroyed.
  if (host.deletingAt && (request === 'DRAIN' || request === 'NEW_TOKEN')) return refuse('being deleted');
  switch (request) {
    case 'CORDON':
      return host.cordonedAt ? nothing : { changes: { cordonedAt: now } };
    case 'UNCORDON':
      // Also cancels a drain: it would have cordoned the host to no end.
      return host.cordonedAt || host.drainingSince ? { changes: { cordonedAt: null, drainingSince: null } } : nothing;
    case 'DRAIN':
      if (host.drainingSince) return nothing;
      return { changes: { cordonedAt: host.cordonedAt ?? now, drainingSince: now } };
    case 'DELETE':
      return host.deletingAt ? nothing : { changes: { deletingAt: now } };
    case 'NEW_TOKEN':
      // The token has a row of its own; credentials in use go on until it is spent.
      return nothing;
  }
}

/**
 * Something was seen of a host.
 *
 * @param now the receiver's clock.
 */
export function observeHost(host: HostState, seen: HostObservation, now: Date): HostTransition {
  if (host.deletedAt) return nothing;
  switch (seen.type) {
    case 'JOINED':
      // What its tunnel was opened with is over.
      return onlyChanged(host, {
        registeredAt: host.registeredAt ?? now,
        quarantinedAt: null,
        leftAt: null,
        tunnelReplica: null,
      });
    case 'HEARD':
      // What is heard of one that has left was said before its goodbye and overtaken by it.
      return host.status === 'ONLINE' || host.leftAt ? nothing : { changes: { status: 'ONLINE' } };
    case 'SILENT':
      return host.status === 'ONLINE' ? { changes: { status: 'UNREACHABLE' } } : nothing;
    case 'TUNNEL_UP':
      return host.leftAt || host.quarantinedAt ? nothing : onlyChanged(host, { tunnelReplica: seen.replicaId });
    case 'TUNNEL_DOWN':
      // One that another replica took over in the meantime is left alone.
      return host.tunnelReplica === seen.replicaId ? { changes: { tunnelReplica: null } } : nothing;
    case 'LEFT':
      return onlyChanged(host, { status: 'UNREACHABLE', leftAt: host.leftAt ?? now, tunnelReplica: null });
    case 'CLONED':
      return onlyChanged(host, { quarantinedAt: host.quarantinedAt ?? now, tunnelReplica: null });
    case 'BYOC_DISABLED':
      return host.kind === 'PLATFORM' || host.byocDisabledAt ? nothing : { changes: { byocDisabledAt: now } };
    case 'BYOC_ENABLED':
      return onlyChanged(host, { byocDisabledAt: null });
    case 'CREATE_FAILED':
      return { changes: afterCreateFailure(host, seen.error, now) };
    case 'CREATE_SUCCEEDED':
      return host.createFailures > 0 ? { changes: AFTER_CREATE_SUCCESS } : nothing;
    case 'DRAIN_ENDED':
      return onlyChanged(host, { drainingSince: null });
    case 'DELETION_FINISHED':
      return { changes: { deletedAt: now, drainingSince: null, tunnelReplica: null } };
  }
}

/**
 * Sandboxes in a row that a host may fail to start before it is taken out of placement. Fewer takes out a
 * good host over a hiccup; more sends more sandboxes to a bad one.
 */
export const MAX_CREATE_FAILURES = 3;

function afterCreateFailure(host: HostState, error: string, now: Date): Partial<HostState> {
  const createFailures = host.createFailures + 1;
  return {
    createFailures,
    lastCreateError: error,
    createsFailingSince: host.createsFailingSince ?? (createFailures >= MAX_CREATE_FAILURES ? now : null),
  };
}

/** What of a host changes when a sandbox has started on it. */
export const AFTER_CREATE_SUCCESS = { createFailures: 0, lastCreateError: null, createsFailingSince: null } as const;

function onlyChanged(host: HostState, next: Partial<HostState>): HostTransition {
  const changed = Object.entries(next).filter(([field, value]) => host[field as keyof HostState] !== value);
  return { changes: Object.fromEntries(changed) };
}
