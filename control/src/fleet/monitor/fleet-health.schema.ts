import { RookeryError } from '@rookery/wire/errors.ts';
import { may, signedIn } from '../../kernel/authority.ts';
import { ChangeStream, withDates, type StreamItem } from '../../kernel/events/change-stream.ts';
import type { LoopStatus } from '../../kernel/loops.ts';
import type { FleetBuilder } from '../builder.ts';
import type { SharedTypes } from '../shared.schema.ts';
import type { FleetHealthRow } from '../tables.ts';
import type { ReplicaHealth } from './fleet-health.service.ts';
import { FLEET_REASONS, FLEET_STATES, type FleetReason, type FleetState } from './monitor.state.ts';

/** `fleetHealth`: what the monitor thinks of the fleet and how the loops go. For platform admins. */
export function addFleetHealth(builder: FleetBuilder, { ChangeKind }: SharedTypes): void {
  const State = builder.enumType('FleetState', {
    description:
      'OBSERVING: control listens for a full lease before it declares anyone lost. SLOWED: many hosts are silent, and are declared lost a few at a time. FROZEN: so many are silent that the fault is probably control’s own, and nobody is declared lost.',
    values: FLEET_STATES,
  });
  const Reason = builder.enumType('FleetHealthReason', { values: FLEET_REASONS });

  const Loop = builder.objectRef<LoopStatus>('FleetLoop').implement({
    description: 'A periodic piece of work of one control process, and how its last pass went.',
    fields: (t) => ({
      name: t.exposeString('name'),
      description: t.exposeString('description'),
      periodMs: t.exposeInt('periodMs'),
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

  const Health = builder.objectRef<FleetHealthRow>('FleetHealth').implement({
    description: 'What the monitor made of its last pass.',
    fields: (t) => ({
      state: t.field({ type: State, resolve: ({ state }) => state }),
      reason: t.field({
        type: Reason,
        nullable: true,
        description: 'Null in NORMAL.',
        resolve: ({ reason }) => reason,
      }),
      message: t.string({
        description: 'The same in a sentence.',
        resolve: ({ state, reason, ...counts }) => sentence(state, reason, counts),
      }),
      since: t.expose('since', { type: 'DateTime' }),
      checkedAt: t.expose('checkedAt', {
        type: 'DateTime',
        description: 'When the monitor last looked. When that is long ago, nobody judges.',
      }),
      heardHosts: t.exposeInt('heard', { description: 'Online and heard within a lease.' }),
      silentHosts: t.exposeInt('silent', { description: 'Not heard for a lease, and not declared lost (yet).' }),
      lostHosts: t.exposeInt('lost', { description: 'Declared lost not long ago: these count as silent together.' }),
      unreachableHosts: t.exposeInt('unreachable', { description: 'All that are declared lost.' }),
      orphans: t.int({
        description: 'Sandboxes that hosts run and nobody wants; removed when they have been seen for long enough.',
        resolve: (_health, _args, { services }) => services.health.orphans(),
      }),
      replicas: t.field({
        type: [Replica],
        resolve: (_health, _args, { services }) => services.health.replicas(),
      }),
    }),
  });

  builder.queryFields((t) => ({
    fleetHealth: t.field({
      type: Health,
      nullable: true,
      description: 'Null for all but platform admins, and before the monitor’s first pass.',
      resolve: (_root, _args, { viewer, services }) => services.health.read(viewer),
    }),
  }));

  const HealthChange = builder.objectRef<StreamItem<FleetHealthRow>>('FleetHealthChange').implement({
    fields: (t) => ({
      kind: t.expose('kind', { type: ChangeKind }),
      cursor: t.exposeString('cursor', { description: 'Subscribe with `after` set to this to go on from here.' }),
      fleetHealth: t.field({ type: Health, nullable: true, resolve: ({ row }) => row }),
    }),
  });
  builder.subscriptionFields((t) => ({
    fleetHealthChanged: t.field({
      type: HealthChange,
      description: 'Changes of state or reason. For platform admins.',
      args: { after: t.arg.string() },
      subscribe: (_root, { after }, { viewer, services }) => {
        if (!may(signedIn(viewer), 'platform:read', { teamId: null }))
          throw new RookeryError('FORBIDDEN', 'Only platform admins may see the health of the fleet.');
        return new ChangeStream<FleetHealthRow>({
          hub: services.hub,
          after: after ?? undefined,
          revive: (state) => withDates<FleetHealthRow>(state, ['since', 'checkedAt']),
          wants: (event) => event.subject === 'FLEET',
          snapshot: async () => {
            const row = await services.health.read(viewer);
            return row ? [row] : [];
          },
        });
      },
      resolve: (item) => item,
    }),
  }));
}

const REASONS: Record<FleetReason, string> = {
  CONTROL_STARTED: 'control has just started',
  LEADER_CHANGED: 'another control process has taken over',
  CONTROL_STALLED: 'control was not running for a moment',
  CLOCK_JUMPED: 'a clock has jumped',
  DATABASE_OUTAGE: 'the database was away',
  HOSTS_RETURNING: 'hosts are coming back',
  MASS_SILENCE: 'many hosts fell silent together',
};

function sentence(
  state: FleetState,
  reason: FleetReason | null,
  { heard, silent, lost }: Pick<FleetHealthRow, 'heard' | 'silent' | 'lost'>,
): string {
  const why = reason === null ? '' : REASONS[reason];
  const share = `${silent + lost} of ${heard + silent + lost} hosts are silent`;
  switch (state) {
    case 'NORMAL':
      return 'Hosts that fall silent are declared unreachable.';
    case 'OBSERVING':
      return `No host is declared unreachable at the moment: ${why}, and every host gets a full period to be heard.`;
    case 'SLOWED':
      return `${share}: they are declared unreachable a few at a time.`;
    case 'FROZEN':
      return `${share}. The fault is probably on our side, so none is declared unreachable; what is shown of them may be out of date.`;
  }
}
