import { PASSWORD } from '../harness.ts';
import type { Outcome } from './outcome.ts';
import { ACTORS, type ActorName, type World } from './world.ts';

type Expected = Readonly<Record<ActorName, Outcome>>;

/** One operation, tried by everyone. */
export interface PolicyRow {
  /** Its root field is called `r`. */
  readonly document: string;
  readonly variables?: (world: World) => Record<string, unknown>;
  readonly expected: Expected;
  /** Of a subscription: what is in the event that tells who hears. The team's id where it is not given. */
  readonly hears?: string;
}

/** The outcome for everyone who is not named. */
const everyone = (outcome: Outcome, others: Partial<Expected> = {}): Expected =>
  ({ ...Object.fromEntries(ACTORS.map((actor) => [actor, outcome])), ...others }) as Expected;

const NOBODY = { anonymous: 'UNAUTHENTICATED', hostToken: 'UNAUTHENTICATED' } as const;
const OTHERS = { ...NOBODY, stranger: 'NOT_FOUND', strangerKey: 'NOT_FOUND' } as const;
const ANY_KEY = (outcome: Outcome) => ({
  readKey: outcome,
  writeKey: outcome,
  hostsKey: outcome,
  sandboxesKey: outcome,
});

/** Seen by the team's people and its keys, whatever their scopes. */
const TEAM_READ = everyone('ALLOWED', OTHERS);
/** The same for a field that is null, not an error, for who is nobody. */
const orNull = (expected: Expected): Expected => ({ ...expected, anonymous: 'NOT_FOUND', hostToken: 'NOT_FOUND' });
const HOST_READ = everyone('ALLOWED', { ...OTHERS, sandboxesKey: 'NOT_FOUND' });
const SANDBOX_READ = everyone('ALLOWED', { ...OTHERS, hostsKey: 'NOT_FOUND' });
/** Lists say when a key has no scope for them; an empty one would say that there is nothing. */
const HOST_LIST = { ...HOST_READ, sandboxesKey: 'FORBIDDEN' } as const;
const SANDBOX_LIST = { ...SANDBOX_READ, hostsKey: 'FORBIDDEN' } as const;
/** By owners, admins and keys with the scope. */
const HOST_MANAGE = everyone('ALLOWED', {
  ...OTHERS,
  member: 'NOT_PERMITTED',
  readKey: 'NOT_PERMITTED',
  sandboxesKey: 'NOT_FOUND',
});
const SANDBOX_USE = everyone('ALLOWED', { ...OTHERS, readKey: 'NOT_PERMITTED', hostsKey: 'NOT_FOUND' });
/** By owners and admins in person. */
const MANAGERS = everyone('ALLOWED', { ...OTHERS, member: 'NOT_PERMITTED', ...ANY_KEY('NOT_PERMITTED') });
const OWNERS = { ...MANAGERS, admin: 'NOT_PERMITTED' } as const;
const PLATFORM_ADMINS = everyone('FORBIDDEN', { ...NOBODY, platformAdmin: 'ALLOWED' });
/** By any person, for themselves. */
const PEOPLE = everyone('ALLOWED', { ...NOBODY, strangerKey: 'FORBIDDEN', ...ANY_KEY('FORBIDDEN') });

const MUTATION_RESULT = '{ __typename ... on UserError { message } }';

/**
 * Who may do what with the public API: every query, mutation and subscription, by name. The test
 * fails for an operation that has no row here.
 */
export const OPERATIONS: Readonly<Record<string, PolicyRow>> = {
  'Query.viewer': {
    document: 'query { r: viewer { isAdmin } }',
    expected: everyone('ALLOWED', { anonymous: 'NOT_FOUND', hostToken: 'NOT_FOUND' }),
  },
  'Query.team': {
    document: 'query ($team: ID!) { r: team(id: $team) { name } }',
    expected: orNull(TEAM_READ),
  },
  'Query.teams': {
    // Everyone has some team; what is asked is whether this one is among them.
    document: 'query { r: teams(search: "Mine") { totalCount edges { node { name } } } }',
    expected: TEAM_READ,
  },
  'Query.users': { document: 'query { r: users { edges { cursor } } }', expected: PLATFORM_ADMINS },
  'Query.invitation': {
    document: 'query ($invitationToken: String!) { r: invitation(token: $invitationToken) { teamName } }',
    // Its token is all it takes.
    expected: everyone('ALLOWED'),
  },
  'Query.signInMethods': {
    document: 'query { r: signInMethods { password oidc { name } } }',
    expected: everyone('ALLOWED'),
  },
  'Query.auditEvents': {
    document: 'query ($team: ID!) { r: auditEvents(filter: { teamId: $team }) { edges { node { action } } } }',
    expected: everyone('ALLOWED', {
      ...OTHERS,
      strangerKey: 'FORBIDDEN',
      member: 'NOT_FOUND',
      ...ANY_KEY('FORBIDDEN'),
    }),
  },
  'Query.host': {
    document: 'query ($host: ID!) { r: host(id: $host) { name } }',
    expected: HOST_READ,
  },
  'Query.hosts': {
    document: 'query ($team: ID!) { r: hosts(teamId: $team) { totalCount edges { node { name } } } }',
    expected: HOST_LIST,
  },
  'Query.sandbox': {
    document: 'query ($sandbox: ID!) { r: sandbox(id: $sandbox) { name } }',
    expected: SANDBOX_READ,
  },
  'Query.sandboxes': {
    document: 'query ($team: ID!) { r: sandboxes(teamId: $team) { totalCount edges { node { name } } } }',
    expected: SANDBOX_LIST,
  },
  'Query.node': { document: 'query ($host: ID!) { r: node(id: $host) { id } }', expected: orNull(HOST_READ) },
  'Query.nodes': {
    document: 'query ($sandbox: ID!) { r: nodes(ids: [$sandbox]) { id } }',
    expected: orNull(SANDBOX_READ),
  },

  'Mutation.signIn': {
    document: `mutation ($email: String!, $password: String!) { r: signIn(input: { email: $email, password: $password }) ${MUTATION_RESULT} }`,
    variables: ({ memberEmail }) => ({ email: memberEmail, password: PASSWORD }),
    expected: everyone('ALLOWED'),
  },
  'Mutation.refreshSession': {
    document: `mutation ($refreshToken: String!) { r: refreshSession(input: { refreshToken: $refreshToken }) ${MUTATION_RESULT} }`,
    expected: everyone('ALLOWED'),
  },
  // For everyone alike; there is no provider in this world.
  'Mutation.startOidcSignIn': {
    document: `mutation { r: startOidcSignIn(input: { redirectUri: "https://rookery.example" }) ${MUTATION_RESULT} }`,
    expected: everyone('ALLOWED'),
  },
  'Mutation.completeOidcSignIn': {
    document: `mutation { r: completeOidcSignIn(input: { flow: "x", callbackUrl: "https://rookery.example" }) ${MUTATION_RESULT} }`,
    expected: everyone('ALLOWED'),
  },
  'Mutation.signOut': { document: 'mutation { r: signOut }', expected: PEOPLE },
  'Mutation.signOutEverywhere': { document: 'mutation { r: signOutEverywhere }', expected: PEOPLE },
  'Mutation.endSession': {
    document: `mutation ($session: ID!) { r: endSession(input: { sessionId: $session }) ${MUTATION_RESULT} }`,
    // It is the member's own; nobody else's business, platform admins included.
    expected: everyone('NOT_FOUND', {
      ...NOBODY,
      strangerKey: 'FORBIDDEN',
      ...ANY_KEY('FORBIDDEN'),
      member: 'ALLOWED',
    }),
  },
  'Mutation.changePassword': {
    document: `mutation ($password: String!) { r: changePassword(input: { currentPassword: $password, newPassword: "another horse" }) ${MUTATION_RESULT} }`,
    variables: () => ({ password: PASSWORD }),
    expected: PEOPLE,
  },
  'Mutation.setPlatformAdmin': {
    document: `mutation ($member: ID!) { r: setPlatformAdmin(input: { userId: $member, isAdmin: true }) ${MUTATION_RESULT} }`,
    expected: PLATFORM_ADMINS,
  },
  'Mutation.createTeam': {
    document: `mutation { r: createTeam(input: { name: "New" }) ${MUTATION_RESULT} }`,
    expected: PEOPLE,
  },
  'Mutation.renameTeam': {
    document: `mutation ($team: ID!) { r: renameTeam(input: { teamId: $team, name: "Ours" }) ${MUTATION_RESULT} }`,
    expected: MANAGERS,
  },
  'Mutation.setTeamByoc': {
    document: `mutation ($team: ID!) { r: setTeamByoc(input: { teamId: $team, isByoc: false }) ${MUTATION_RESULT} }`,
    expected: { ...OWNERS, owner: 'NOT_PERMITTED' },
  },
  'Mutation.addTeamMember': {
    document: `mutation ($team: ID!) { r: addTeamMember(input: { teamId: $team, email: "new@example.com", role: MEMBER }) ${MUTATION_RESULT} }`,
    expected: MANAGERS,
  },
  'Mutation.addTeamMember an owner': {
    document: `mutation ($team: ID!) { r: addTeamMember(input: { teamId: $team, email: "new@example.com", role: OWNER }) ${MUTATION_RESULT} }`,
    expected: OWNERS,
  },
  'Mutation.acceptInvitation': {
    document: `mutation ($invitationToken: String!) { r: acceptInvitation(input: { token: $invitationToken, name: "New", password: "another horse" }) ${MUTATION_RESULT} }`,
    // Everyone who is signed in is somebody else and told so; the token is what counts.
    expected: everyone('ALLOWED'),
  },
  'Mutation.acceptInvitation by its id': {
    document: `mutation ($invitation: ID!) { r: acceptInvitation(input: { invitationId: $invitation }) ${MUTATION_RESULT} }`,
    expected: everyone('NOT_FOUND', NOBODY),
  },
  'Mutation.cancelInvitation': {
    document: `mutation ($invitation: ID!) { r: cancelInvitation(input: { invitationId: $invitation }) ${MUTATION_RESULT} }`,
    expected: everyone('ALLOWED', { ...OTHERS, member: 'NOT_FOUND', ...ANY_KEY('NOT_FOUND') }),
  },
  'Mutation.updateTeamMemberRole': {
    document: `mutation ($team: ID!, $member: ID!) { r: updateTeamMemberRole(input: { teamId: $team, userId: $member, role: ADMIN }) ${MUTATION_RESULT} }`,
    expected: MANAGERS,
  },
  'Mutation.updateTeamMemberRole to owner': {
    document: `mutation ($team: ID!, $member: ID!) { r: updateTeamMemberRole(input: { teamId: $team, userId: $member, role: OWNER }) ${MUTATION_RESULT} }`,
    expected: OWNERS,
  },
  'Mutation.updateTeamMemberRole of an owner': {
    document: `mutation ($team: ID!, $owner: ID!) { r: updateTeamMemberRole(input: { teamId: $team, userId: $owner, role: MEMBER }) ${MUTATION_RESULT} }`,
    expected: OWNERS,
  },
  'Mutation.removeTeamMember': {
    document: `mutation ($team: ID!, $member: ID!) { r: removeTeamMember(input: { teamId: $team, userId: $member }) ${MUTATION_RESULT} }`,
    expected: MANAGERS,
  },
  'Mutation.removeTeamMember an owner': {
    document: `mutation ($team: ID!, $owner: ID!) { r: removeTeamMember(input: { teamId: $team, userId: $owner }) ${MUTATION_RESULT} }`,
    expected: OWNERS,
  },
  'Mutation.leaveTeam': {
    document: `mutation ($team: ID!) { r: leaveTeam(input: { teamId: $team }) ${MUTATION_RESULT} }`,
    expected: {
      ...PEOPLE,
      stranger: 'NOT_FOUND',
      // Is no member, so there is nothing to leave.
      platformAdmin: 'NOT_FOUND',
    },
  },
  'Mutation.createApiKey': {
    document: `mutation ($team: ID!) { r: createApiKey(input: { teamId: $team, name: "ci", scopes: [HOSTS_READ] }) ${MUTATION_RESULT} }`,
    expected: MANAGERS,
  },
  'Mutation.revokeApiKey': {
    document: `mutation ($apiKey: ID!) { r: revokeApiKey(input: { apiKeyId: $apiKey }) ${MUTATION_RESULT} }`,
    expected: everyone('ALLOWED', { ...OTHERS, member: 'NOT_FOUND', ...ANY_KEY('NOT_FOUND') }),
  },
  'Mutation.createHost': {
    document: `mutation ($team: ID!) { r: createHost(input: { name: "new-host", kind: BYOC, teamId: $team }) ${MUTATION_RESULT} }`,
    expected: { ...HOST_MANAGE, sandboxesKey: 'NOT_PERMITTED' },
  },
  'Mutation.createHost of the platform': {
    document: `mutation ($name: String!) { r: createHost(input: { name: $name, kind: PLATFORM }) ${MUTATION_RESULT} }`,
    variables: ({ ids }) => ({ name: `h-${ids.host.slice(-20).replace(/\W/g, '')}x` }),
    expected: everyone('NOT_FOUND', { ...NOBODY, platformAdmin: 'ALLOWED' }),
  },
  'Mutation.updateHost': {
    document: `mutation ($host: ID!) { r: updateHost(input: { hostId: $host, labels: [] }) ${MUTATION_RESULT} }`,
    expected: HOST_MANAGE,
  },
  'Mutation.cordonHost': {
    document: `mutation ($host: ID!) { r: cordonHost(input: { hostId: $host }) ${MUTATION_RESULT} }`,
    expected: HOST_MANAGE,
  },
  'Mutation.uncordonHost': {
    document: `mutation ($host: ID!) { r: uncordonHost(input: { hostId: $host }) ${MUTATION_RESULT} }`,
    expected: HOST_MANAGE,
  },
  'Mutation.drainHost': {
    document: `mutation ($host: ID!) { r: drainHost(input: { hostId: $host, policy: PAUSE }) ${MUTATION_RESULT} }`,
    expected: HOST_MANAGE,
  },
  'Mutation.pauseSandbox': {
    document: `mutation ($sandbox: ID!) { r: pauseSandbox(input: { sandboxId: $sandbox }) ${MUTATION_RESULT} }`,
    expected: SANDBOX_USE,
  },
  'Mutation.resumeSandbox': {
    document: `mutation ($sandbox: ID!) { r: resumeSandbox(input: { sandboxId: $sandbox }) ${MUTATION_RESULT} }`,
    expected: SANDBOX_USE,
  },
  'Mutation.regenerateHostToken': {
    document: `mutation ($host: ID!) { r: regenerateHostToken(input: { hostId: $host, replaceCredentials: true }) ${MUTATION_RESULT} }`,
    expected: HOST_MANAGE,
  },
  'Mutation.deleteHost': {
    document: `mutation ($host: ID!) { r: deleteHost(input: { hostId: $host }) ${MUTATION_RESULT} }`,
    expected: HOST_MANAGE,
  },
  'Mutation.deleteHost of the platform': {
    document: `mutation ($platformHost: ID!) { r: deleteHost(input: { hostId: $platformHost }) ${MUTATION_RESULT} }`,
    expected: everyone('NOT_FOUND', { ...NOBODY, platformAdmin: 'ALLOWED' }),
  },
  'Mutation.createSandbox': {
    document: `mutation ($team: ID!) { r: createSandbox(input: { teamId: $team }) ${MUTATION_RESULT} }`,
    expected: { ...SANDBOX_USE, hostsKey: 'NOT_PERMITTED' },
  },
  'Mutation.destroySandbox': {
    document: `mutation ($sandbox: ID!) { r: destroySandbox(input: { sandboxId: $sandbox }) ${MUTATION_RESULT} }`,
    expected: SANDBOX_USE,
  },
  'Mutation.execInSandbox': {
    document: `mutation ($sandbox: ID!) { r: execInSandbox(input: { sandboxId: $sandbox, command: ["id"] }) ${MUTATION_RESULT} }`,
    expected: SANDBOX_USE,
  },

  // Its evidence is null for all but platform admins; `monitor.integration.test.ts` has that.
  'Query.fleetHealth': {
    document: 'query { r: fleetHealth { state replicas { id } } }',
    expected: everyone('ALLOWED', NOBODY),
  },
  // Subscriptions: whether somebody hears of a change of the team's.
  'Subscription.teamChanged': {
    document: 'subscription ($after: String!) { r: teamChanged(after: $after) { teamId } }',
    expected: TEAM_READ,
  },
  'Subscription.hostChanged': {
    document: 'subscription ($after: String!) { r: hostChanged(after: $after) { host { team { id } } } }',
    expected: HOST_LIST,
  },
  'Subscription.sandboxChanged': {
    document: 'subscription ($after: String!) { r: sandboxChanged(after: $after) { sandbox { team { id } } } }',
    expected: SANDBOX_LIST,
  },
  // Not a change stream: whether somebody may run a command. Its sandbox runs nothing, which only those are told.
  'Subscription.sandboxExec': {
    document: `subscription ($sandbox: ID!) { r: sandboxExec(input: { sandboxId: $sandbox, command: ["id"] }) { __typename } }`,
    expected: SANDBOX_USE,
  },
  'Subscription.auditEventAdded': {
    document: 'subscription ($after: String!) { r: auditEventAdded(after: $after) { auditEvent { team { id } } } }',
    expected: everyone('ALLOWED', {
      ...OTHERS,
      strangerKey: 'FORBIDDEN',
      member: 'NOT_FOUND',
      ...ANY_KEY('FORBIDDEN'),
    }),
  },
  'Subscription.fleetHealthChanged': {
    document: 'subscription ($after: String!) { r: fleetHealthChanged(after: $after) { fleetHealth { state } } }',
    hears: '"fleetHealth":{',
    expected: everyone('ALLOWED', NOBODY),
  },
};

/**
 * What the entity resolvers, which only gateways call, give to whom: by subgraph and type, and by
 * field where a subgraph adds fields to another's type.
 */
export const ENTITIES: Readonly<Record<string, PolicyRow>> = {
  'accounts.Team': entity('Team', 'team', 'name', orNull(TEAM_READ)),
  'accounts.User': entity('User', 'member', 'email', orNull(TEAM_READ)),
  'accounts.ApiKey': entity(
    'ApiKey',
    'apiKey',
    'name',
    everyone('ALLOWED', {
      ...orNull(TEAM_READ),
      member: 'NOT_FOUND',
      ...ANY_KEY('NOT_FOUND'),
    }),
  ),
  'accounts.Host': {
    document:
      'query ($host: ID!, $team: ID!) { r: _entities(representations: [{ __typename: "Host", id: $host, team: { id: $team } }]) { ... on Host { teamName } } }',
    expected: orNull(TEAM_READ),
  },
  'fleet.Host': entity('Host', 'host', 'name', orNull(HOST_READ)),
  'fleet.Sandbox': entity('Sandbox', 'sandbox', 'name', orNull(SANDBOX_READ)),
  'fleet.Team': {
    document:
      'query ($team: ID!) { r: _entities(representations: [{ __typename: "Team", id: $team }]) { ... on Team { hosts { totalCount edges { node { name } } } } } }',
    expected: HOST_LIST,
  },
};

/** Parts of a thing that not everyone who sees the thing may see. */
export const FIELDS: Readonly<Record<string, PolicyRow & { readonly subgraph: string }>> = {
  'Team.members': teamField('members { role }', TEAM_READ),
  'Team.invitations': teamField(
    'invitations { email }',
    everyone('ALLOWED', { ...OTHERS, member: 'NOT_FOUND', ...ANY_KEY('NOT_FOUND') }),
  ),
  'Team.apiKeys': teamField(
    'apiKeys { prefix }',
    everyone('ALLOWED', { ...OTHERS, member: 'NOT_FOUND', ...ANY_KEY('NOT_FOUND') }),
  ),
  'Host.sandboxes': {
    subgraph: 'fleet',
    document: 'query ($host: ID!) { r: host(id: $host) { sandboxes { totalCount edges { node { name } } } } }',
    expected: { ...HOST_READ, hostsKey: 'FORBIDDEN' },
  },
  'Sandbox.host': {
    subgraph: 'fleet',
    document: 'query ($sandbox: ID!) { r: sandbox(id: $sandbox) { host { name } } }',
    expected: { ...SANDBOX_READ, sandboxesKey: 'NOT_FOUND' },
  },
};

function entity(type: string, id: keyof World['ids'], field: string, expected: Expected): PolicyRow {
  return {
    document: `query ($${id}: ID!) { r: _entities(representations: [{ __typename: "${type}", id: $${id} }]) { ... on ${type} { ${field} } } }`,
    expected,
  };
}

function teamField(field: string, expected: Expected) {
  return {
    subgraph: 'accounts',
    document: `query ($team: ID!) { r: team(id: $team) { ${field} } }`,
    expected: orNull(expected),
  };
}
