import { idArgument, listConnection } from '../../kernel/connection.ts';
import { AUDIT_ACTOR_KINDS, AUDIT_OUTCOMES } from '../../kernel/audit/audit.ts';
import { ChangeStream, withDates, type StreamItem } from '../../kernel/events/change-stream.ts';
import { anyRowId, toGlobalId, type GlobalIdType } from '../../kernel/global-id.ts';
import type { AccountsBuilder, AccountsContext } from '../builder.ts';
import type { AuditEventRow } from '../tables.ts';
import type { addMembers } from '../teams/member.schema.ts';
import type { TeamTypes } from '../teams/team.schema.ts';
import { matches, type AuditFilter } from './audit.service.ts';

/** What an actor's id is an id of. */
const ACTOR_TYPES: Readonly<Record<string, GlobalIdType>> = { USER: 'User', API_KEY: 'ApiKey', HOST: 'Host' };

/** What a resource's id is an id of, by the noun of its actions. */
const RESOURCE_TYPES: Readonly<Record<string, GlobalIdType>> = {
  'api-key': 'ApiKey',
  host: 'Host',
  invitation: 'Invitation',
  sandbox: 'Sandbox',
  session: 'Session',
  team: 'Team',
  user: 'User',
};

const named = (type: GlobalIdType | undefined, id: string | null): string | null =>
  type && id ? toGlobalId(type, id) : null;

const asText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** Events that a RESET of `auditEventAdded` is followed by; older ones are in `auditEvents`. */
const SNAPSHOT_EVENTS = 500;

/** The audit trail, as a query and live. */
export function addAudit(
  builder: AccountsBuilder,
  { Team }: TeamTypes,
  { ChangeKind }: ReturnType<typeof addMembers>,
): void {
  const AuditActorKind = builder.enumType('AuditActorKind', {
    description: 'CONTROL is the control plane itself, or its operator at the command line.',
    values: AUDIT_ACTOR_KINDS,
  });
  const AuditOutcome = builder.enumType('AuditOutcome', {
    description: 'REFUSED: answered with an expected failure. FAILED: something went wrong on our side.',
    values: AUDIT_OUTCOMES,
  });

  const AuditEvent = builder.objectRef<AuditEventRow>('AuditEvent').implement({
    description: 'Who did what to which thing, from where, and how it ended.',
    fields: (t) => ({
      id: t.id({ resolve: ({ id }) => toGlobalId('AuditEvent', id) }),
      at: t.expose('at', { type: 'DateTime' }),
      actorKind: t.expose('actorKind', { type: AuditActorKind }),
      actorId: t.id({
        nullable: true,
        resolve: ({ actorKind, actorId }) => named(ACTOR_TYPES[actorKind], actorId),
      }),
      actorLabel: t.exposeString('actorLabel', {
        nullable: true,
        description: 'An e-mail address, the beginning of a key, a host’s name.',
      }),
      action: t.exposeString('action', { description: 'A mutation’s name, or a security event: `token.refused`.' }),
      resourceType: t.exposeString('resourceType', { nullable: true }),
      resourceId: t.id({
        nullable: true,
        resolve: ({ resourceType, resourceId }) => named(RESOURCE_TYPES[resourceType ?? ''], resourceId),
      }),
      team: t.field({
        type: Team,
        nullable: true,
        resolve: ({ teamId }, _args, { loaders }) => (teamId ? loaders.team.load(teamId) : null),
      }),
      outcome: t.expose('outcome', {
        type: AuditOutcome,
        nullable: true,
        description: 'Null while it is under way, and for ever when control ended in the middle of it.',
      }),
      code: t.exposeString('code', { nullable: true, description: 'Of the refusal or failure.' }),
      detail: t.stringList({
        description: 'Harmless parts of the input, as `name=value`.',
        resolve: ({ detail }) =>
          Object.entries(detail as Record<string, unknown>).map(([key, value]) => `${key}=${asText(value)}`),
      }),
      address: t.exposeString('address', { nullable: true }),
      userAgent: t.exposeString('userAgent', { nullable: true }),
    }),
  });

  const AuditFilterInput = builder.inputType('AuditFilter', {
    fields: (t) => ({
      teamId: t.id(),
      actorKind: t.field({ type: AuditActorKind }),
      actorId: t.id({ description: 'Of a user, an API key or a host.' }),
      action: t.string(),
      outcome: t.field({ type: AuditOutcome }),
      resourceId: t.id(),
      since: t.field({ type: 'DateTime' }),
      until: t.field({ type: 'DateTime', description: 'Exclusive.' }),
    }),
  });

  builder.queryFields((t) => ({
    auditEvents: t.connection(
      {
        type: AuditEvent,
        description:
          'Newest first: everything for platform admins; the team’s for its owners and admins; one’s own sign-ins for everyone.',
        args: { filter: t.arg({ type: AuditFilterInput }) },
        resolve: (_root, { filter, ...args }, { viewer, services }) => {
          const wanted = toFilter(filter);
          return listConnection(services.hub, args, wanted, (page) => services.audit.list(viewer, wanted, page));
        },
      },
      {
        name: 'AuditEventConnection',
        fields: (t) => ({
          eventCursor: t.string({
            description: 'Give it to `auditEventAdded(after:)` to hear of everything that comes after this list.',
            resolve: (connection) => (connection as unknown as { eventCursor: string }).eventCursor,
          }),
        }),
      },
      { name: 'AuditEventEdge' },
    ),
  }));

  const AuditChange = builder.objectRef<StreamItem<AuditEventRow>>('AuditChange').implement({
    description: 'An audit event that is complete, or a word about the stream itself.',
    fields: (t) => ({
      kind: t.expose('kind', { type: ChangeKind }),
      cursor: t.exposeString('cursor', { description: 'Subscribe with `after` set to this to go on from here.' }),
      auditEvent: t.field({ type: AuditEvent, nullable: true, resolve: ({ row }) => row }),
    }),
  });
  builder.subscriptionFields((t) => ({
    auditEventAdded: t.field({
      type: AuditChange,
      description: `Each event once, when its outcome is known. A RESET is followed by the newest ${SNAPSHOT_EVENTS}.`,
      args: { after: t.arg.string(), filter: t.arg({ type: AuditFilterInput }) },
      subscribe: (_root, { after, filter }, context) => auditStream(context, after ?? undefined, toFilter(filter)),
      resolve: (item) => item,
    }),
  }));
}

function auditStream(
  { viewer, services }: AccountsContext,
  after: string | undefined,
  filter: AuditFilter,
): ChangeStream<AuditEventRow> {
  const reach = services.audit.reach(viewer);
  const revive = (state: Record<string, unknown>): AuditEventRow =>
    withDates<AuditEventRow>(state, ['at', 'completedAt']);
  return new ChangeStream({
    hub: services.hub,
    after,
    revive,
    wants: (event) => event.subject === 'AUDIT' && matches(reach, filter, revive(event.state)),
    snapshot: () => services.audit.list(viewer, filter, { limit: SNAPSHOT_EVENTS, inverted: false }),
  });
}

interface GivenFilter {
  readonly teamId?: string | number | null | undefined;
  readonly actorKind?: AuditFilter['actorKind'] | null;
  readonly actorId?: string | number | null | undefined;
  readonly action?: string | null | undefined;
  readonly outcome?: AuditFilter['outcome'] | null;
  readonly resourceId?: string | number | null | undefined;
  readonly since?: Date | null | undefined;
  readonly until?: Date | null | undefined;
}

function toFilter(given: GivenFilter | null | undefined): AuditFilter {
  return {
    teamId: idArgument('Team', given?.teamId),
    actorKind: given?.actorKind ?? undefined,
    actorId: anyRowId(given?.actorId),
    action: given?.action ?? undefined,
    outcome: given?.outcome ?? undefined,
    resourceId: anyRowId(given?.resourceId),
    since: given?.since ?? undefined,
    until: given?.until ?? undefined,
  };
}
