import { hostname } from 'node:os';
import { describe, expect, it, vi } from 'vitest';
import { joinHost, type TestAgent } from '../support/agent.ts';
import { Api } from '../support/api.ts';
import { Fleet, type HostState, type SandboxState } from '../support/fleet.ts';
import { containersOf, processesNaming } from '../support/machine.ts';
import { ADMIN_EMAIL, newPlace, startRookery, type Place, type Rookery } from '../support/rookery.ts';
import { NOTHING, Story } from '../support/story.ts';

const DEADLINE_MS = 20_000;

/** Marks a process inside a sandbox that is to be found again. */
const BACKGROUND = 'sleep 86399';

describe('the journey by API: from the first start to a fleet that survives restarts', () => {
  const story = new Story();
  const local = hostname();
  let place: Place;
  let rookery: Rookery;
  let password: string;
  let api: Api;
  let fleet: Fleet;
  let home: SandboxState;
  let joined: HostState;
  let agent: TestAgent;

  async function signIn(): Promise<void> {
    api = story.use(await Api.signIn(rookery.url, ADMIN_EMAIL, password));
    fleet = new Fleet(api);
  }

  it('prints a one-time admin password at the first start, and has the local host online', async () => {
    place = await newPlace(story);
    rookery = await startRookery(story, place);
    password = rookery.printedPassword ?? '';
    expect(password).toMatch(/^[\w-]{16}$/);
    expect(rookery.process.stdout).toContain(`Sign in    ${ADMIN_EMAIL}`);
    await expect(Api.signIn(rookery.url, ADMIN_EMAIL, 'not the password')).rejects.toThrow('signing in failed');
    await signIn();
    expect(await fleet.hosts()).toMatchObject([{ name: local, kind: 'PLATFORM', status: 'ONLINE', schedulable: true }]);
  });

  it('runs a sandbox, says when it runs, and hands back what its commands print', async () => {
    const changes = fleet.sandboxChanges(await fleet.cursor());
    home = await fleet.createSandbox('home');
    const isHome = ({ sandboxId }: { sandboxId: string | null }) => sandboxId === home.id;
    await changes.waitFor('home is running', (change) => isHome(change) && change.sandbox?.status === 'RUNNING');
    const revisions = changes.events.filter(isHome).map(({ sandbox }) => sandbox?.revision ?? -1);
    expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b));
    expect(changes.events[0]).toMatchObject({ kind: 'CREATED', sandbox: { name: 'home', host: { name: local } } });
    changes.close();
    expect(await fleet.shell(home.id, 'echo hello; uname -a')).toMatch(/^hello\nLinux home .*\n$/);
  });

  it('takes in a second host by its join command, and tells every step with the name of its team', async () => {
    const changes = fleet.hostChanges(await fleet.cursor());
    const created = await fleet.createByocHost('second');
    joined = created.host;
    agent = await joinHost(story, 'second', created.joinCommand);
    const isJoined = ({ hostId }: { hostId: string | null }) => hostId === joined.id;
    await changes.waitFor('second takes sandboxes', (change) => isJoined(change) && change.host?.schedulable === true);
    const told = changes.events.filter(isJoined).map(({ host }) => host);
    expect([...new Set(told.map((host) => host?.status))]).toEqual(['PENDING', 'ONLINE']);
    for (const host of told)
      expect(host).toMatchObject({ name: 'second', kind: 'BYOC', teamName: 'Default', team: { name: 'Default' } });
    changes.close();
  });

  it('deletes a host with its sandboxes only for someone who was shown which', async () => {
    const after = await fleet.cursor();
    const hostChanges = fleet.hostChanges(after);
    const sandboxChanges = fleet.sandboxChanges(after);
    const away = await fleet.createSandbox('away', joined.id);
    await sandboxChanges.waitFor(
      'away is running',
      ({ sandbox }) => sandbox?.name === 'away' && sandbox.status === 'RUNNING',
    );
    expect(await fleet.shell(away.id, 'echo hello from away')).toBe('hello from away\n');
    expect(await containersOf(agent.stateDir)).toHaveLength(1);

    const preview = await fleet.deleteHost(joined.id);
    if (preview.__typename !== 'HostHasSandboxes') expect.fail(`nothing was to be deleted: ${JSON.stringify(preview)}`);
    expect(preview.affectedSandboxes).toEqual([{ name: 'away' }]);
    for (const unseen of [{ force: true }, { force: true, previewDigest: 'of something else' }]) {
      expect(await fleet.deleteHost(joined.id, unseen)).toMatchObject({ __typename: 'HostHasSandboxes' });
    }
    expect(await fleet.shell(away.id, 'echo still here')).toBe('still here\n');

    expect(await fleet.deleteHost(joined.id, { force: true, previewDigest: preview.previewDigest })).toEqual({
      __typename: 'HostDeleted',
      destroyedSandboxes: [{ name: 'away' }],
    });
    const gone = await hostChanges.waitFor(
      'second is deleted',
      ({ kind, hostId }) => kind === 'DELETED' && hostId === joined.id,
    );
    expect(gone.host).toMatchObject({ name: 'second', teamName: 'Default', team: { name: 'Default' } });
    await sandboxChanges.waitFor(
      'away is deleted',
      ({ kind, sandboxId }) => kind === 'DELETED' && sandboxId === away.id,
    );
    expect((await fleet.hosts()).map(({ name }) => name)).toEqual([local]);
    expect((await fleet.sandboxes()).map(({ name }) => name)).toEqual(['home']);
    await vi.waitFor(async () => expect(await containersOf(agent.stateDir)).toEqual([]), DEADLINE_MS);
    hostChanges.close();
    sandboxChanges.close();
  });

  it('ends the agent of a deleted host by itself, with exit code 0', async () => {
    expect(await agent.process.exited).toEqual({ code: 0, signal: null });
    expect(await agent.process.members()).toEqual([]);
  });

  it('stops everything on Ctrl-C, with exit code 0, even while somebody watches', async () => {
    await fleet.shell(home.id, `echo kept > /root/note; nohup ${BACKGROUND} >/dev/null 2>&1 &`);
    const watching = fleet.hostChanges(await fleet.cursor());
    expect(await rookery.stop()).toEqual({ code: 0, signal: null });
    await watching.ended;
    expect(rookery.process.stdout.trimEnd()).toMatch(/Stopped\.$/);
    expect(rookery.process.stderr).toBe('');
    expect(await rookery.process.members()).toEqual([]);
    expect(await processesNaming(place.dataDir)).toEqual([]);
  });

  it('finds hosts and sandboxes as they were at the next start', async () => {
    rookery = await startRookery(story, place);
    expect(rookery.printedPassword).toBeUndefined();
    // The sign-in of before the stop still counts, and so does the password.
    await fleet.waitUntilWell({ hosts: [local], sandboxes: ['home'] });
    await signIn();
    expect(await fleet.shell(home.id, `cat /root/note; pgrep -fc "^${BACKGROUND}"`)).toBe('kept\n1\n');
  });

  it('finds everything again after the control plane was killed', async () => {
    await rookery.kill();
    rookery = await startRookery(story, place);
    await fleet.waitUntilWell({ hosts: [local], sandboxes: ['home'] });
    expect(await fleet.shell(home.id, `cat /root/note; pgrep -fc "^${BACKGROUND}"`)).toBe('kept\n1\n');
  });

  it('leaves nothing on the machine once its sandboxes are destroyed', async () => {
    await fleet.destroySandbox(home.id);
    expect(await rookery.stop()).toEqual({ code: 0, signal: null });
    expect(await story.leftovers()).toEqual(NOTHING);
  });
});
