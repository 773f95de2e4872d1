import { fromGlobalId, NO_SUCH_ROW } from '../../kernel/global-id.ts';
import { IdempotencyKeyReused, InvalidInput, NameTaken, NotFound, NotPermitted } from '../../kernel/user-errors.ts';
import { API_KEY_SCOPES, type ApiKeyScope } from '../../kernel/viewer.ts';
import type { AccountsBuilder } from '../builder.ts';
import type { SessionTypes } from '../sessions/session.schema.ts';
import type { ApiKeyRow } from '../tables.ts';
import type { TeamTypes } from '../teams/team.schema.ts';
import type { addUsers } from '../users/user.schema.ts';
import type { CreatedApiKey } from './api-key.service.ts';

/** GraphQL names cannot hold a colon. */
const SCOPE_VALUES = Object.fromEntries(
  API_KEY_SCOPES.map((scope) => [scope.replace(':', '_').toUpperCase(), { value: scope }]),
) as Record<string, { value: ApiKeyScope }>;

/** API keys of teams. */
export function addApiKeys(
  builder: AccountsBuilder,
  User: ReturnType<typeof addUsers>,
  { Team }: TeamTypes,
  { Viewer }: SessionTypes,
): void {
  const ApiKeyScopeEnum = builder.enumType('ApiKeyScope', {
    description: 'What a key may do with its team’s hosts and sandboxes. To write is to read, too.',
    values: SCOPE_VALUES,
  });
  const ApiKey = builder.objectRef<ApiKeyRow>('ApiKey');
  builder.node(ApiKey, {
    description: 'A secret by which a program acts for a team.',
    id: { resolve: ({ id }) => id },
    fields: (t) => ({
      name: t.exposeString('name'),
      prefix: t.exposeString('prefix', { description: 'The beginning of the key, by which to know it.' }),
      scopes: t.field({ type: [ApiKeyScopeEnum], resolve: ({ scopes }) => scopes }),
      team: t.field({
        type: Team,
        nullable: true,
        resolve: ({ teamId }, _args, { loaders }) => loaders.team.load(teamId),
      }),
      createdAt: t.expose('createdAt', { type: 'DateTime' }),
      createdBy: t.field({
        type: User,
        nullable: true,
        description: 'Null when they are no longer of the team.',
        resolve: ({ createdBy }, _args, { loaders }) => loaders.user.load(createdBy),
      }),
      expiresAt: t.expose('expiresAt', { type: 'DateTime', nullable: true }),
      lastUsedAt: t.expose('lastUsedAt', { type: 'DateTime', nullable: true, description: 'To the minute.' }),
      lastUsedAddress: t.exposeString('lastUsedAddress', { nullable: true }),
      revokedAt: t.expose('revokedAt', { type: 'DateTime', nullable: true }),
    }),
  });
  builder.asEntity(ApiKey, {
    key: builder.selection<{ id: string }>('id'),
    resolveReference: async ({ id }, { loaders }) =>
      (await loaders.apiKey.load(fromGlobalId('ApiKey', id) ?? NO_SUCH_ROW)) as ApiKeyRow,
  });
  builder.objectField(Team, 'apiKeys', (t) =>
    t.field({
      type: [ApiKey],
      description: 'Those that have not been revoked; for owners and admins, empty for everyone else.',
      resolve: (team, _args, { viewer, services }) => (viewer ? services.apiKeys.ofTeam(viewer, team.id) : []),
    }),
  );
  builder.objectField(Viewer, 'apiKey', (t) =>
    t.field({
      type: ApiKey,
      nullable: true,
      description: 'The key that asks; null for a person.',
      resolve: (viewer, _args, { loaders }) => (viewer.kind === 'API_KEY' ? loaders.apiKey.load(viewer.id) : null),
    }),
  );

  const ApiKeyCreated = builder.objectRef<CreatedApiKey>('ApiKeyCreated').implement({
    fields: (t) => ({
      apiKey: t.expose('apiKey', { type: ApiKey }),
      secret: t.exposeString('secret', {
        description: 'The key itself, shown only now. Send it as `Authorization: Bearer …` or `X-API-Key: …`.',
      }),
    }),
  });
  const ApiKeyRevoked = builder.objectRef<{ apiKey: ApiKeyRow }>('ApiKeyRevoked').implement({
    fields: (t) => ({ apiKey: t.expose('apiKey', { type: ApiKey }) }),
  });
  const CreateApiKeyInput = builder.inputType('CreateApiKeyInput', {
    fields: (t) => ({
      teamId: t.id({ required: true }),
      name: t.string({ required: true }),
      scopes: t.field({ type: [ApiKeyScopeEnum], required: true }),
      expiresAt: t.field({ type: 'DateTime', description: 'Never, when not given.' }),
      idempotencyKey: t.string({
        description:
          'The same request with the same key, before the API key was used, answers with it and a fresh secret.',
      }),
    }),
  });
  const RevokeApiKeyInput = builder.inputType('RevokeApiKeyInput', {
    fields: (t) => ({ apiKeyId: t.id({ required: true }) }),
  });

  builder.mutationFields((t) => ({
    createApiKey: t.field({
      type: ApiKeyCreated,
      errors: {
        types: [InvalidInput, NotFound, NotPermitted, NameTaken, IdempotencyKeyReused],
        union: { name: 'CreateApiKeyResult' },
      },
      args: { input: t.arg({ type: CreateApiKeyInput, required: true }) },
      resolve: (_root, { input: { teamId, ...input } }, { viewer, services }) =>
        services.apiKeys.create(viewer, fromGlobalId('Team', teamId) ?? NO_SUCH_ROW, input),
    }),
    revokeApiKey: t.field({
      type: ApiKeyRevoked,
      description: 'Refuses the key from now on.',
      errors: { types: [NotFound, NotPermitted], union: { name: 'RevokeApiKeyResult' } },
      args: { input: t.arg({ type: RevokeApiKeyInput, required: true }) },
      resolve: async (_root, { input: { apiKeyId } }, { viewer, services }) => ({
        apiKey: await services.apiKeys.revoke(viewer, fromGlobalId('ApiKey', apiKeyId) ?? NO_SUCH_ROW),
      }),
    }),
  }));
}
