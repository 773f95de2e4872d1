import { signedIn } from '../../kernel/authority.ts';
import { ChangeStream, withDates, type StreamItem } from '../../kernel/events/change-stream.ts';
import type { LoopStatus } from '../../kernel/loops.ts';
import type { FleetBuilder } from '../builder.ts';
import type { SharedTypes } from '../shared.schema.ts';
import type { FleetHealthRow } from '../tables.ts';
import { seesEvidence, type KnownFleetHealth, type ReplicaHealth } from './fleet-health.service.ts';
import { FLEET_REASONS, FLEET_STATES, type FleetReason } from './monitor.state.ts';

/**
 * `fleetHealth`: what the monitor thinks of the fleet. That is for everybody, because it says how far what is shown of
 * hosts and sandboxes can be trusted; how many hosts there are and how the loops go is for platform admins.
 */
export function addFleetHealth(builder: FleetBuilder, { ChangeKind }: SharedTypes): void {
  const State = builder.enumType('FleetState', {
    description:
      'OBSERVING: control listens for a full lease before it declares anyone lost. SLOWED: many hosts are silent, and are declared lost a few at a time. FROZEN: so many are silent that the fault is probably control’s own, and nobody is declared lost. UNKNOWN: nobody has looked at the fleet for some time, and nobody is declared lost.',
    values: [...FLEET_STATES, 'UNKNOWN'] as const,
  });
  const Reason = builder.enumType('FleetHealthReason', { values: FLEET_REASONS });

  const Loop = builder.objectRef<LoopStatus>('FleetLoop').implement({
    description: 'A periodic piece of work of one control process, and how its last pass went.',
    fields: (t) => ({
      name: t.exposeString('name'),
      description: t.exposeString('description'),
      // Some are a part of a setting, and not whole.
      periodMs: t.int({ resolve: ({ periodMs }) => Math.round(periodMs) }),
      standsBy: t.exposeBoolean('standsBy', { description: 'The leader does it, and this process is not the leader.' }),
      runs: t.exposeInt('runs'),
      lastRunAt: t.expose('lastRunAt', { type: 'DateTime', nullable: true }),
      lastDurationMs: t.exposeInt('lastDurationMs', { nullable: true }),
      lastCount: t.exposeInt('lastCount', {
        nullable: true,
        description: 'How much there was to do. Null after a failure.',
      }),
      lastError: t.exposeString('lastError', { nullable: true }),
    }),
  });
  const Replica = builder.objectRef<ReplicaHealth>('ControlReplica').implement({
    description: 'A control process that is alive.',
    fields: (t) => ({
      id: t.exposeString('id'),
      startedAt: t.expose('startedAt', { type: 'DateTime' }),
      seenAt: t.expose('seenAt', { type: 'DateTime' }),
      isLeader: t.exposeBoolean('isLeader', { description: 'Whether it is the one that judges.' }),
      loops: t.expose('loops', { type: [Loop] }),
    }),
  });

  const Health = builder.objectRef<KnownFleetHealth>('FleetHealth').implement({
    description: 'What the monitor made of its last pass.',
    fields: (t) => ({
      state: t.field({ type: State, resolve: ({ state }) => state }),
      reason: t.field({
        type: Reason,
        nullable: true,
        description: 'Null in NORMAL and UNKNOWN.',
        resolve: ({ reason }) => reason,
      }),
      message: t.string({
        description: 'The same in a sentence.',
        resolve: ({ state, reason, ...counts }, _args, { viewer }) =>
          sentence(state, reason, seesEvidence(viewer) ? counts : null),
      }),
      since: t.expose('since', { type: 'DateTime' }),
      checkedAt: t.expose('checkedAt', {
        type: 'DateTime',
        description: 'When the monitor last looked. When that is long ago, nobody judges, and the state is UNKNOWN.',
      }),
      heardHosts: t.int({
        ...forAdmins,
        description: `Online and heard within a lease. ${FOR_ADMINS}`,
        resolve: ({ heard }, _args, { viewer }) => (seesEvidence(viewer) ? heard : null),
      }),
      silentHosts: t.int({
        ...forAdmins,
        description: `Not heard for a lease, and not declared lost (yet). ${FOR_ADMINS}`,
        resolve: ({ silent }, _args, { viewer }) => (seesEvidence(viewer) ? silent : null),
      }),
      lostHosts: t.int({
        ...forAdmins,
        description: `Declared lost not long ago: these count as silent together. ${FOR_ADMINS}`,
        resolve: ({ lost }, _args, { viewer }) => (seesEvidence(viewer) ? lost : null),
      }),
      unreachableHosts: t.int({
        ...forAdmins,
        description: `All that are declared lost. ${FOR_ADMINS}`,
        resolve: ({ unreachable }, _args, { viewer }) => (seesEvidence(viewer) ? unreachable : null),
      }),
      orphans: t.int({
        ...forAdmins,
        description: `Sandboxes that hosts run and nobody wants; removed when they have been seen for long enough. ${FOR_ADMINS}`,
        resolve: (_health, _args, { viewer, services }) => services.health.orphans(viewer),
      }),
      replicas: t.field({
        type: [Replica],
        ...forAdmins,
        description: FOR_ADMINS,
        resolve: (_health, _args, { viewer, services }) => services.health.replicas(viewer),
      }),
    }),
  });

  builder.queryFields((t) => ({
    fleetHealth: t.field({
      type: Health,
      nullable: true,
      description: 'Null before the monitor’s first pass.',
      resolve: (_root, _args, { viewer, services }) => services.health.read(viewer),
    }),
  }));

  const HealthChange = builder.objectRef<StreamItem<KnownFleetHealth>>('FleetHealthChange').implement({
    fields: (t) => ({
      kind: t.expose('kind', { type: ChangeKind }),
      cursor: t.exposeString('cursor', { description: 'Subscribe with `after` set to this to go on from here.' }),
      fleetHealth: t.field({ type: Health, nullable: true, resolve: ({ row }) => row }),
    }),
  });
  builder.subscriptionFields((t) => ({
    fleetHealthChanged: t.field({
      type: HealthChange,
      description:
        'Changes of state or reason. That nobody looks at the fleet any more is no change; `fleetHealth` tells it.',
      args: { after: t.arg.string() },
      subscribe: (_root, { after }, { viewer, services }) => {
        const someone = signedIn(viewer);
        return new ChangeStream<KnownFleetHealth>({
          hub: services.hub,
          after: after ?? undefined,
          revive: (state) => withDates<KnownFleetHealth>(state, ['since', 'checkedAt']),
          wants: (event) => event.subject === 'FLEET',
          snapshot: async () => {
            const row = await services.health.read(someone);
            return row ? [row] : [];
          },
        });
      },
      resolve: (item) => item,
    }),
  }));
}

const FOR_ADMINS = 'Null for all but platform admins.';
const forAdmins = { nullable: true } as const;

const REASONS: Record<FleetReason, string> = {
  CONTROL_STARTED: 'control has just started',
  LEADER_CHANGED: 'another control process has taken over',
  CONTROL_STALLED: 'control was not running for a moment',
  CLOCK_JUMPED: 'a clock has jumped',
  DATABASE_OUTAGE: 'the database was away',
  HOSTS_RETURNING: 'hosts are coming back',
  MASS_SILENCE: 'many hosts fell silent together',
};

/** @param counts null for who is told only what it means for them. */
function sentence(
  state: KnownFleetHealth['state'],
  reason: FleetReason | null,
  counts: Pick<FleetHealthRow, 'heard' | 'silent' | 'lost'> | null,
): string {
  const why = reason === null ? '' : REASONS[reason];
  const share = counts
    ? `${counts.silent + counts.lost} of ${counts.heard + counts.silent + counts.lost} hosts are silent`
    : 'Many hosts are silent';
  switch (state) {
    case 'NORMAL':
      return 'Hosts that fall silent are declared unreachable.';
    case 'OBSERVING':
      return `No host is declared unreachable at the moment: ${why}, and every host gets a full period to be heard.`;
    case 'SLOWED':
      return `${share}: they are declared unreachable a few at a time.`;
    case 'UNKNOWN':
      return 'Nobody has looked at the fleet for some time: hosts that fall silent are not noticed.';
    case 'FROZEN':
      return `${share}. The fault is probably on our side, so none is declared unreachable; what is shown of them may be out of date.`;
  }
}
