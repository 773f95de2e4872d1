import type { ObjectFieldBuilder } from '@pothos/core';
import { fromGlobalId, NO_SUCH_ROW, toGlobalId } from '../../kernel/global-id.ts';
import { IdempotencyKeyReused, InvalidInput, NotFound, NotPermitted, UserError } from '../../kernel/user-errors.ts';
import type { FleetBuilder } from '../builder.ts';
import type { StreamItem } from '../../kernel/events/change-stream.ts';
import { NoHostFits } from '../placement/placement.service.ts';
import { addPlacement } from '../placement/placement.schema.ts';
import { listConnection, listingOf, idArgument } from '../../kernel/connection.ts';
import type { SharedTypes } from '../shared.schema.ts';
import type { HostRow, SandboxRow } from '../tables.ts';
import { addExec } from './exec.schema.ts';
import { HostUnavailable, SandboxNotRunning } from './exec.service.ts';
import type { SandboxFilter, SandboxWithCursor } from './sandbox.service.ts';
import { PAUSE_CAUSES, SANDBOX_STATUSES } from './sandbox.state.ts';
import { sandboxChanges } from './sandbox.stream.ts';

/** `Sandbox` and its queries, mutations and subscription. */
export function addSandboxes(builder: FleetBuilder, { Host, Team, Label, LabelInput, ChangeKind }: SharedTypes) {
  const SandboxStatus = builder.enumType('SandboxStatus', {
    description:
      'MISSING: its host is silent; reversible. STOPPED and ERROR: nothing runs any more, statusReason says why.',
    values: SANDBOX_STATUSES,
  });
  const PauseCause = builder.enumType('PauseCause', {
    description: 'IDLE: for its timeout; the next command resumes it. DRAIN: its host was drained.',
    values: PAUSE_CAUSES,
  });
  const { Placement, PlacementRejection } = addPlacement(builder, Host);

  const Sandbox = builder.objectRef<SandboxRow>('Sandbox');
  builder.node(Sandbox, {
    description: 'An isolated environment in which code runs.',
    id: { resolve: (sandbox) => sandbox.id },
    fields: (t) => ({
      name: t.exposeString('name'),
      status: t.expose('status', { type: SandboxStatus }),
      statusReason: t.exposeString('statusReason', { nullable: true }),
      statusBeforeMissing: t.expose('statusBeforeMissing', {
        type: SandboxStatus,
        nullable: true,
        description: 'What it was when its host was last heard; null unless it is MISSING.',
      }),
      missingSince: t.field({
        type: 'DateTime',
        nullable: true,
        description: 'When its host was last heard; null unless it is MISSING.',
        resolve: async ({ status, hostId }, _args, { loaders }) =>
          status === 'MISSING' ? ((await loaders.lease.load(hostId))?.seenAt ?? null) : null,
      }),
      pauseCause: t.expose('pauseCause', {
        type: PauseCause,
        nullable: true,
        description: 'Why it is paused, or about to be; null when it is to run.',
      }),
      host: t.field({
        type: Host,
        nullable: true,
        description: 'Null when the viewer may not see the host.',
        resolve: (sandbox, _args, { loaders }) => loaders.host.load(sandbox.hostId),
      }),
      team: t.field({
        type: Team,
        nullable: true,
        resolve: (sandbox) => ({ id: toGlobalId('Team', sandbox.teamId) }),
      }),
      template: t.exposeString('template'),
      vcpus: t.float({ resolve: (sandbox) => sandbox.milliVcpus / 1_000 }),
      memoryMb: t.exposeInt('memoryMb'),
      diskMb: t.exposeInt('diskMb'),
      timeoutSeconds: t.exposeInt('timeoutSeconds', {
        nullable: true,
        description: 'Inactivity after which it is paused; a command resumes it. Null: never.',
      }),
      labels: t.field({ type: [Label], resolve: (sandbox) => sandbox.labels }),
      placement: t.field({ type: Placement, nullable: true, resolve: (sandbox) => sandbox.placement }),
      createdAt: t.expose('createdAt', { type: 'DateTime' }),
      startedAt: t.expose('startedAt', { type: 'DateTime', nullable: true }),
      lastActiveAt: t.expose('lastActiveAt', { type: 'DateTime', nullable: true }),
      revision: t.exposeInt('revision', {
        description: 'Grows by one with every change; order what you hear of one sandbox by it.',
      }),
    }),
  });
  builder.asEntity(Sandbox, {
    key: builder.selection<{ id: string }>('id'),
    resolveReference: async ({ id }, { viewer, loaders }) => {
      const sandboxId = fromGlobalId('Sandbox', id);
      return (viewer && sandboxId ? await loaders.sandbox.load(sandboxId) : null) as SandboxRow;
    },
  });

  const SandboxEdge = builder.edgeObject({ type: Sandbox, name: 'SandboxEdge' });
  const SandboxConnection = builder.connectionObject(
    {
      type: Sandbox,
      name: 'SandboxConnection',
      fields: (t) => ({
        totalCount: t.int({
          resolve: (connection, _args, { viewer, services }) =>
            services.sandboxes.count(viewer, listingOf<SandboxFilter>(connection).filter),
        }),
        eventCursor: t.string({
          description: 'Subscribe with `after` set to this and nothing that happens after this list is missed.',
          resolve: (connection) => listingOf(connection).eventCursor,
        }),
      }),
    },
    SandboxEdge,
  );

  /** A field with the sandboxes of its parent. */
  const sandboxConnection = (
    t: ObjectFieldBuilder<FleetBuilder['$inferSchemaTypes'], HostRow>,
    filterOf: (parent: HostRow) => SandboxFilter,
  ) =>
    t.field({
      type: SandboxConnection,
      args: t.arg.connectionArgs(),
      resolve: async (parent, page, { viewer, services }) => {
        const filter = filterOf(parent);
        return listConnection(services.hub, page, filter, (wanted) => services.sandboxes.list(viewer, filter, wanted));
      },
    });

  builder.queryFields((t) => ({
    sandbox: t.field({
      type: Sandbox,
      nullable: true,
      description: 'Null when there is no such sandbox that the viewer may see.',
      args: { id: t.arg.id({ required: true }) },
      resolve: (_root, { id }, { viewer, services }) =>
        services.sandboxes.find(viewer, fromGlobalId('Sandbox', id) ?? NO_SUCH_ROW),
    }),
    sandboxes: t.field({
      type: SandboxConnection,
      description: 'The sandboxes that the viewer may see, newest first.',
      args: {
        ...t.arg.connectionArgs(),
        hostId: t.arg.id(),
        teamId: t.arg.id(),
        status: t.arg({ type: SandboxStatus }),
      },
      resolve: async (_root, { hostId, teamId, status, ...page }, { viewer, services }) => {
        const filter: SandboxFilter = {
          hostId: idArgument('Host', hostId),
          teamId: idArgument('Team', teamId),
          status: status ?? undefined,
        };
        return listConnection(services.hub, page, filter, (wanted) => services.sandboxes.list(viewer, filter, wanted));
      },
    }),
  }));

  builder.objectType(NoHostFits, {
    name: 'NoHostFits',
    description: 'No host takes the sandbox.',
    interfaces: [UserError],
    fields: (t) => ({
      candidates: t.exposeInt('candidates', { description: 'Hosts that were looked at.' }),
      rejections: t.expose('rejections', { type: [PlacementRejection] }),
      never: t.exposeBoolean('never', {
        description: 'True: no host could hold it even when empty. False: none can right now.',
      }),
    }),
  });
  builder.objectType(SandboxNotRunning, {
    name: 'SandboxNotRunning',
    interfaces: [UserError],
    fields: (t) => ({ status: t.expose('status', { type: SandboxStatus }) }),
  });
  builder.objectType(HostUnavailable, {
    name: 'HostUnavailable',
    description: 'The sandbox’s host cannot be reached at the moment; the sandbox itself may be fine.',
    interfaces: [UserError],
  });

  const SandboxCreated = builder.objectRef<SandboxWithCursor>('SandboxCreated').implement({
    fields: (t) => ({
      sandbox: t.expose('sandbox', {
        type: Sandbox,
        description: 'PENDING: its place is reserved; RUNNING follows as an event.',
      }),
      cursor: t.exposeString('cursor', { description: 'Of the event log, not later than this change.' }),
    }),
  });
  const SandboxDestroyed = builder.objectRef<SandboxWithCursor>('SandboxDestroyed').implement({
    fields: (t) => ({
      sandbox: t.expose('sandbox', {
        type: Sandbox,
        description: 'STOPPING until its host has confirmed; then it is deleted.',
      }),
      cursor: t.exposeString('cursor', { description: 'Of the event log, not later than this change.' }),
    }),
  });
  const CreateSandboxInput = builder.inputType('CreateSandboxInput', {
    fields: (t) => ({
      teamId: t.id({ required: true }),
      name: t.string({ description: 'For people; made up when it is not given.' }),
      template: t.string({ defaultValue: 'host', description: '`host` shows the machine’s own /usr, read-only.' }),
      vcpus: t.float({ defaultValue: 1 }),
      memoryMb: t.int({ defaultValue: 512 }),
      diskMb: t.int({ defaultValue: 1_024, description: 'Of what the sandbox may write.' }),
      labels: t.field({ type: [LabelInput] }),
      timeoutSeconds: t.int({
        description:
          'Pause it after so long without a command; the next command resumes it. Never when it is not given.',
      }),
      hostId: t.id({ description: 'Only this host.' }),
      hostArch: t.string({ description: 'Only hosts of this architecture, as the machine calls it: x86_64.' }),
      hostLabels: t.field({ type: [LabelInput], description: 'Only hosts that carry all of these.' }),
      idempotencyKey: t.string({ description: 'The same request with the same key answers with the same sandbox.' }),
    }),
  });
  const DestroySandboxInput = builder.inputType('DestroySandboxInput', {
    fields: (t) => ({ sandboxId: t.id({ required: true }) }),
  });
  builder.mutationFields((t) => ({
    createSandbox: t.field({
      type: SandboxCreated,
      description: 'Places a sandbox and starts it. Answers as soon as its place is reserved.',
      errors: {
        types: [InvalidInput, NotFound, NotPermitted, NoHostFits, IdempotencyKeyReused],
        union: { name: 'CreateSandboxResult' },
      },
      args: { input: t.arg({ type: CreateSandboxInput, required: true }) },
      resolve: (_root, { input }, { viewer, services }) =>
        services.sandboxes.create(viewer, {
          ...input,
          teamId: idArgument('Team', input.teamId),
          hostId: idArgument('Host', input.hostId),
        }),
    }),
    destroySandbox: t.field({
      type: SandboxDestroyed,
      description: 'Legal from every state; while the host is away the wish is kept.',
      errors: { types: [NotFound, NotPermitted], union: { name: 'DestroySandboxResult' } },
      args: { input: t.arg({ type: DestroySandboxInput, required: true }) },
      resolve: (_root, { input }, { viewer, services }) =>
        services.sandboxes.destroy(viewer, fromGlobalId('Sandbox', input.sandboxId) ?? NO_SUCH_ROW),
    }),
  }));

  const SandboxChange = builder.objectRef<StreamItem<SandboxRow>>('SandboxChange').implement({
    description: 'One thing that happened to one sandbox, or a word about the stream itself.',
    fields: (t) => ({
      kind: t.expose('kind', { type: ChangeKind }),
      cursor: t.exposeString('cursor', { description: 'Subscribe with `after` set to this to go on from here.' }),
      sandboxId: t.id({ nullable: true, resolve: ({ id }) => (id === null ? null : toGlobalId('Sandbox', id)) }),
      sandbox: t.field({
        type: Sandbox,
        nullable: true,
        description: 'As it was after the change; also when that was its end.',
        resolve: ({ row }) => row,
      }),
    }),
  });
  builder.subscriptionFields((t) => ({
    sandboxChanged: t.field({
      type: SandboxChange,
      description: 'Without `after`: from now on. With it: everything since, or a RESET when that is past retention.',
      args: { after: t.arg.string(), sandboxId: t.arg.id(), hostId: t.arg.id(), teamId: t.arg.id() },
      subscribe: (_root, { after, sandboxId, hostId, teamId }, context) =>
        sandboxChanges(context, {
          after: after ?? undefined,
          sandboxId: idArgument('Sandbox', sandboxId),
          hostId: idArgument('Host', hostId),
          teamId: idArgument('Team', teamId),
        }),
      resolve: (item) => item,
    }),
  }));

  addExec(builder);
  return { Sandbox, SandboxStatus, SandboxConnection, sandboxConnection };
}

export type SandboxTypes = ReturnType<typeof addSandboxes>;
