import { describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { TestSocket } from '../../gateway/test/harness.ts';
import { joinHost, type TestAgent } from '../support/agent.ts';
import { Api, type EventStream } from '../support/api.ts';
import { Fleet, type HostChange, type HostState, type SandboxChange, type SandboxState } from '../support/fleet.ts';
import { ADMIN_EMAIL } from '../support/rookery.ts';
import { ADMIN_PASSWORD, GATEWAY_SECRET, SplitRookery } from '../support/split.ts';
import { NOTHING, Story } from '../support/story.ts';

const SECRET_HEADER = 'x-rookery-gateway-secret';
const DEADLINE_MS = 20_000;
const memberEmail = 'member@example.com';

describe('control and gateway as separate processes, with a PostgreSQL of somebody else', () => {
  const story = new Story();
  let split: SplitRookery;
  let api: Api;
  let fleet: Fleet;
  let agent: TestAgent;
  let host: HostState;
  let first: SandboxState;
  let origin: string;
  let watching: EventStream<SandboxChange>;
  let watchingHosts: EventStream<HostChange>;

  it('takes in a host, and joins its team from the other subgraph in queries and in every event', async () => {
    split = await SplitRookery.start(story);
    api = story.use(await Api.signIn(split.url, ADMIN_EMAIL, ADMIN_PASSWORD));
    fleet = new Fleet(api);
    origin = await fleet.cursor();
    watchingHosts = fleet.hostChanges(origin);
    const created = await fleet.createByocHost('nest');
    host = created.host;
    agent = await joinHost(story, 'nest', created.joinCommand);
    await watchingHosts.waitFor('nest takes sandboxes', (change) => change.host?.schedulable === true);
    for (const event of watchingHosts.events) {
      expect(event.host).toMatchObject({ name: 'nest', teamName: 'Default', team: { name: 'Default' } });
    }
    const { viewer } = await api.request<{ viewer: unknown }>(
      `{ viewer { user { email } memberships { role team { name } } } }`,
    );
    expect(viewer).toEqual({
      user: { email: ADMIN_EMAIL },
      memberships: [{ role: 'OWNER', team: { name: 'Default' } }],
    });
    expect(await fleet.hosts()).toMatchObject([
      { name: 'nest', status: 'ONLINE', teamName: 'Default', team: { name: 'Default' } },
    ]);
  });

  it('runs commands in a sandbox over the network', async () => {
    watching = fleet.sandboxChanges(origin);
    first = await fleet.createSandbox('first');
    await watching.waitFor(
      'first is running',
      ({ sandbox }) => sandbox?.name === 'first' && sandbox.status === 'RUNNING',
    );
    expect(await fleet.shell(first.id, 'echo hello; echo kept > /root/note')).toBe('hello\n');
  });

  it('tells one subscription what is wrong with it, and leaves the others alone', async () => {
    const mistaken = fleet.sandboxChanges('not a cursor');
    expect(await mistaken.ended).toMatchObject([
      { message: 'That is not an event cursor.', extensions: { code: 'BAD_USER_INPUT' } },
    ]);
    const heard = watching.events.length;
    const passing = await fleet.createSandbox('passing');
    await watching.waitFor(
      'passing is running',
      ({ sandbox }) => sandbox?.name === 'passing' && sandbox.status === 'RUNNING',
    );
    await fleet.destroySandbox(passing.id);
    expect(watching.events.length).toBeGreaterThan(heard);
  });

  it.each([
    ['without a secret', {}],
    ['with a wrong secret', { [SECRET_HEADER]: 'what they share is not this' }],
  ])('refuses whoever asks a subgraph %s, over HTTP and WebSocket', async (_case, headers: Record<string, string>) => {
    for (const subgraph of ['accounts', 'fleet', 'nodes']) {
      const url = `${split.subgraphUrl}/subgraphs/${subgraph}`;
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ query: '{ __typename }' }),
      });
      expect(response.status).toBe(403);
      expect(await upgradeStatus(url, headers)).toBe(403);
    }
  });

  it('answers whoever knows the secret', async () => {
    expect(await upgradeStatus(`${split.subgraphUrl}/subgraphs/fleet`, { [SECRET_HEADER]: GATEWAY_SECRET })).toBe(101);
  });

  it('takes in a person by an invitation, at the gateway', async () => {
    const { addTeamMember } = await api.request<{ addTeamMember: { token: string } }>(
      `mutation ($input: AddTeamMemberInput!) { addTeamMember(input: $input) { ... on TeamMemberInvited { token } } }`,
      { input: { teamId: await fleet.teamId(), email: memberEmail, role: 'MEMBER' } },
    );
    const response = await fetch(`${split.url}/session/invitation`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token: addTeamMember.token, name: 'Member', password: ADMIN_PASSWORD }),
    });
    expect(response.status).toBe(200);
    expect(response.headers.get('set-cookie')).toMatch(/^rookery_session=rks_/);
    await fetch(`${split.url}/session`, {
      method: 'DELETE',
      headers: { cookie: response.headers.get('set-cookie')?.split(';')[0] ?? '' },
    });
  });

  it('takes nothing from outside for what a gateway says', async () => {
    const ask = (body: object, headers: Record<string, string> = {}) =>
      fetch(`${split.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      });
    const query = '{ viewer { isAdmin } }';
    const { data } = await api.ask<{ viewer: { isAdmin: boolean } }>(query);
    expect(data).toEqual({ viewer: { isAdmin: true } });
    const asTheAdmin = { query, extensions: { caller: { token: api.token } } };
    expect(await (await ask(asTheAdmin)).json()).toEqual({ data: { viewer: null } });
    const knowing = { [SECRET_HEADER]: GATEWAY_SECRET };
    expect((await ask({ query }, knowing)).status).toBe(400);
    expect(await upgradeStatus(`${split.url}/graphql`, knowing)).toBe(400);
  });

  it('closes a WebSocket within 5 s when its session has ended where the gateway does not hear of it', async () => {
    const [watched, other] = [
      story.use(await Api.signIn(split.url, memberEmail, ADMIN_PASSWORD)),
      await Api.signIn(split.url, memberEmail, ADMIN_PASSWORD),
    ];
    await using socket = new TestSocket(split, { authorization: `Bearer ${watched.token}` });
    expect(await socket.ask('{ viewer { isAdmin } }')).toEqual({ data: { viewer: { isAdmin: false } } });
    socket.open('subscription { hostChanged { cursor } }');
    await socket.ask('{ viewer { isAdmin } }');
    const from = performance.now();
    expect(await other.request('mutation { signOutEverywhere }')).toEqual({ signOutEverywhere: 2 });
    expect(await socket.closed).toBe(4401);
    expect(performance.now() - from).toBeLessThan(5_000);
  });

  it('does not tell its schema unless it was told to', async () => {
    expect(await api.ask('{ __schema { queryType { name } } }')).toMatchObject({
      errors: [{ message: 'The schema cannot be asked for here.', extensions: { code: 'BAD_USER_INPUT' } }],
    });
  });

  it('ends control cleanly on SIGTERM, and says at the gateway that it is away', async () => {
    expect(await split.control.stop('SIGTERM')).toEqual({ code: 0, signal: null });
    await Promise.all([watching.ended, watchingHosts.ended]);
    await split.untilUnready();
    expect(await api.ask('{ viewer { isAdmin } }')).toMatchObject({
      errors: [{ message: expect.any(String), extensions: { code: 'UNAVAILABLE' } }],
    });
  });

  it('goes on when control is back: same gateway, same sign-in, same host, same sandbox', async () => {
    split.startControl();
    await split.untilReady();
    await fleet.waitUntilWell({ hosts: ['nest'], sandboxes: ['first'] });
    expect(await vi.waitFor(() => fleet.shell(first.id, 'cat /root/note'), DEADLINE_MS)).toBe('kept\n');
  });

  it('misses nothing and repeats nothing when a subscription is resumed after the restart', async () => {
    // Happens while nobody listens.
    const second = await fleet.createSandbox('second');
    await fleet.waitUntilWell({ hosts: ['nest'], sandboxes: ['first', 'second'] });

    const resumed = fleet.sandboxChanges(lastCursor(watching));
    const resumedHosts = fleet.hostChanges(lastCursor(watchingHosts));
    await fleet.destroySandbox(second.id);
    await fleet.destroySandbox(first.id);
    const isLast = ({ kind, sandboxId }: SandboxChange) => kind === 'DELETED' && sandboxId === first.id;
    await resumed.waitFor('first is deleted', isLast);

    const whole = fleet.sandboxChanges(origin);
    await whole.waitFor('first is deleted', isLast);
    expect([...watching.events, ...resumed.events]).toEqual(whole.events);
    expect(whole.events.map(({ kind }) => kind)).not.toContain('RESET');
    for (const { id } of [first, second]) {
      const revisions = whole.events
        .filter(({ sandboxId }) => sandboxId === id)
        .map(({ sandbox }) => sandbox?.revision);
      expect(revisions).toEqual(revisions.map((_revision, index) => index + 1));
    }

    const wholeHosts = fleet.hostChanges(origin);
    await wholeHosts.waitFor('the newest', ({ cursor }) => cursor === lastCursor(resumedHosts));
    expect([...watchingHosts.events, ...resumedHosts.events]).toEqual(wholeHosts.events);
    for (const event of wholeHosts.events)
      expect(event).toMatchObject({ hostId: host.id, host: { team: { name: 'Default' } } });
  });

  it('stops part by part, and leaves nothing on the machine', async () => {
    expect(await agent.process.stop()).toMatchObject({ code: 0 });
    expect(await split.gateway.stop('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(await split.control.stop('SIGTERM')).toEqual({ code: 0, signal: null });
    const { processes, ...rest } = await story.leftovers();
    expect(rest).toEqual({ containers: NOTHING.containers, mounts: NOTHING.mounts });
    // The PostgreSQL is the story's own, and ends with it.
    expect(processes.filter((command) => !command.includes('postgres'))).toEqual([]);
  });
});

const lastCursor = (stream: EventStream<{ cursor: string }>): string => stream.events.at(-1)?.cursor ?? '';

/** HTTP status with which an upgrade to a WebSocket is answered. */
async function upgradeStatus(url: string, headers: Record<string, string>): Promise<number> {
  const socket = new WebSocket(url.replace(/^http/, 'ws'), 'graphql-transport-ws', { headers });
  return new Promise((resolve, reject) => {
    socket.once('open', () => {
      socket.close();
      resolve(101);
    });
    socket.once('unexpected-response', (request, response) => {
      request.destroy();
      resolve(response.statusCode ?? 0);
    });
    socket.on('error', reject);
  });
}
