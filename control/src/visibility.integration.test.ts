import { parse, type FormattedExecutionResult } from 'graphql';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { newAdmin, newTeam, signIn, startTestControl } from '../test/harness.ts';
import { ScriptedAgent } from '../test/scripted-agent.ts';
import type { Control } from './app.ts';
import { toGlobalId } from './kernel/global-id.ts';

/** What one team has must be invisible to another, through every door there is. */

let control: Control;
let owner: string;
let stranger: string;
let admin: string;
let agent: ScriptedAgent;
const ids = { host: '', sandbox: '', team: '', platformHost: '' };

beforeAll(async () => {
  control = await startTestControl();
  const { team: mine } = await newTeam(control, { name: 'Mine', email: 'owner@example.com' });
  await newTeam(control, { name: 'Theirs', email: 'stranger@example.com' });
  [owner, stranger, admin] = [
    await signIn(control, 'owner@example.com'),
    await signIn(control, 'stranger@example.com'),
    await signIn(control, 'admin@rookery.local'),
  ];

  const { hosts, sandboxes } = control.fleet.services;
  const created = await hosts.create(newAdmin(), { name: 'secret-host', kind: 'BYOC', teamId: mine.id });
  agent = await ScriptedAgent.join(control.agentUrl, created.registrationToken);
  await vi.waitFor(async () => expect((await hosts.findForControl(agent.hostId))?.tunnelReplica).toBeTruthy());
  const { sandbox } = await sandboxes.create(newAdmin(), { teamId: mine.id, hostId: agent.hostId, name: 'secret-box' });
  ids.host = toGlobalId('Host', agent.hostId);
  ids.sandbox = toGlobalId('Sandbox', sandbox.id);
  ids.team = toGlobalId('Team', mine.id);
  ids.platformHost = toGlobalId('Host', (await hosts.createLocal('platform')).host.id);
});
afterAll(async () => {
  await agent[Symbol.asyncDispose]();
  await control[Symbol.asyncDispose]();
});

async function ask(
  token: string | undefined,
  query: string,
  variables: Record<string, unknown> = {},
  subgraph = 'fleet',
): Promise<FormattedExecutionResult> {
  return (await control.execute(
    subgraph,
    { document: parse(query), variables },
    { token },
  )) as FormattedExecutionResult;
}

const data = async (...args: Parameters<typeof ask>) => {
  const { data: found, errors } = await ask(...args);
  expect(errors).toBeUndefined();
  return found;
};

describe('another team', () => {
  test('sees neither host nor sandbox by id', async () => {
    expect(
      await data(stranger, 'query ($h: ID!, $s: ID!) { host(id: $h) { name } sandbox(id: $s) { name } }', {
        h: ids.host,
        s: ids.sandbox,
      }),
    ).toEqual({ host: null, sandbox: null });
    expect(
      await data(owner, 'query ($h: ID!, $s: ID!) { host(id: $h) { name } sandbox(id: $s) { name } }', {
        h: ids.host,
        s: ids.sandbox,
      }),
    ).toEqual({ host: { name: 'secret-host' }, sandbox: { name: 'secret-box' } });
  });

  test.each(['', '(teamId: $t)', '(hostId: $h)'])('sees nothing in lists and counts%s', async (filter) => {
    const sandboxes = `query ($t: ID, $h: ID) { sandboxes${filter} { totalCount edges { node { name } } } }`;
    expect(await data(stranger, sandboxes, { t: ids.team, h: ids.host })).toEqual({
      sandboxes: { totalCount: 0, edges: [] },
    });
    if (filter.includes('hostId')) return;
    const hosts = `query ($t: ID) { hosts${filter} { totalCount edges { node { name } } } }`;
    expect(await data(stranger, hosts, { t: ids.team })).toEqual({ hosts: { totalCount: 0, edges: [] } });
  });

  test('gets nothing from the entity resolvers that only gateways call', async () => {
    const entities =
      'query ($r: [_Any!]!) { _entities(representations: $r) { ... on Host { name } ... on Sandbox { name } } }';
    const representations = [
      { __typename: 'Host', id: ids.host },
      { __typename: 'Sandbox', id: ids.sandbox },
    ];
    expect(await data(stranger, entities, { r: representations })).toEqual({ _entities: [null, null] });
    expect(await data(undefined, entities, { r: representations })).toEqual({ _entities: [null, null] });
    const teams =
      'query ($r: [_Any!]!) { _entities(representations: $r) { ... on Team { name } ... on Host { teamName } } }';
    const joined = [
      { __typename: 'Team', id: ids.team },
      { __typename: 'Host', id: ids.host, team: { id: ids.team } },
    ];
    expect(await data(stranger, teams, { r: joined }, 'accounts')).toEqual({ _entities: [null, { teamName: null }] });
    expect(await data(owner, teams, { r: joined }, 'accounts')).toEqual({
      _entities: [{ name: 'Mine' }, { teamName: 'Mine' }],
    });
  });

  test.each([
    [
      'deleteHost',
      'mutation ($h: ID!) { r: deleteHost(input: { hostId: $h, force: true }) { __typename ... on UserError { message } } }',
    ],
    [
      'destroySandbox',
      'mutation ($s: ID!) { r: destroySandbox(input: { sandboxId: $s }) { __typename ... on UserError { message } } }',
    ],
    [
      'execInSandbox',
      'mutation ($s: ID!) { r: execInSandbox(input: { sandboxId: $s, command: ["id"] }) { __typename ... on UserError { message } } }',
    ],
    [
      'createSandbox in its team',
      'mutation ($t: ID!) { r: createSandbox(input: { teamId: $t }) { __typename ... on UserError { message } } }',
    ],
    [
      'createHost in its team',
      'mutation ($t: ID!) { r: createHost(input: { name: "x", kind: BYOC, teamId: $t }) { __typename ... on UserError { message } } }',
    ],
  ])('is told by %s what it would be told of something that does not exist', async (_name, mutation) => {
    const missing = {
      h: toGlobalId('Host', randomUUID()),
      s: toGlobalId('Sandbox', randomUUID()),
      t: toGlobalId('Team', randomUUID()),
    };
    const real = await data(stranger, mutation, { h: ids.host, s: ids.sandbox, t: ids.team });
    expect(real).toMatchObject({ r: { __typename: 'NotFound' } });
    expect(real).toEqual(await data(stranger, mutation, missing));
  });

  test('cannot place on its host', async () => {
    const viewer = await data(stranger, '{ viewer { memberships { team { id } } } }', {}, 'accounts');
    const teamId = (viewer as { viewer: { memberships: [{ team: { id: string } }] } }).viewer.memberships[0].team.id;
    const create = 'mutation ($t: ID!, $h: ID!) { r: createSandbox(input: { teamId: $t, hostId: $h }) { __typename } }';
    expect(await data(stranger, create, { t: teamId, h: ids.host })).toEqual({ r: { __typename: 'NotFound' } });
  });

  test('hears of nothing that happens to them', async () => {
    const subscribe = async (token: string) =>
      (await control.execute(
        'fleet',
        { document: parse('subscription { sandboxChanged { sandbox { name } } }') },
        { token },
      )) as AsyncIterableIterator<FormattedExecutionResult>;
    const [theirs, mine] = [await subscribe(stranger), await subscribe(owner)];
    const heard = theirs.next();
    await data(
      owner,
      'mutation ($t: ID!, $h: ID!) { createSandbox(input: { teamId: $t, hostId: $h, name: "noise" }) { __typename } }',
      { t: ids.team, h: ids.host },
    );
    expect((await mine.next()).value).toEqual({ data: { sandboxChanged: { sandbox: { name: 'noise' } } } });
    await theirs.return?.();
    await mine.return?.();
    expect(await heard).toEqual({ done: true, value: undefined });
  });
});

describe('node(id)', () => {
  const nodes = 'query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }';

  test('finds what the viewer may see, in the order of the ids, and nothing else', async () => {
    const wanted = [ids.sandbox, 'garbage', ids.host, toGlobalId('Host', randomUUID()), ids.platformHost, ids.team];
    const found = [
      { __typename: 'Sandbox', id: ids.sandbox },
      null,
      { __typename: 'Host', id: ids.host },
      null,
      null,
      { __typename: 'Team', id: ids.team },
    ];
    expect(await data(owner, nodes, { ids: wanted }, 'nodes')).toEqual({ nodes: found });
  });

  test.each(['stranger', 'nobody'])('finds nothing of another team’s for %s', async (who) => {
    const token = who === 'stranger' ? stranger : undefined;
    expect(await data(token, nodes, { ids: [ids.sandbox, ids.host, ids.team] }, 'nodes')).toEqual({
      nodes: [null, null, null],
    });
  });
});

describe('a platform host', () => {
  test('is seen by platform admins only', async () => {
    const query = 'query ($h: ID!) { host(id: $h) { kind } }';
    expect(await data(admin, query, { h: ids.platformHost })).toEqual({ host: { kind: 'PLATFORM' } });
    expect(await data(owner, query, { h: ids.platformHost })).toEqual({ host: null });
  });

  test('cannot be made by anyone else', async () => {
    const create = 'mutation { r: createHost(input: { name: "mine-now", kind: PLATFORM }) { __typename } }';
    expect(await data(owner, create)).toEqual({ r: { __typename: 'NotFound' } });
  });
});

test.each([
  'query { hosts { totalCount } }',
  'query { sandboxes { totalCount } }',
  'query ($h: ID!) { host(id: $h) { name } }',
  'mutation ($h: ID!) { deleteHost(input: { hostId: $h }) { __typename } }',
  'mutation ($t: ID!) { createSandbox(input: { teamId: $t }) { __typename } }',
  'mutation ($s: ID!) { execInSandbox(input: { sandboxId: $s, command: ["id"] }) { __typename } }',
])('nobody in particular is told to sign in by %s', async (query) => {
  const { errors } = await ask(undefined, query, { h: ids.host, s: ids.sandbox, t: ids.team });
  expect(errors?.[0]?.extensions).toMatchObject({ code: 'UNAUTHENTICATED' });
});

test.each([
  '',
  'garbage',
  '💥',
  Buffer.from('Host:not-a-uuid').toString('base64'),
  Buffer.from(`User:${randomUUID()}`).toString('base64'),
])('an id like %o is nothing, not an error', async (id) => {
  expect(
    await data(admin, 'query ($id: ID!) { host(id: $id) { name } sandboxes(hostId: $id) { totalCount } }', { id }),
  ).toEqual({ host: null, sandboxes: { totalCount: 0 } });
});
