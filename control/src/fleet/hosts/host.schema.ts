import { fromGlobalId, NO_SUCH_ROW, toGlobalId } from '../../kernel/global-id.ts';
import {
  IdempotencyKeyReused,
  InvalidInput,
  NameTaken,
  NotFound,
  NotPermitted,
  UserError,
} from '../../kernel/user-errors.ts';
import type { FleetBuilder } from '../builder.ts';
import type { StreamItem } from '../../kernel/events/change-stream.ts';
import type { SandboxTypes } from '../sandboxes/sandbox.schema.ts';
import { listConnection, listingOf, idArgument } from '../../kernel/connection.ts';
import type { SharedTypes } from '../shared.schema.ts';
import type { HostLeaseRow, HostRow, SandboxRow } from '../tables.ts';
import { HostHasSandboxes, type DeletedHost } from './host-deletion.service.ts';
import { hostChanges } from './host.stream.ts';
import { TeamNotByoc, type CreatedHost, type HostFilter } from './host.service.ts';
import {
  HOST_CONDITION_TYPES,
  HOST_KINDS,
  HOST_STATUSES,
  hostConditions,
  isSchedulable,
  type HostCondition,
} from './host.state.ts';

/** `Host` and its queries, mutations and subscription. */
export function addHosts(
  builder: FleetBuilder,
  { Host, Team, Label, LabelInput, ChangeKind, joinWarnings }: SharedTypes,
  { Sandbox, sandboxConnection }: SandboxTypes,
) {
  const HostKind = builder.enumType('HostKind', {
    description: 'PLATFORM: run by the platform, for every team. BYOC: brought by a team, for itself.',
    values: HOST_KINDS,
  });
  const HostStatus = builder.enumType('HostStatus', {
    description: 'PENDING: no machine has joined yet. UNREACHABLE: silent for too long; reversible.',
    values: HOST_STATUSES,
  });
  const HostConditionType = builder.enumType('HostConditionType', { values: HOST_CONDITION_TYPES });

  const Condition = builder.objectRef<HostCondition>('HostCondition').implement({
    description: 'Something that is wrong with a host or keeps it out of placement.',
    fields: (t) => ({
      type: t.expose('type', { type: HostConditionType }),
      message: t.exposeString('message'),
      blocksPlacement: t.exposeBoolean('blocksPlacement', {
        description: 'Whether new sandboxes stay away because of it.',
      }),
    }),
  });
  const Runtime = builder.objectRef<{ name: string; version: string }>('HostRuntime').implement({
    description: 'The OCI runtime that the host runs sandboxes with.',
    fields: (t) => ({ name: t.exposeString('name'), version: t.exposeString('version') }),
  });
  const Allocation = builder.objectRef<HostRow>('HostAllocation').implement({
    description: 'What live sandboxes have reserved.',
    fields: (t) => ({
      sandboxes: t.exposeInt('allocatedSandboxes'),
      vcpus: t.float({ resolve: (host) => host.allocatedMilliVcpus / 1_000 }),
      memoryMb: t.exposeInt('allocatedMemoryMb'),
      diskMb: t.exposeInt('allocatedDiskMb'),
    }),
  });
  const Usage = builder.objectRef<HostLeaseRow>('HostUsage').implement({
    description: 'What the machine used at its last heartbeat.',
    fields: (t) => ({
      load1: t.exposeFloat('load1', { description: 'One-minute load average.' }),
      memoryUsedMb: t.exposeInt('memoryUsedMb'),
      diskUsedMb: t.exposeInt('diskUsedMb'),
    }),
  });
  const CreatesFailing = builder.objectRef<HostRow>('HostCreatesFailing').implement({
    description:
      'The host has failed to start sandboxes, one after the other, and gets none until a canary has started on it.',
    fields: (t) => ({
      since: t.field({ type: 'DateTime', resolve: (host) => host.createsFailingSince as Date }),
      failures: t.exposeInt('createFailures', { description: 'In a row, canaries included.' }),
      lastError: t.exposeString('lastCreateError', { nullable: true }),
    }),
  });
  const DeletionPreview = builder
    .objectRef<{ affectedSandboxes: SandboxRow[]; previewDigest: string }>('HostDeletionPreview')
    .implement({
      description: 'What deleting the host would destroy now.',
      fields: (t) => ({
        affectedSandboxes: t.expose('affectedSandboxes', { type: [Sandbox] }),
        previewDigest: t.exposeString('previewDigest', {
          description: 'Give it to `deleteHost` together with `force`.',
        }),
      }),
    });

  builder.node(Host, {
    description: 'A machine that runs sandboxes.',
    id: { resolve: (host) => host.id },
    fields: (t) => ({
      name: t.exposeString('name'),
      kind: t.expose('kind', { type: HostKind }),
      status: t.expose('status', { type: HostStatus }),
      schedulable: t.boolean({
        description: 'Whether new sandboxes may be placed here, capacity aside.',
        resolve: isSchedulable,
      }),
      conditions: t.field({ type: [Condition], resolve: hostConditions }),
      createsFailing: t.field({
        type: CreatesFailing,
        nullable: true,
        description: 'The evidence behind the condition CREATES_FAILING.',
        resolve: (host) => (host.createsFailingSince ? host : null),
      }),
      team: t.field({
        type: Team,
        nullable: true,
        description: 'Null for platform hosts.',
        resolve: (host) => (host.teamId ? { id: toGlobalId('Team', host.teamId) } : null),
      }),
      provider: t.exposeString('provider', { nullable: true }),
      availabilityZone: t.exposeString('availabilityZone', { nullable: true }),
      labels: t.field({ type: [Label], resolve: (host) => host.labels }),
      arch: t.exposeString('arch', { nullable: true }),
      cpuCores: t.exposeInt('cpuCores', { nullable: true }),
      memoryMb: t.exposeInt('memoryMb', { nullable: true }),
      diskGb: t.exposeInt('diskGb', { nullable: true }),
      allocated: t.field({ type: Allocation, resolve: (host) => host }),
      used: t.field({
        type: Usage,
        nullable: true,
        description: 'Null until the first heartbeat.',
        resolve: (host, _args, { loaders }) => (host.status === 'PENDING' ? null : loaders.lease.load(host.id)),
      }),
      agentVersion: t.exposeString('agentVersion', { nullable: true }),
      runtime: t.field({
        type: Runtime,
        nullable: true,
        resolve: (host) =>
          host.runtimeName === null ? null : { name: host.runtimeName, version: host.runtimeVersion ?? '' },
      }),
      lastHeartbeatAt: t.field({
        type: 'DateTime',
        nullable: true,
        resolve: async (host, _args, { loaders }) =>
          host.status === 'PENDING' ? null : ((await loaders.lease.load(host.id))?.seenAt ?? null),
      }),
      registeredAt: t.expose('registeredAt', { type: 'DateTime', nullable: true }),
      createdAt: t.expose('createdAt', { type: 'DateTime' }),
      revision: t.exposeInt('revision', {
        description: 'Grows by one with every change; order what you hear of one host by it.',
      }),
      deletionPreview: t.field({
        type: DeletionPreview,
        resolve: (host, _args, { services }) => services.deletion.preview(host.id),
      }),
      sandboxes: sandboxConnection(t, (host) => ({ hostId: host.id })),
    }),
  });
  builder.asEntity(Host, {
    key: builder.selection<{ id: string }>('id'),
    resolveReference: async ({ id }, { viewer, loaders }) => {
      const hostId = fromGlobalId('Host', id);
      return (viewer && hostId ? await loaders.host.load(hostId) : null) as HostRow;
    },
  });

  const HostEdge = builder.edgeObject({ type: Host, name: 'HostEdge' });
  const HostConnection = builder.connectionObject(
    {
      type: Host,
      name: 'HostConnection',
      fields: (t) => ({
        totalCount: t.int({
          resolve: (connection, _args, { viewer, services }) =>
            services.hosts.count(viewer, listingOf<HostFilter>(connection).filter),
        }),
        eventCursor: t.string({
          description: 'Subscribe with `after` set to this and nothing that happens after this list is missed.',
          resolve: (connection) => listingOf(connection).eventCursor,
        }),
      }),
    },
    HostEdge,
  );

  builder.queryFields((t) => ({
    host: t.field({
      type: Host,
      nullable: true,
      description: 'Null when there is no such host that the viewer may see.',
      args: { id: t.arg.id({ required: true }) },
      resolve: (_root, { id }, { viewer, services }) =>
        services.hosts.find(viewer, fromGlobalId('Host', id) ?? NO_SUCH_ROW),
    }),
    hosts: t.field({
      type: HostConnection,
      description: 'The hosts that the viewer may see, newest first.',
      args: {
        ...t.arg.connectionArgs(),
        kind: t.arg({ type: HostKind }),
        teamId: t.arg.id(),
        status: t.arg({ type: HostStatus }),
      },
      resolve: async (_root, { kind, teamId, status, ...page }, { viewer, services }) => {
        const filter: HostFilter = {
          kind: kind ?? undefined,
          teamId: idArgument('Team', teamId),
          status: status ?? undefined,
        };
        return listConnection(services.hub, page, filter, (wanted) => services.hosts.list(viewer, filter, wanted));
      },
    }),
  }));

  builder.objectType(TeamNotByoc, { name: 'TeamNotByoc', interfaces: [UserError] });
  builder.objectType(HostHasSandboxes, {
    name: 'HostHasSandboxes',
    description: 'Nothing was deleted: the host has sandboxes that the caller has not been shown.',
    interfaces: [UserError],
    fields: (t) => ({
      affectedSandboxes: t.expose('affectedSandboxes', { type: [Sandbox] }),
      previewDigest: t.exposeString('previewDigest', {
        description: 'Give it back together with `force` to destroy exactly these.',
      }),
    }),
  });

  const HostCreated = builder.objectRef<CreatedHost>('HostCreated').implement({
    fields: (t) => ({
      host: t.expose('host', { type: Host }),
      registrationToken: t.exposeString('registrationToken', {
        description: 'Shown only here. One machine can spend it, once.',
      }),
      registrationTokenExpiresAt: t.expose('registrationTokenExpiresAt', { type: 'DateTime' }),
      joinCommand: t.exposeString('joinCommand', { description: 'To be pasted on the machine, as root.' }),
      warnings: t.field(joinWarnings),
      cursor: t.exposeString('cursor', { description: 'Of the event log, not later than this change.' }),
    }),
  });
  const HostDeleted = builder.objectRef<DeletedHost>('HostDeleted').implement({
    fields: (t) => ({
      hostId: t.id({ resolve: ({ hostId }) => toGlobalId('Host', hostId) }),
      destroyedSandboxes: t.expose('destroyedSandboxes', { type: [Sandbox] }),
      cursor: t.exposeString('cursor', { description: 'Of the event log, not later than this change.' }),
    }),
  });

  const CreateHostInput = builder.inputType('CreateHostInput', {
    fields: (t) => ({
      name: t.string({ required: true }),
      kind: t.field({ type: HostKind, required: true }),
      teamId: t.id({ description: 'Required for BYOC, refused for PLATFORM.' }),
      labels: t.field({ type: [LabelInput] }),
      provider: t.string(),
      availabilityZone: t.string(),
      idempotencyKey: t.string({
        description:
          'The same request with the same key answers with the same host and a fresh token, until a machine has joined.',
      }),
    }),
  });
  const DeleteHostInput = builder.inputType('DeleteHostInput', {
    fields: (t) => ({
      hostId: t.id({ required: true }),
      force: t.boolean({
        defaultValue: false,
        description:
          'Destroy the sandboxes that the preview showed. Not needed again once the deletion has begun (condition DELETING).',
      }),
      previewDigest: t.string({ description: 'From the preview; required with `force` when there are sandboxes.' }),
    }),
  });

  builder.mutationFields((t) => ({
    createHost: t.field({
      type: HostCreated,
      errors: {
        types: [IdempotencyKeyReused, InvalidInput, NameTaken, NotFound, NotPermitted, TeamNotByoc],
        union: { name: 'CreateHostResult' },
      },
      args: { input: t.arg({ type: CreateHostInput, required: true }) },
      resolve: (_root, { input }, { viewer, services }) =>
        services.hosts.create(viewer, { ...input, teamId: idArgument('Team', input.teamId) }),
    }),
    deleteHost: t.field({
      type: HostDeleted,
      description:
        'Deletes a host. With live sandboxes on it, answers with what would be destroyed until that is confirmed.',
      errors: { types: [HostHasSandboxes, NotFound, NotPermitted], union: { name: 'DeleteHostResult' } },
      args: { input: t.arg({ type: DeleteHostInput, required: true }) },
      resolve: (_root, { input }, { viewer, services }) =>
        services.deletion.delete(
          viewer,
          fromGlobalId('Host', input.hostId) ?? NO_SUCH_ROW,
          input.force ?? false,
          input.previewDigest ?? null,
        ),
    }),
  }));

  const HostChange = builder.objectRef<StreamItem<HostRow>>('HostChange').implement({
    description: 'One thing that happened to one host, or a word about the stream itself.',
    fields: (t) => ({
      kind: t.expose('kind', { type: ChangeKind }),
      cursor: t.exposeString('cursor', { description: 'Subscribe with `after` set to this to go on from here.' }),
      hostId: t.id({ nullable: true, resolve: ({ id }) => (id === null ? null : toGlobalId('Host', id)) }),
      host: t.field({
        type: Host,
        nullable: true,
        description: 'As it was after the change; also when that was its deletion.',
        resolve: ({ row }) => row,
      }),
    }),
  });

  builder.subscriptionFields((t) => ({
    hostChanged: t.field({
      type: HostChange,
      description: 'Without `after`: from now on. With it: everything since, or a RESET when that is past retention.',
      args: { after: t.arg.string(), hostId: t.arg.id(), teamId: t.arg.id(), kind: t.arg({ type: HostKind }) },
      subscribe: (_root, { after, hostId, teamId, kind }, context) =>
        hostChanges(context, {
          after: after ?? undefined,
          hostId: idArgument('Host', hostId),
          teamId: idArgument('Team', teamId),
          kind: kind ?? undefined,
        }),
      resolve: (item) => item,
    }),
  }));

  return { HostConnection };
}

export type HostTypes = ReturnType<typeof addHosts>;
