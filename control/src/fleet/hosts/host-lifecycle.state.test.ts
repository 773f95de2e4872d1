import { isDeepStrictEqual } from 'node:util';
import { describe, expect, test } from 'vitest';
import {
  HOST_OBSERVATIONS,
  HOST_REQUESTS,
  MAX_CREATE_FAILURES,
  observeHost,
  requestHost,
  type HostObservation,
  type HostRequest,
  type HostState,
  type HostTransition,
} from './host-lifecycle.state.ts';
import { everyHostState, EARLIER, observation, OTHER_REPLICA, REPLICA } from '../../../test/host-states.ts';
import { hostConditions, isSchedulable, type HostFacts } from './host.state.ts';

const NOW = new Date('2026-01-02T03:04:05Z');

/** What a request does where it is news, and where it is refused; written apart from the code it is compared with. */
const REQUESTS: Record<
  HostRequest,
  { refused: (host: HostState) => string | undefined; becomes: (host: HostState) => Partial<HostState> }
> = {
  CORDON: { refused: gone, becomes: ({ cordonedAt }) => ({ cordonedAt: cordonedAt ?? NOW }) },
  UNCORDON: { refused: gone, becomes: () => ({ cordonedAt: null, drainingSince: null }) },
  DRAIN: {
    refused: (host) => gone(host) ?? going(host),
    becomes: ({ cordonedAt, drainingSince }) =>
      drainingSince ? {} : { cordonedAt: cordonedAt ?? NOW, drainingSince: NOW },
  },
  DELETE: { refused: gone, becomes: ({ deletingAt }) => ({ deletingAt: deletingAt ?? NOW }) },
  NEW_TOKEN: { refused: (host) => gone(host) ?? going(host), becomes: () => ({}) },
};

function gone({ deletedAt }: HostState): string | undefined {
  return deletedAt ? 'deleted' : undefined;
}

function going({ deletingAt }: HostState): string | undefined {
  return deletingAt ? 'being deleted' : undefined;
}

/** What is to be true after an observation, and when it is no news at all. */
const OBSERVATIONS: Record<
  HostObservation['type'],
  { dropped?: (host: HostState) => boolean; becomes: (host: HostState) => Partial<HostState> }
> = {
  JOINED: {
    becomes: ({ registeredAt }) => ({
      registeredAt: registeredAt ?? NOW,
      quarantinedAt: null,
      leftAt: null,
      tunnelReplica: null,
    }),
  },
  HEARD: { dropped: ({ leftAt }) => leftAt !== null, becomes: () => ({ status: 'ONLINE' }) },
  SILENT: { dropped: ({ status }) => status !== 'ONLINE', becomes: () => ({ status: 'UNREACHABLE' }) },
  TUNNEL_UP: {
    dropped: ({ leftAt, quarantinedAt }) => leftAt !== null || quarantinedAt !== null,
    becomes: () => ({ tunnelReplica: REPLICA }),
  },
  TUNNEL_DOWN: {
    dropped: ({ tunnelReplica }) => tunnelReplica === OTHER_REPLICA,
    becomes: () => ({ tunnelReplica: null }),
  },
  LEFT: { becomes: ({ leftAt }) => ({ status: 'UNREACHABLE', tunnelReplica: null, leftAt: leftAt ?? NOW }) },
  CLONED: { becomes: ({ quarantinedAt }) => ({ quarantinedAt: quarantinedAt ?? NOW, tunnelReplica: null }) },
  BYOC_DISABLED: {
    dropped: ({ kind }) => kind === 'PLATFORM',
    becomes: ({ byocDisabledAt }) => ({ byocDisabledAt: byocDisabledAt ?? NOW }),
  },
  BYOC_ENABLED: { becomes: () => ({ byocDisabledAt: null }) },
  CREATE_FAILED: {
    becomes: ({ createFailures, createsFailingSince }) => ({
      createFailures: createFailures + 1,
      lastCreateError: 'no space',
      createsFailingSince:
        createFailures + 1 < MAX_CREATE_FAILURES ? createsFailingSince : (createsFailingSince ?? NOW),
    }),
  },
  CREATE_SUCCEEDED: {
    dropped: ({ createFailures }) => createFailures === 0,
    becomes: () => ({ createFailures: 0, lastCreateError: null, createsFailingSince: null }),
  },
  DRAIN_ENDED: { becomes: () => ({ drainingSince: null }) },
  DELETION_FINISHED: { becomes: () => ({ deletedAt: NOW, drainingSince: null, tunnelReplica: null }) },
};

const states = everyHostState();

/** The first states in which something is not as it should be; compared in bulk, because `expect` is slow in hundreds of thousands. */
function wrong(isRight: (host: HostState) => boolean): HostState[] {
  const found: HostState[] = [];
  for (const host of states) {
    if (!isRight(host) && found.push(host) === 3) break;
  }
  return found;
}

/** Whether the whole row is as expected afterwards, and no change is claimed where there is none. */
function leadsTo(host: HostState, { changes }: HostTransition, expected: Partial<HostState>): boolean {
  const next = { ...host, ...changes };
  if (isDeepStrictEqual(next, host) && Object.keys(changes).length > 0) return false;
  return isDeepStrictEqual(next, { ...host, ...expected });
}

test('the table is about every combination of what a host can be', () => {
  // Three statuses, three tunnels, three numbers of failures, two kinds, and eight facts that are so or not.
  expect(states).toHaveLength(3 * 3 * 3 * 2 * 2 ** 8);
});

describe('every state × every request', () => {
  test.each(HOST_REQUESTS)('%s', (request) => {
    const { refused, becomes } = REQUESTS[request];
    const verb = request === 'NEW_TOKEN' ? 'make a new token for' : request.toLowerCase();
    expect(
      wrong((host) => {
        const transition = requestHost(host, request, NOW);
        const word = refused(host);
        if (word !== undefined) {
          const refusal = `Cannot ${verb} a host that is ${word}.`;
          return isDeepStrictEqual(transition, { changes: {}, refusal });
        }
        // Asking again changes nothing.
        const next = { ...host, ...transition.changes };
        const again = requestHost(next, request, new Date(NOW.getTime() + 1));
        return (
          transition.refusal === undefined &&
          leadsTo(host, transition, becomes(host)) &&
          Object.keys(again.changes).length === 0
        );
      }),
    ).toEqual([]);
  });
});

describe('every state × every observation', () => {
  test.each(HOST_OBSERVATIONS)('%s', (type) => {
    const { dropped = () => false, becomes } = OBSERVATIONS[type];
    expect(
      wrong((host) => {
        const expected = host.deletedAt || dropped(host) ? {} : becomes(host);
        return leadsTo(host, observeHost(host, observation(type), NOW), expected);
      }),
    ).toEqual([]);
  });

  test.each(HOST_OBSERVATIONS)(
    '%s undoes nothing that people have decided, and places nothing on a host that left',
    (type) => {
      const undone = {
        BYOC_ENABLED: 'byocDisabledAt',
        DRAIN_ENDED: 'drainingSince',
        DELETION_FINISHED: 'drainingSince',
      }[type as string];
      const decided = (['cordonedAt', 'deletingAt', 'deletedAt', 'byocDisabledAt', 'drainingSince'] as const).filter(
        (field) => field !== undone,
      );
      expect(
        wrong((host) => {
          const next = { ...host, ...observeHost(host, observation(type), NOW).changes };
          const isKept = decided.every((field) => host[field] === null || next[field] === EARLIER);
          const isAway =
            next.leftAt === null ||
            !isSchedulable({ ...next, runtimeName: 'runc', agentVersion: null, agentConditions: [] });
          return isKept && isAway;
        }),
      ).toEqual([]);
    },
  );
});

test('a host that fails to start sandboxes is taken out at the third in a row, with the evidence, and back in by a success', () => {
  let host: HostState & HostFacts = {
    ...(states.find(({ status, tunnelReplica }) => status === 'ONLINE' && tunnelReplica === REPLICA) as HostState),
    ...{ registeredAt: EARLIER, cordonedAt: null, leftAt: null, deletingAt: null, deletedAt: null },
    ...{ quarantinedAt: null, drainingSince: null, byocDisabledAt: null },
    ...{ createFailures: 0, lastCreateError: null, createsFailingSince: null },
    ...{ runtimeName: 'runc', agentVersion: null, agentConditions: [] },
  };
  for (let failures = 1; failures <= MAX_CREATE_FAILURES; failures++) {
    expect(isSchedulable(host)).toBe(true);
    const error = `no space ${failures}`;
    host = { ...host, ...observeHost(host, { type: 'CREATE_FAILED', error }, NOW).changes };
  }
  expect(hostConditions(host)).toMatchObject([{ type: 'CREATES_FAILING' }]);
  expect(hostConditions(host)[0]?.message).toMatch(/The last 3 sandboxes .* no space 3/);
  const later = new Date(NOW.getTime() + 60_000);
  expect(observeHost(host, { type: 'CREATE_FAILED', error: 'again' }, later).changes).not.toHaveProperty(
    'createsFailingSince',
    later,
  );
  expect(isSchedulable({ ...host, ...observeHost(host, { type: 'CREATE_SUCCEEDED' }, later).changes })).toBe(true);
});
