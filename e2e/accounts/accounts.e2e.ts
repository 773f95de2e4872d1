import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { Api } from '../support/api.ts';
import { cleanEnvironment, ROOT } from '../support/process.ts';
import { ADMIN_EMAIL, newPlace, startRookery, type Place, type Rookery } from '../support/rookery.ts';
import { NOTHING, Story } from '../support/story.ts';

const PASSWORD = 'correct horse battery';

/** How long a stream may outlive its viewer's right to it, in ms (DESIGN.md §2: 5 s), with room for a busy machine. */
const ENDS_WITHIN_MS = 10_000;

/** People, teams and keys of one Rookery, as its API's users live it. */
describe('accounts', () => {
  const story = new Story();
  let place: Place;
  let rookery: Rookery;
  let root: Api;
  let olga: Api;
  let mona: Api;
  let team = '';
  let monaId = '';
  const api = (token: string, headers: Record<string, string> = {}): Api =>
    story.use(new Api(rookery.url, token, headers));

  /** The operator's command line, as the README has it. */
  const control = async (...args: string[]): Promise<string> => {
    const env = cleanEnvironment({ ROOKERY_DATA_DIR: place.dataDir });
    return (await promisify(execFile)('npm', ['run', '--silent', 'control', '--', ...args], { cwd: ROOT, env })).stdout;
  };

  const invite = async (by: Api, email: string, role: string): Promise<string> => {
    const { r } = await by.request<{ r: { __typename: string; token: string } }>(
      `mutation ($t: ID!, $e: String!, $role: TeamRole!) {
        r: addTeamMember(input: { teamId: $t, email: $e, role: $role }) { __typename ... on TeamMemberInvited { token } } }`,
      { t: team, e: email, role },
    );
    expect(r.__typename).toBe('TeamMemberInvited');
    return r.token;
  };

  it('begin with a platform admin, who makes others at the command line', async () => {
    place = await newPlace(story);
    rookery = await startRookery(story, place, { ROOKERY_ADMIN_PASSWORD: PASSWORD });
    root = story.use(await Api.signIn(rookery.url, ADMIN_EMAIL, PASSWORD));

    const made = await control('user', 'create', 'olga@example.com', '--name', 'Olga');
    const password = /password (\S+) /.exec(made)?.[1] as string;
    olga = story.use(await Api.signIn(rookery.url, 'olga@example.com', password));
    await expect(control('user', 'create', 'olga@example.com')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('There is an account with this e-mail address already.'),
    });
    await expect(control('admin', 'revoke', ADMIN_EMAIL)).rejects.toMatchObject({
      stderr: expect.stringContaining('only platform admin'),
    });
  });

  it('a team is made by anybody, and its people are invited', async () => {
    const { r } = await olga.request<{ r: { team: { id: string; isByoc: boolean; viewerRole: string } } }>(
      'mutation { r: createTeam(input: { name: "Owls" }) { ... on TeamCreated { team { id isByoc viewerRole } } } }',
    );
    expect(r.team).toMatchObject({ isByoc: false, viewerRole: 'OWNER' });
    team = r.team.id;
    const token = await invite(olga, 'mona@example.com', 'MEMBER');

    const stranger = new Api(rookery.url);
    expect(
      await stranger.request('query ($t: String!) { invitation(token: $t) { teamName email role } }', { t: token }),
    ).toEqual({ invitation: { teamName: 'Owls', email: 'mona@example.com', role: 'MEMBER' } });
    const { accepted } = await stranger.request<{
      accepted: { signedIn: { token: string; viewer: { user: { id: string } } } };
    }>(
      `mutation ($t: String!, $p: String!) { accepted: acceptInvitation(input: { token: $t, name: "Mona", password: $p }) {
        ... on InvitationAccepted { signedIn { token viewer { user { id } } } } } }`,
      { t: token, p: PASSWORD },
    );
    mona = api(accepted.signedIn.token);
    monaId = accepted.signedIn.viewer.user.id;
    const members = 'query ($t: ID!) { team(id: $t) { members { role user { email } } invitations { email } } }';
    expect(await mona.request(members, { t: team })).toEqual({
      team: {
        members: [
          { role: 'OWNER', user: { email: 'olga@example.com' } },
          { role: 'MEMBER', user: { email: 'mona@example.com' } },
        ],
        invitations: [],
      },
    });
  });

  it('BYOC is switched on and off by platform admins, and heard of by the team at once', async () => {
    const createHost = (name: string) =>
      olga.request<{ r: { __typename: string } }>(
        `mutation ($t: ID!, $n: String!) { r: createHost(input: { name: $n, kind: BYOC, teamId: $t }) { __typename } }`,
        { t: team, n: name },
      );
    const setByoc = (by: Api, isByoc: boolean) =>
      by.request<{ r: { __typename: string } }>(
        'mutation ($t: ID!, $b: Boolean!) { r: setTeamByoc(input: { teamId: $t, isByoc: $b }) { __typename } }',
        { t: team, b: isByoc },
      );
    expect((await createHost('early')).r.__typename).toBe('TeamNotByoc');
    expect((await setByoc(olga, true)).r.__typename).toBe('NotPermitted');

    const { teams } = await mona.request<{ teams: { eventCursor: string } }>('query { teams { eventCursor } }');
    const heard = mona.subscribe<{ team: { isByoc: boolean } }>(
      'subscription ($after: String!) { teamChanged(after: $after) { team { isByoc } } }',
      { after: teams.eventCursor },
    );
    const own = 'query { hosts { edges { node { name } } } }';
    expect(await mona.request(own)).toEqual({ hosts: { edges: [] } });
    expect((await setByoc(root, true)).r.__typename).toBe('TeamByocSet');
    await heard.waitFor('BYOC on', (event) => event.team.isByoc);
    expect((await createHost('owl-1')).r.__typename).toBe('HostCreated');
    expect((await setByoc(root, false)).r.__typename).toBe('TeamByocSet');
    await heard.waitFor('BYOC off again', (event) => !event.team.isByoc);
    heard.close();
    expect((await createHost('late')).r.__typename).toBe('TeamNotByoc');
    expect(await mona.request('query { hosts { edges { node { name conditions { type } } } } }')).toEqual({
      hosts: {
        edges: [{ node: { name: 'owl-1', conditions: [{ type: 'NOT_REGISTERED' }, { type: 'BYOC_DISABLED' }] } }],
      },
    });
    await setByoc(root, true);
  });

  it('a platform admin sees every host with its team’s name', async () => {
    const { hosts } = await root.request<{ hosts: { edges: { node: { kind: string; teamName: string | null } }[] } }>(
      'query { hosts { edges { node { kind teamName } } } }',
    );
    expect(hosts.edges.map(({ node }) => node).sort((a, b) => a.kind.localeCompare(b.kind))).toEqual([
      { kind: 'BYOC', teamName: 'Owls' },
      { kind: 'PLATFORM', teamName: null },
    ]);
    const { errors } = await olga.ask('query { users { edges { cursor } } }');
    expect(errors?.[0]?.extensions).toMatchObject({ code: 'FORBIDDEN' });
  });

  it('an admin is one for as long as the database says so', async () => {
    await control('admin', 'grant', 'olga@example.com');
    expect(await olga.request('query { users(search: "olga") { totalCount } }')).toEqual({ users: { totalCount: 1 } });
    await control('admin', 'revoke', 'olga@example.com');
    expect((await olga.ask('query { users { totalCount } }')).errors?.[0]?.extensions).toMatchObject({
      code: 'FORBIDDEN',
    });
  });

  it('a key does with hosts what its scopes say, in either header, until it is revoked', async () => {
    const { r } = await olga.request<{ r: { secret: string; apiKey: { id: string } } }>(
      `mutation ($t: ID!) { r: createApiKey(input: { teamId: $t, name: "ci", scopes: [HOSTS_WRITE] }) {
        ... on ApiKeyCreated { secret apiKey { id } } } }`,
      { t: team },
    );
    const [bearer, header] = [api(r.secret), story.use(new Api(rookery.url, undefined, { 'x-api-key': r.secret }))];
    expect(await header.request('query { viewer { user { id } apiKey { name scopes } } }')).toEqual({
      viewer: { user: null, apiKey: { name: 'ci', scopes: ['HOSTS_WRITE'] } },
    });
    const { hosts } = await bearer.request<{ hosts: { eventCursor: string } }>('query { hosts { eventCursor } }');
    const events = bearer.subscribe<{ host: { name: string } }>(
      'subscription ($after: String!) { hostChanged(after: $after) { host { name } } }',
      { after: hosts.eventCursor },
    );
    const make =
      'mutation ($t: ID!) { r: createHost(input: { name: "by-ci", kind: BYOC, teamId: $t }) { ... on HostCreated { host { id } } } }';
    const made = await header.request<{ r: { host: { id: string } } }>(make, { t: team });
    await events.waitFor('the host that the key made', ({ host }) => host.name === 'by-ci');
    const remove = 'mutation ($h: ID!) { r: deleteHost(input: { hostId: $h }) { __typename } }';
    expect(await bearer.request(remove, { h: made.r.host.id })).toEqual({ r: { __typename: 'HostDeleted' } });
    expect((await bearer.ask('query { sandboxes { totalCount } }')).errors?.[0]?.extensions).toMatchObject({
      code: 'FORBIDDEN',
    });

    await olga.request('mutation ($k: ID!) { revokeApiKey(input: { apiKeyId: $k }) { __typename } }', {
      k: r.apiKey.id,
    });
    expect((await bearer.ask('query { hosts { totalCount } }')).errors?.[0]?.extensions).toMatchObject({
      code: 'UNAUTHENTICATED',
    });
    await withinTime(events.ended, 'the stream of a revoked key');
  });

  it('a role that changes counts at once, and streams end for who has lost the right to them', async () => {
    const stream = mona.subscribe('subscription { hostChanged { cursor } }');
    const rename = 'mutation ($t: ID!) { r: renameTeam(input: { teamId: $t, name: "Owls" }) { __typename } }';
    expect(await mona.request(rename, { t: team })).toEqual({ r: { __typename: 'NotPermitted' } });
    const role = (to: string) =>
      olga.request(
        'mutation ($t: ID!, $u: ID!, $r: TeamRole!) { updateTeamMemberRole(input: { teamId: $t, userId: $u, role: $r }) { __typename } }',
        { t: team, u: monaId, r: to },
      );
    await role('ADMIN');
    expect(await mona.request(rename, { t: team })).toEqual({ r: { __typename: 'TeamRenamed' } });
    await olga.request(
      'mutation ($t: ID!, $u: ID!) { removeTeamMember(input: { teamId: $t, userId: $u }) { __typename } }',
      { t: team, u: monaId },
    );
    expect(await mona.request('query ($t: ID!) { team(id: $t) { name } }', { t: team })).toEqual({ team: null });
    await withinTime(stream.ended, 'the stream of a removed member');
  });

  it('signing out everywhere ends every session at once', async () => {
    const sessions = await Promise.all(
      [1, 2].map(async () => story.use(await Api.signIn(rookery.url, 'mona@example.com', PASSWORD))),
    );
    const [one, two] = sessions as [Api, Api];
    const stream = two.subscribe('subscription { sandboxChanged { cursor } }');
    expect(await one.request('query { viewer { sessions { isCurrent } } }')).toMatchObject({
      viewer: { sessions: expect.arrayContaining([{ isCurrent: true }, { isCurrent: false }]) },
    });
    const { signOutEverywhere } = await one.request<{ signOutEverywhere: number }>('mutation { signOutEverywhere }');
    expect(signOutEverywhere).toBeGreaterThanOrEqual(2);
    for (const session of [one, two, mona])
      expect(await session.request('query { viewer { isAdmin } }')).toEqual({ viewer: null });
    await withinTime(stream.ended, 'the stream of a session that was ended');
  });

  it('a new signing key logs nobody out', async () => {
    mona = story.use(await Api.signIn(rookery.url, 'mona@example.com', PASSWORD));
    expect(await control('keys', 'rotate', '--purpose', 'session')).toContain('A new key signs for session');
    expect(await mona.request('query { viewer { isAdmin } }')).toEqual({ viewer: { isAdmin: false } });
    expect(await root.request('query { viewer { isAdmin } }')).toEqual({ viewer: { isAdmin: true } });
  });

  it('guessing a password ends soon, for accounts that there are and that there are not', async () => {
    for (const email of ['mona@example.com', 'nobody@example.com']) {
      const answers: string[] = [];
      for (let i = 0; i < 11; i += 1) {
        const { r } = await new Api(rookery.url).request<{ r: { __typename: string } }>(
          'mutation ($e: String!) { r: signIn(input: { email: $e, password: "wrong" }) { __typename } }',
          { e: email },
        );
        answers.push(r.__typename);
      }
      expect(answers).toEqual([...Array<string>(10).fill('InvalidCredentials'), 'TooManyAttempts']);
    }
  });

  it('all of it is on the audit trail: the team’s for its owner, everything for a platform admin', async () => {
    const trail = async (by: Api, filter: object): Promise<string[]> => {
      const { auditEvents } = await by.request<{
        auditEvents: { edges: { node: { action: string; outcome: string; actorLabel: string | null } }[] };
      }>(
        'query ($f: AuditFilter) { auditEvents(first: 200, filter: $f) { edges { node { action outcome actorLabel } } } }',
        { f: filter },
      );
      return auditEvents.edges.map(({ node }) => `${node.actorLabel} ${node.action} ${node.outcome}`);
    };
    const teams = await trail(olga, { teamId: team });
    expect(teams).toEqual(
      expect.arrayContaining([
        'olga@example.com createTeam SUCCEEDED',
        'olga@example.com addTeamMember SUCCEEDED',
        'mona@example.com acceptInvitation SUCCEEDED',
        'olga@example.com setTeamByoc REFUSED',
        `${ADMIN_EMAIL} setTeamByoc SUCCEEDED`,
        'olga@example.com createHost REFUSED',
        'olga@example.com createApiKey SUCCEEDED',
        'mona@example.com renameTeam REFUSED',
        'olga@example.com removeTeamMember SUCCEEDED',
      ]),
    );
    expect(teams.some((line) => /^rk_\S+ ci createHost SUCCEEDED$/.test(line))).toBe(true);
    const everything = await trail(root, {});
    expect(everything).toEqual(
      expect.arrayContaining([
        'null signIn REFUSED',
        'null token.refused REFUSED',
        expect.stringMatching(/^command line \(\S+\) user\.grant_admin SUCCEEDED$/),
        expect.stringMatching(/^command line \(\S+\) keys\.rotate SUCCEEDED$/),
      ]),
    );
    expect(await trail(mona, {})).not.toContain('olga@example.com createTeam SUCCEEDED');
  });

  it('nothing is left behind', async () => {
    await rookery.stop();
    await vi.waitFor(async () => expect(await story.leftovers()).toEqual(NOTHING), { timeout: 20_000 });
  });

  async function withinTime(ended: Promise<unknown>, what: string): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`${what} is still open`)), ENDS_WITHIN_MS);
    });
    await Promise.race([ended, late]).finally(() => clearTimeout(timer));
  }
});
