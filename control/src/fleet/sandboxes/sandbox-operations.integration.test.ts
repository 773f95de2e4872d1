import { randomUUID } from 'node:crypto';
import { RookeryError } from '@rookery/wire/errors.ts';
import { GraphQLError } from 'graphql';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { TestFleet } from '../../../test/fleet-fixture.ts';
import { newMember } from '../../../test/harness.ts';
import { exit, running, type ScriptedAgent } from '../../../test/scripted-agent.ts';

let fleet: TestFleet;
let agent: ScriptedAgent;

beforeEach(async () => {
  fleet = await TestFleet.start();
  agent = await fleet.newAgent();
});
afterEach(() => fleet[Symbol.asyncDispose]());

const pause = (id: string, viewer = fleet.admin) => fleet.services.sandboxOperations.pause(viewer, id);
const resume = (id: string, viewer = fleet.admin) => fleet.services.sandboxOperations.resume(viewer, id);

/** The host has paused it because it was idle; `epoch` orders what it says. */
const autoPaused = (id: string, generation: number) => ({
  ...running(id, generation),
  status: 'PAUSED' as const,
  autoPaused: true,
});

describe('pausing', () => {
  test('is carried out by the host, and keeps the place', async () => {
    const { id } = await fleet.createRunning();
    expect((await pause(id)).sandbox).toMatchObject({ status: 'PAUSING', statusReason: 'Paused on request.' });
    await fleet.becomes(id, { status: 'PAUSED', generation: 2, observedGeneration: 2, holdsReservation: true });
    expect(agent.applied.at(-1)).toMatchObject({ generation: 2, spec: { id, desiredState: 'PAUSED' } });
    expect(await fleet.events(id)).toEqual([
      'sandbox.created',
      'sandbox.starting',
      'sandbox.running',
      'sandbox.pause_requested',
      'sandbox.paused',
    ]);
  });

  test('twice, and twice at once, is the same as once', async () => {
    const { id } = await fleet.createRunning();
    await Promise.all([pause(id), pause(id)]);
    await fleet.becomes(id, { status: 'PAUSED' });
    const { sandbox } = await pause(id);
    expect(sandbox).toMatchObject({ status: 'PAUSED', generation: 2 });
    expect((await fleet.events(id)).filter((type) => type === 'sandbox.pause_requested')).toHaveLength(1);
  });

  test('and resuming runs it again', async () => {
    const { id } = await fleet.createRunning();
    await pause(id);
    await fleet.becomes(id, { status: 'PAUSED' });
    expect((await resume(id)).sandbox).toMatchObject({ status: 'RESUMING', pauseCause: null });
    await fleet.becomes(id, { status: 'RUNNING', generation: 3 });
  });

  test('while the host is away is carried out when it returns', async () => {
    const { id } = await fleet.createRunning();
    await fleet.hangUp(agent);
    expect((await pause(id)).sandbox.status).toBe('PAUSING');
    await fleet.dial(agent);
    await fleet.becomes(id, { status: 'PAUSED' });
  });

  test('of what has ended is refused, naming the state', async () => {
    agent.onApply = (spec, generation) => ({ ...running(spec.id, generation), status: 'ERROR', statusReason: 'No.' });
    const { id } = await fleet.create();
    await fleet.becomes(id, { status: 'ERROR' });
    const revision = (await fleet.sandbox(id)).revision;
    await expect(pause(id)).rejects.toMatchObject({ code: 'SANDBOX_NOT_PAUSABLE', status: 'ERROR' });
    await expect(resume(id)).rejects.toMatchObject({ code: 'SANDBOX_NOT_RESUMABLE', message: /in error/ });
    expect((await fleet.sandbox(id)).revision).toBe(revision);
  });

  test('is for the members of its team, and nobody else learns that it exists', async () => {
    const { id } = await fleet.createRunning();
    await expect(pause(id, null as never)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    for (const wish of [pause, resume]) {
      await expect(wish(id, newMember(randomUUID(), 'OWNER'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(wish(randomUUID())).rejects.toMatchObject({ code: 'NOT_FOUND' });
    }
    await pause(id, newMember(fleet.teamId));
    await fleet.becomes(id, { status: 'PAUSED' });
    await resume(id, newMember(fleet.teamId));
    await fleet.becomes(id, { status: 'RUNNING' });
  });

  test('of one that its host cannot pause says why', async () => {
    const { id } = await fleet.createRunning();
    agent.onApply = (spec, generation) => ({
      ...running(spec.id, generation),
      statusReason: 'runc pause: frozen stiff',
    });
    await pause(id);
    await fleet.becomes(id, { status: 'PAUSING', statusReason: 'runc pause: frozen stiff' });
  });
});

describe('a sandbox with a timeout', () => {
  const create = () => fleet.createRunning({ timeoutSeconds: 60 });

  test('is applied with it', async () => {
    const { id } = await create();
    expect(agent.applied).toMatchObject([{ spec: { id, timeoutSeconds: 60 } }]);
    await expect(fleet.create({ timeoutSeconds: 0 })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await expect(fleet.create({ timeoutSeconds: 1.5 })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });

  test('that its host has paused is to be paused, and the host is told so', async () => {
    const { id } = await create();
    await agent.report(false, [autoPaused(id, 1)]);
    await fleet.becomes(id, {
      status: 'PAUSED',
      desiredState: 'PAUSED',
      pauseCause: 'IDLE',
      statusReason: 'Paused after 60 s without activity.',
      observedGeneration: 2,
    });
    expect(agent.applied.at(-1)).toMatchObject({ generation: 2, spec: { desiredState: 'PAUSED' } });
    expect(await fleet.events(id)).toContain('sandbox.auto_paused');
  });

  test('whose acknowledgement gets lost is acknowledged again, and stays paused', async () => {
    const { id } = await create();
    agent.sandboxes.set(id, autoPaused(id, 1));
    agent.onApply = () => {
      agent.hangUp();
      return new Promise(() => {});
    };
    await agent.report(false, [autoPaused(id, 1)]);
    await fleet.hostBecomes(agent.hostId, { tunnelReplica: null });
    agent.onApply = (spec, generation) => ({ ...running(spec.id, generation), status: spec.desiredState });
    await fleet.dial(agent);
    await fleet.becomes(id, { status: 'PAUSED', generation: 2, observedGeneration: 2, pauseCause: 'IDLE' });
  });

  test('that is resumed before its pause was heard of runs', async () => {
    const { id } = await create();
    agent.sandboxes.set(id, autoPaused(id, 1));
    await resume(id);
    await fleet.becomes(id, { generation: 2, observedGeneration: 2 });
    // What was on its way meanwhile.
    await agent.report(false, [autoPaused(id, 1)]);
    expect(await fleet.sandbox(id)).toMatchObject({ status: 'RUNNING', desiredState: 'RUNNING', generation: 2 });
  });

  const printed = async function* () {
    yield exit(0);
  };
  const run = (id: string) => fleet.services.exec.run(fleet.admin, id, { command: ['true'] });

  const streamed = async (id: string) => {
    const last = (await Array.fromAsync(await fleet.services.exec.stream(fleet.admin, id, { command: ['true'] }))).at(
      -1,
    );
    if (last && 'exitCode' in last) return last;
    throw last;
  };

  test.each([
    ['collected', run],
    ['streamed', streamed],
  ])('is resumed by a command whose output is %s', async (_how, run) => {
    const { id } = await create();
    await agent.report(false, [autoPaused(id, 1)]);
    await fleet.becomes(id, { status: 'PAUSED', observedGeneration: 2 });
    agent.onExec = printed;
    expect(await run(id)).toMatchObject({ exitCode: 0 });
    expect(await fleet.sandbox(id)).toMatchObject({ status: 'RUNNING', desiredState: 'RUNNING', generation: 3 });
  });

  test.each([
    ['collected', run],
    ['streamed', streamed],
  ])('is resumed by one whose output is %s also when its pause was not heard of yet', async (_how, run) => {
    const { id } = await create();
    let isPaused = true;
    agent.onApply = (spec, generation) => {
      isPaused = false;
      return running(spec.id, generation);
    };
    agent.onExec = () => {
      if (isPaused) throw new RookeryError('CONFLICT', 'Cannot run a command in a sandbox that is paused.');
      return printed();
    };
    expect(await run(id)).toMatchObject({ exitCode: 0 });
    expect(await fleet.sandbox(id)).toMatchObject({ generation: 2, status: 'RUNNING' });
  });

  test('is not resumed by a command once somebody has paused it', async () => {
    const { id } = await create();
    await agent.report(false, [autoPaused(id, 1)]);
    await fleet.becomes(id, { status: 'PAUSED' });
    await pause(id);
    await expect(run(id)).rejects.toMatchObject({ code: 'SANDBOX_NOT_RUNNING', status: 'PAUSED' });
    expect(await fleet.sandbox(id)).toMatchObject({ status: 'PAUSED', statusReason: 'Paused on request.' });
  });
});

test('control comes to it by itself when a push got lost', async () => {
  const { id } = await fleet.createRunning();
  let answers = 0;
  agent.onApply = (spec, generation) => {
    answers += 1;
    if (answers === 1) throw new GraphQLError('not now');
    return { ...running(spec.id, generation), status: spec.desiredState };
  };
  await pause(id);
  await vi.waitFor(() => expect(answers).toBe(1));
  await fleet.becomes(id, { status: 'PAUSED' });
});
