import { createServer, type Server } from 'node:http';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { joinHost, runJoinCommand } from '../support/agent.ts';
import { Api } from '../support/api.ts';
import { Fleet } from '../support/fleet.ts';
import { freePort } from '../support/machine.ts';
import type { TestProcess } from '../support/process.ts';
import { ADMIN_EMAIL, newPlace, runRookery, startRookery, type Place, type Rookery } from '../support/rookery.ts';
import { NOTHING, Story } from '../support/story.ts';

const ADMIN_PASSWORD = 'correct horse battery';

/** A start that cannot succeed should not keep anyone waiting, in ms. */
const FAILURE_DEADLINE_MS = 30_000;

/** One sentence: a capital or a word first, a full stop last, no line break. */
const SENTENCE = /^\S.*[.]$/;

describe('what cannot start says why in one sentence', () => {
  const story = new Story();
  let first: Rookery;
  let firstPlace: Place;
  let fleet: Fleet;
  let taken: Server;

  beforeAll(async () => {
    taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    firstPlace = await newPlace(story, 'first');
    first = await startRookery(story, firstPlace, { ROOKERY_ADMIN_PASSWORD: ADMIN_PASSWORD });
    fleet = new Fleet(story.use(await Api.signIn(first.url, ADMIN_EMAIL, ADMIN_PASSWORD)));
  });

  afterAll(() => new Promise((closed) => taken.close(closed)));

  /** Waits for a process to fail, and for nothing it started to be left. */
  async function failureOf(failing: TestProcess): Promise<string> {
    const { code } = await failing.closed;
    expect(code).toBeGreaterThan(0);
    expect(await failing.members()).toEqual([]);
    expect(failing.stdout).not.toMatch(/^\s+at /m);
    return failing.stderr.trimEnd();
  }

  const takenPort = (): number => (taken.address() as AddressInfo).port;

  it.each<[string, () => Promise<Record<string, string>>, (place: Place) => string]>([
    [
      'the port of the dashboard is in use',
      async () => ({ ROOKERY_PORT: String(takenPort()) }),
      () => `Port ${takenPort()} for the dashboard is already in use; set ROOKERY_PORT to another one.`,
    ],
    [
      'the port for agents is in use',
      async () => ({ ROOKERY_AGENT_PORT: String(takenPort()) }),
      () => `Port ${takenPort()} for agents is already in use; set ROOKERY_AGENT_PORT to another one.`,
    ],
    [
      'the data directory cannot be written',
      async () => ({ ROOKERY_DATA_DIR: '/proc/nope' }),
      () => 'cannot be written (ENOENT); set ROOKERY_DATA_DIR to one that can.',
    ],
    [
      'another Rookery uses the data directory',
      async () => ({ ROOKERY_DATA_DIR: firstPlace.dataDir }),
      () => `uses the data directory ${firstPlace.dataDir}; stop it or set ROOKERY_DATA_DIR.`,
    ],
    ['DATABASE_URL is not a URL', async () => ({ DATABASE_URL: 'not a url' }), () => 'DATABASE_URL'],
    [
      'the database cannot be reached',
      async () => ({ DATABASE_URL: `postgres://rookery:secret@127.0.0.1:${await freePort()}/rookery` }),
      () => 'database',
    ],
  ])(
    'npm start, when %s',
    async (_case, settings, sentence) => {
      const place = await newPlace(story, randomUUID());
      const failure = await failureOf(runRookery(story, place, await settings()));
      expect(failure).toMatch(SENTENCE);
      expect(failure).toContain(sentence(place));
      expect(failure).not.toContain('secret');
    },
    FAILURE_DEADLINE_MS,
  );

  it('leaves the Rookery alone whose port or data directory others wanted', async () => {
    expect(await fleet.hosts()).toMatchObject([{ kind: 'PLATFORM', status: 'ONLINE', schedulable: true }]);
    expect(first.process.stderr).toBe('');
  });

  it('join, when the token is wrong', async () => {
    const { joinCommand, registrationToken } = await fleet.createByocHost('with-a-wrong-token');
    const wrong = joinCommand.replace(registrationToken, `rkt_${'x'.repeat(43)}`);
    const { process } = await runJoinCommand(story, 'wrong-token', wrong, { ROOKERY_LOG_LEVEL: 'fatal' });
    const failure = await failureOf(process);
    expect(failure).toMatch(SENTENCE);
    expect(failure).toMatch(/^The control plane refused to register this host: .*token/);
  });

  it('join, when another machine has used the token', async () => {
    const { host, joinCommand } = await fleet.createByocHost('only-one');
    const { process: owner } = await joinHost(story, 'one', joinCommand, { ROOKERY_LOG_LEVEL: 'fatal' });
    const { process } = await runJoinCommand(story, 'two', joinCommand, { ROOKERY_LOG_LEVEL: 'fatal' });
    const failure = await failureOf(process);
    expect(failure).toMatch(SENTENCE);
    expect(failure).toMatch(/^The control plane refused to register this host: .*used/);
    expect(await fleet.hosts()).toContainEqual(expect.objectContaining({ id: host.id, status: 'ONLINE' }));
    expect(await owner.stop()).toMatchObject({ code: 0 });
  });

  it('join, when the control plane cannot be reached', async () => {
    const { joinCommand } = await fleet.createByocHost('far-away');
    const there = `http://127.0.0.1:${firstPlace.agentPort}`;
    const nowhere = `http://127.0.0.1:${await freePort()}`;
    const [download, join] = joinCommand.split(' && ');
    const agent = await runJoinCommand(story, 'lost', `${download} && ${join?.replace(there, nowhere)}`, {
      ROOKERY_LOG_LEVEL: 'fatal',
    });
    const failure = await failureOf(agent.process);
    expect(failure).toMatch(SENTENCE);
    expect(failure).toContain(`${nowhere} cannot be reached`);
  });

  it('two Rookeries run at once on one machine, each with its own data directory and ports', async () => {
    const second = await startRookery(story, await newPlace(story, 'second'), {
      ROOKERY_ADMIN_PASSWORD: 'another password',
    });
    await expect(Api.signIn(second.url, ADMIN_EMAIL, ADMIN_PASSWORD)).rejects.toThrow('signing in failed');
    const others = new Fleet(story.use(await Api.signIn(second.url, ADMIN_EMAIL, 'another password')));
    const [here, there] = await Promise.all([fleet.createSandbox('here'), others.createSandbox('there')]);
    expect(await Promise.all([fleet.shell(here.id, 'hostname'), others.shell(there.id, 'hostname')])).toEqual([
      'here\n',
      'there\n',
    ]);
    await Promise.all([fleet.destroySandbox(here.id), others.destroySandbox(there.id)]);
    await Promise.all([first.stop(), second.stop()]);
    expect(await first.process.members()).toEqual([]);
    expect(await second.process.members()).toEqual([]);
    expect(await story.leftovers()).toEqual(NOTHING);
  });
});
