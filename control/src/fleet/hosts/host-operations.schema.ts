import { fromGlobalId, NO_SUCH_ROW } from '../../kernel/global-id.ts';
import { InvalidInput, NameTaken, NotFound, NotPermitted, UserError } from '../../kernel/user-errors.ts';
import type { FleetBuilder } from '../builder.ts';
import { HostBeingDeleted } from '../enrolment/host-token.service.ts';
import type { SandboxTypes } from '../sandboxes/sandbox.schema.ts';
import type { SharedTypes } from '../shared.schema.ts';
import type { HostDrainRow, SandboxRow } from '../tables.ts';
import { DrainInProgress } from './host-drain.service.ts';
import { DRAIN_POLICIES, DRAIN_STATES } from './host-drain.state.ts';
import { RevisionMismatch, type HostWithCursor } from './host-operations.service.ts';

/** `Host.drain`, and the mutations that change a host, besides its creation and deletion. */
export function addHostOperations(
  builder: FleetBuilder,
  { Host, LabelInput }: SharedTypes,
  { Sandbox }: SandboxTypes,
): void {
  const DrainPolicy = builder.enumType('DrainPolicy', {
    description: 'What becomes of the sandboxes. PAUSE: they are paused and kept. DESTROY: they are destroyed.',
    values: DRAIN_POLICIES,
  });
  const DrainState = builder.enumType('DrainState', {
    description:
      'COMPLETED: every sandbox is as the policy wants it. FAILED: the deadline came first; what is left is still wanted and carried out when its host can. CANCELLED: the host was uncordoned.',
    values: DRAIN_STATES,
  });
  const HostDrain = builder.objectRef<HostDrainRow>('HostDrain').implement({
    description: 'How far a host’s sandboxes have been moved out of the way.',
    fields: (t) => ({
      state: t.expose('state', { type: DrainState }),
      policy: t.expose('policy', { type: DrainPolicy }),
      total: t.exposeInt('total', { description: 'Sandboxes that were there.' }),
      done: t.exposeInt('done', { description: 'Of those, the ones that are paused or gone.' }),
      failed: t.exposeInt('failed', { description: 'Of those, the ones that were not when the deadline came.' }),
      remainingSandboxes: t.field({
        type: [Sandbox],
        description:
          'The ones that are not paused or gone now, also after the deadline; those that the viewer may see.',
        resolve: async (drain, _args, { services, loaders }) => {
          const rows = await loaders.sandbox.loadMany(await services.drains.remaining(drain));
          return rows.filter((row): row is SandboxRow => row !== null && !(row instanceof Error));
        },
      }),
      startedAt: t.expose('startedAt', { type: 'DateTime' }),
      deadlineAt: t.expose('deadlineAt', { type: 'DateTime' }),
      finishedAt: t.expose('finishedAt', { type: 'DateTime', nullable: true }),
    }),
  });
  builder.objectField(Host, 'drain', (t) =>
    t.field({
      type: HostDrain,
      nullable: true,
      description: 'The last drain, for as long as the host is cordoned.',
      resolve: (host, _args, { loaders }) => (host.cordonedAt ? loaders.drain.load(host.id) : null),
    }),
  );

  builder.objectType(RevisionMismatch, {
    name: 'RevisionMismatch',
    description: 'Nothing was changed: the caller has not seen the host as it is.',
    interfaces: [UserError],
    fields: (t) => ({ currentRevision: t.exposeInt('currentRevision') }),
  });
  builder.objectType(DrainInProgress, { name: 'DrainInProgress', interfaces: [UserError] });

  const payload = (name: string) =>
    builder.objectRef<HostWithCursor>(name).implement({
      fields: (t) => ({
        host: t.expose('host', { type: Host }),
        cursor: t.exposeString('cursor', { description: 'Of the event log, not later than this change.' }),
      }),
    });
  const UpdateHostInput = builder.inputType('UpdateHostInput', {
    fields: (t) => ({
      hostId: t.id({ required: true }),
      name: t.string({ description: 'Stays as it is when it is not given.' }),
      labels: t.field({ type: [LabelInput], description: 'All of them; they stay as they are when not given.' }),
      expectedRevision: t.int({ description: 'Change nothing if the host is not at this revision any more.' }),
    }),
  });
  const CordonHostInput = builder.inputType('CordonHostInput', {
    fields: (t) => ({ hostId: t.id({ required: true }) }),
  });
  const UncordonHostInput = builder.inputType('UncordonHostInput', {
    fields: (t) => ({ hostId: t.id({ required: true }) }),
  });
  const DrainHostInput = builder.inputType('DrainHostInput', {
    fields: (t) => ({
      hostId: t.id({ required: true }),
      policy: t.field({ type: DrainPolicy, defaultValue: 'PAUSE' }),
      deadlineSeconds: t.int({ defaultValue: 600, description: 'After this the drain counts as failed.' }),
    }),
  });
  const rowId = (hostId: string | number): string => fromGlobalId('Host', hostId) ?? NO_SUCH_ROW;

  builder.mutationFields((t) => ({
    updateHost: t.field({
      type: payload('HostUpdated'),
      errors: {
        types: [InvalidInput, NameTaken, NotFound, NotPermitted, RevisionMismatch],
        union: { name: 'UpdateHostResult' },
      },
      args: { input: t.arg({ type: UpdateHostInput, required: true }) },
      resolve: (_root, { input: { hostId, ...input } }, { viewer, services }) =>
        services.hostOperations.update(viewer, rowId(hostId), input),
    }),
    cordonHost: t.field({
      type: payload('HostCordoned'),
      description: 'Keeps new sandboxes away; those that are there live on.',
      errors: { types: [NotFound, NotPermitted], union: { name: 'CordonHostResult' } },
      args: { input: t.arg({ type: CordonHostInput, required: true }) },
      resolve: (_root, { input }, { viewer, services }) => services.hostOperations.cordon(viewer, rowId(input.hostId)),
    }),
    uncordonHost: t.field({
      type: payload('HostUncordoned'),
      description: 'Lets new sandboxes in again, and cancels a drain; what it has paused stays paused.',
      errors: { types: [NotFound, NotPermitted], union: { name: 'UncordonHostResult' } },
      args: { input: t.arg({ type: UncordonHostInput, required: true }) },
      resolve: (_root, { input }, { viewer, services }) =>
        services.hostOperations.uncordon(viewer, rowId(input.hostId)),
    }),
    drainHost: t.field({
      type: payload('HostDrainStarted'),
      description:
        'Cordons the host and moves its sandboxes out of the way; how far that is shows in `Host.drain`. Asking again while it goes on changes nothing.',
      errors: {
        types: [DrainInProgress, HostBeingDeleted, InvalidInput, NotFound, NotPermitted],
        union: { name: 'DrainHostResult' },
      },
      args: { input: t.arg({ type: DrainHostInput, required: true }) },
      resolve: (_root, { input: { hostId, ...input } }, { viewer, services }) =>
        services.drains.drain(viewer, rowId(hostId), input),
    }),
  }));
}
