import { parse, type FormattedExecutionResult } from 'graphql';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { newAdmin, newTeam, newUser, PASSWORD, signIn, startTestControl } from '../../../test/harness.ts';
import type { Control } from '../../app.ts';
import { toGlobalId } from '../../kernel/global-id.ts';
import type { TeamRow, UserRow } from '../tables.ts';

let control: Control;
let team: TeamRow;
let owner: UserRow;
let token: string;
const caller = { address: '198.51.100.4', userAgent: 'curl/8' };

beforeAll(async () => {
  control = await startTestControl();
  ({ team, owner } = await newTeam(control));
  token = await signIn(control, owner.email);
});
afterAll(() => control[Symbol.asyncDispose]());

async function run(subgraph: string, document: string, variables: object = {}, as: string | null = token) {
  const operation = { document: parse(document), variables: { ...variables } };
  return (await control.execute(subgraph, operation, {
    ...caller,
    token: as ?? undefined,
  })) as FormattedExecutionResult;
}

/** The newest event of an action, with everything that the API shows. */
async function newest(action: string, as = token) {
  const { data, errors } = await run(
    'accounts',
    `query ($a: String!) { auditEvents(first: 1, filter: { action: $a }) { edges { node {
       actorKind actorId actorLabel action resourceType resourceId team { id } outcome code detail address userAgent } } } }`,
    { a: action },
    as,
  );
  expect(errors).toBeUndefined();
  return (data as { auditEvents: { edges: { node: Record<string, unknown> }[] } }).auditEvents.edges[0]?.node;
}

const teamId = () => toGlobalId('Team', team.id);
const whoAndWhere = () => ({
  actorKind: 'USER',
  actorId: toGlobalId('User', owner.id),
  actorLabel: owner.email,
  ...caller,
});

describe('the audit trail has', () => {
  test('what was done, by whom, to what, from where', async () => {
    await run('accounts', 'mutation ($t: ID!) { renameTeam(input: { teamId: $t, name: "Renamed" }) { __typename } }', {
      t: teamId(),
    });
    expect(await newest('renameTeam')).toEqual({
      ...whoAndWhere(),
      action: 'renameTeam',
      resourceType: 'team',
      resourceId: teamId(),
      team: { id: teamId() },
      outcome: 'SUCCEEDED',
      code: null,
      detail: ['name=Renamed'],
    });
  });

  test('the id of what was made', async () => {
    const { data } = await run(
      'fleet',
      'mutation ($t: ID!) { r: createHost(input: { name: "audited", kind: BYOC, teamId: $t }) { ... on HostCreated { host { id } } } }',
      { t: teamId() },
    );
    expect(await newest('createHost')).toMatchObject({
      resourceType: 'host',
      resourceId: (data as { r: { host: { id: string } } }).r.host.id,
      team: { id: teamId() },
      outcome: 'SUCCEEDED',
      detail: ['kind=BYOC', 'name=audited'],
    });
  });

  test('what was refused, on the trail of the team whose thing it was', async () => {
    const member = await newUser(control);
    const { token: invitation } = await control.accounts.services.invitations.invite(newAdmin(), team.id, {
      email: member.email,
      role: 'MEMBER',
    });
    await control.accounts.services.invitations.accept(null, { token: invitation, password: PASSWORD }, {});
    const create = 'mutation ($t: ID!) { createHost(input: { name: "nope", kind: BYOC, teamId: $t }) { __typename } }';
    await run('fleet', create, { t: teamId() }, await signIn(control, member.email));
    expect(await newest('createHost')).toMatchObject({
      actorLabel: member.email,
      resourceType: 'host',
      team: { id: teamId() },
      outcome: 'REFUSED',
      code: 'NOT_PERMITTED',
    });
  });

  test('what a stranger tried, on nobody’s trail but the platform’s', async () => {
    const { owner: stranger } = await newTeam(control);
    const rename = 'mutation ($t: ID!) { renameTeam(input: { teamId: $t, name: "Mine now" }) { __typename } }';
    await run('accounts', rename, { t: teamId() }, await signIn(control, stranger.email));
    expect(await newest('renameTeam')).toMatchObject({ outcome: 'SUCCEEDED' });
    const root = await signIn(control, 'admin@rookery.local');
    expect(await newest('renameTeam', root)).toMatchObject({
      actorLabel: stranger.email,
      team: null,
      outcome: 'REFUSED',
      code: 'NOT_FOUND',
    });
  });

  test('failed sign-ins, without the password', async () => {
    const attempt = 'mutation ($e: String!) { signIn(input: { email: $e, password: "guessed" }) { __typename } }';
    await run('accounts', attempt, { e: owner.email }, null);
    const event = await newest('signIn', await signIn(control, 'admin@rookery.local'));
    expect(event).toMatchObject({
      actorKind: 'ANONYMOUS',
      outcome: 'REFUSED',
      code: 'INVALID_CREDENTIALS',
      detail: [`email=${owner.email}`],
      ...caller,
    });
    expect(JSON.stringify(event)).not.toContain('guessed');
  });

  test('who it was that signed in', async () => {
    const attempt =
      'mutation ($e: String!, $p: String!) { signIn(input: { email: $e, password: $p }) { ... on SignedIn { token } } }';
    await run('accounts', attempt, { e: owner.email, p: PASSWORD }, null);
    expect(await newest('signIn')).toMatchObject({ ...whoAndWhere(), outcome: 'SUCCEEDED' });
  });

  test('tokens that were refused, once a minute each', async () => {
    const root = await signIn(control, 'admin@rookery.local');
    const bad = `rk_${randomUUID()}`;
    for (let i = 0; i < 3; i += 1) await run('accounts', '{ viewer { isAdmin } }', {}, bad);
    const { data } = await run(
      'accounts',
      '{ auditEvents(filter: { action: "token.refused" }) { edges { node { detail outcome address } } } }',
      {},
      root,
    );
    expect((data as { auditEvents: { edges: unknown[] } }).auditEvents.edges).toEqual([
      {
        node: {
          detail: ['kind=api-key', `prefix=${bad.slice(0, 10)}`],
          outcome: 'REFUSED',
          address: caller.address,
        },
      },
    ]);
  });

  test('what a key did, by its name', async () => {
    const { secret, apiKey } = await control.accounts.services.apiKeys.create(newAdmin(), team.id, {
      name: 'ci',
      scopes: ['hosts:write'],
    });
    const create =
      'mutation ($t: ID!) { createHost(input: { name: "by-key", kind: BYOC, teamId: $t }) { __typename } }';
    await run('fleet', create, { t: teamId() }, secret);
    expect(await newest('createHost')).toMatchObject({
      actorKind: 'API_KEY',
      actorId: toGlobalId('ApiKey', apiKey.id),
      actorLabel: `${apiKey.prefix}… ci`,
      outcome: 'SUCCEEDED',
    });
  });
});

describe('an operation', () => {
  test('that cannot be written down does not happen', async () => {
    const fork = control.database.orm.em.fork();
    await fork.execute('alter table audit_events rename to audit_events_away');
    try {
      const { errors } = await run(
        'accounts',
        'mutation ($t: ID!) { renameTeam(input: { teamId: $t, name: "Unseen" }) { __typename } }',
        { t: teamId() },
      );
      expect(errors?.[0]?.extensions?.['code']).toBe('INTERNAL');
    } finally {
      await fork.execute('alter table audit_events_away rename to audit_events');
    }
    const [row] = await control.accounts.services.teams.byIds([team.id]);
    expect(row?.name).not.toBe('Unseen');
  });

  test('whose process dies in the middle leaves its beginning', async () => {
    const { auditLog } = control;
    await auditLog.begin('createHost', { kind: 'USER', id: owner.id, label: owner.email }, { name: 'half' }, caller);
    expect(await newest('createHost')).toMatchObject({ outcome: null, detail: ['name=half'], ...whoAndWhere() });
  });
});

test('what happens is heard live, by those whose trail it is', async () => {
  const { owner: stranger } = await newTeam(control);
  const subscribe = async (as: string) =>
    (await control.execute(
      'accounts',
      { document: parse('subscription { auditEventAdded { kind auditEvent { action outcome } } }') },
      { token: as },
    )) as AsyncIterableIterator<FormattedExecutionResult>;
  const [mine, theirs] = [await subscribe(token), await subscribe(await signIn(control, stranger.email))];
  const heard = theirs.next();
  await run('accounts', 'mutation ($t: ID!) { renameTeam(input: { teamId: $t, name: "Live" }) { __typename } }', {
    t: teamId(),
  });
  expect((await mine.next()).value).toEqual({
    data: { auditEventAdded: { kind: 'CREATED', auditEvent: { action: 'renameTeam', outcome: 'SUCCEEDED' } } },
  });
  await theirs.return?.();
  await mine.return?.();
  expect((await heard).done).toBe(true);
});

test('filters narrow the trail, and a cursor goes on where a page ended', async () => {
  const rename = (name: string) =>
    run('accounts', 'mutation ($t: ID!, $n: String!) { renameTeam(input: { teamId: $t, name: $n }) { __typename } }', {
      t: teamId(),
      n: name,
    });
  const since = new Date();
  for (const name of ['a', 'b', '', 'c']) await rename(name);
  await vi.waitFor(async () => expect(await newest('renameTeam')).toMatchObject({ outcome: 'SUCCEEDED' }));
  const page = async (filter: object, after?: string) => {
    const { data, errors } = await run(
      'accounts',
      'query ($f: AuditFilter, $after: String) { auditEvents(first: 2, after: $after, filter: $f) { pageInfo { endCursor hasNextPage } edges { node { outcome detail } } } }',
      { f: filter, after },
    );
    expect(errors).toBeUndefined();
    return (
      data as {
        auditEvents: {
          pageInfo: { endCursor: string; hasNextPage: boolean };
          edges: { node: { outcome: string; detail: string[] } }[];
        };
      }
    ).auditEvents;
  };
  const filter = { teamId: teamId(), action: 'renameTeam', since: since.toISOString() };
  const first = await page(filter);
  expect(first.edges.map(({ node }) => node.detail)).toEqual([['name=c'], ['name=']]);
  const second = await page(filter, first.pageInfo.endCursor);
  expect(second.edges.map(({ node }) => node.detail)).toEqual([['name=b'], ['name=a']]);
  expect(second.pageInfo.hasNextPage).toBe(false);
  expect((await page({ ...filter, outcome: 'REFUSED' })).edges).toHaveLength(1);
  expect((await page({ ...filter, actorId: toGlobalId('User', randomUUID()) })).edges).toEqual([]);
  expect((await page({ ...filter, resourceId: 'garbage' })).edges).toEqual([]);
  expect((await page({ ...filter, until: since.toISOString() })).edges).toEqual([]);
});
