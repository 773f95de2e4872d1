import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { TestFleet } from '../../../test/fleet-fixture.ts';
import { running, type ObservedSandbox, type ScriptedAgent } from '../../../test/scripted-agent.ts';
import { hostConditions, isSchedulable } from '../hosts/host.state.ts';
import type { Placement } from './placement.ts';

let fleet: TestFleet;

beforeEach(async () => {
  fleet = await TestFleet.start();
});
afterEach(() => fleet[Symbol.asyncDispose]());

type Cause = NonNullable<ObservedSandbox['errorCause']>;

/** From now on every sandbox fails on this host. */
function fail(agent: ScriptedAgent, errorCause: Cause = 'HOST', statusReason = 'runc run: no space left'): void {
  agent.onApply = (spec, generation) => ({
    ...running(spec.id, generation),
    startedAt: null,
    status: 'ERROR',
    errorCause,
    statusReason,
  });
}

function mend(agent: ScriptedAgent): void {
  agent.onApply = (spec, generation) => running(spec.id, generation);
}

describe('a sandbox that its host fails to start', () => {
  test('for the host’s reasons goes to another host, which says why', async () => {
    const [bad, good] = [await fleet.newAgent(), await fleet.newAgent()];
    fail(bad);
    const [first, second] = [await fleet.create(), await fleet.create()];
    for (const { id } of [first, second]) await fleet.becomes(id, { status: 'RUNNING', hostId: good.hostId });
    const moved = (await fleet.sandbox(first.id)).generation > 1 ? first : second;
    expect((await fleet.sandbox(moved.id)).placement as Placement).toMatchObject({
      failedAttempts: [{ hostId: bad.hostId, error: 'runc run: no space left' }],
      rejections: [{ filter: 'FAILED_BEFORE', hosts: 1 }],
    });
    // Nothing is reserved for it on the host it came from, and nothing of it is left there.
    await fleet.hostBecomes(bad.hostId, { allocatedSandboxes: 0, allocatedMilliVcpus: 0, createFailures: 1 });
    await fleet.hostBecomes(good.hostId, { allocatedSandboxes: 2, allocatedMilliVcpus: 200 });
    await vi.waitFor(() => expect(bad.sandboxes.size).toBe(0));
    expect(bad.removed).toEqual([{ id: moved.id, generation: 1 }]);
    expect(await fleet.events(moved.id)).toEqual([
      'sandbox.created',
      'sandbox.starting',
      'sandbox.relocated',
      'sandbox.starting',
      'sandbox.running',
    ]);
  });

  test('does not listen any more to the host it came from', async () => {
    const [bad, good] = [await fleet.newAgent(), await fleet.newAgent()];
    fail(bad);
    const created = [await fleet.create(), await fleet.create()];
    for (const { id } of created) await fleet.becomes(id, { status: 'RUNNING', hostId: good.hostId });
    await bad.report(
      false,
      created.map(({ id }) => ({ ...running(id, 2), status: 'STOPPED' as const })),
    );
    for (const { id } of created) expect((await fleet.sandbox(id)).status).toBe('RUNNING');
  });

  test('for reasons of its own stays where it is, and does not count against the host', async () => {
    const [one, two] = [await fleet.newAgent(), await fleet.newAgent()];
    for (const agent of [one, two]) fail(agent, 'SANDBOX', 'There is no such template.');
    const { id } = await fleet.create();
    await fleet.becomes(id, { status: 'ERROR', statusReason: 'There is no such template.', holdsReservation: false });
    for (const { hostId } of [one, two])
      expect(await fleet.host(hostId)).toMatchObject({ createFailures: 0, allocatedSandboxes: 0 });
  });

  test('that was to be on this host only, or that no other takes, ends there', async () => {
    const bad = await fleet.newAgent();
    fail(bad);
    const alone = await fleet.create();
    await fleet.becomes(alone.id, {
      status: 'ERROR',
      statusReason: 'runc run: no space left',
      holdsReservation: false,
    });
    const other = await fleet.newAgent();
    const pinned = await fleet.create({ hostId: bad.hostId });
    await fleet.becomes(pinned.id, { status: 'ERROR', hostId: bad.hostId });
    for (const { hostId } of [bad, other])
      expect(await fleet.host(hostId)).toMatchObject({ allocatedSandboxes: 0, allocatedMemoryMb: 0 });
  });

  test('on host after host is given up after three', async () => {
    const agents = [await fleet.newAgent(), await fleet.newAgent(), await fleet.newAgent(), await fleet.newAgent()];
    for (const agent of agents) fail(agent);
    const { id } = await fleet.create();
    const { placement } = await fleet.becomes(id, { status: 'ERROR' });
    expect((placement as Placement).failedAttempts).toHaveLength(2);
    expect(agents.reduce((sum, { applied }) => sum + applied.length, 0)).toBe(3);
    for (const { hostId } of agents) expect((await fleet.host(hostId)).allocatedSandboxes).toBe(0);
  });

  test('after it has run is not started anywhere else: its disk is there', async () => {
    const [one] = [await fleet.newAgent(), await fleet.newAgent()];
    const { id } = await fleet.createRunning({ hostId: one.hostId });
    await one.report(false, [{ ...running(id, 1), status: 'ERROR', errorCause: 'HOST', statusReason: 'gone' }]);
    await fleet.becomes(id, { status: 'ERROR', hostId: one.hostId });
  });
});

describe('a host that keeps failing', () => {
  async function failing(): Promise<ScriptedAgent> {
    const agent = await fleet.newAgent();
    fail(agent);
    for (let n = 0; n < 3; n++) {
      const { id } = await fleet.create();
      await fleet.becomes(id, { status: 'ERROR' });
    }
    return agent;
  }

  test('is taken out of placement with the evidence', async () => {
    const agent = await failing();
    const host = await fleet.host(agent.hostId);
    expect(isSchedulable(host)).toBe(false);
    expect(hostConditions(host)).toMatchObject([{ type: 'CREATES_FAILING', message: /last 3 .* no space left/ }]);
    await expect(fleet.create()).rejects.toMatchObject({
      code: 'NO_HOST_FITS',
      rejections: [{ filter: 'CREATES_FAILING', hosts: 1 }],
      never: false,
    });
  });

  test('is let back in when a canary has started on it, and not before', async () => {
    const agent = await failing();
    expect(await fleet.services.canaries.run()).toBe(1);
    expect(await fleet.host(agent.hostId)).toMatchObject({
      createFailures: 4,
      createsFailingSince: expect.any(Date) as Date,
    });
    mend(agent);
    await fleet.services.canaries.run();
    expect(await fleet.host(agent.hostId)).toMatchObject({
      createFailures: 0,
      lastCreateError: null,
      createsFailingSince: null,
      allocatedSandboxes: 0,
    });
    // The canaries are gone, and nobody has ever seen them.
    const canaries = agent.applied.filter(({ spec }) => spec.name === 'canary').map(({ spec }) => spec.id);
    expect(canaries).toHaveLength(2);
    for (const id of canaries) expect(agent.sandboxes.has(id)).toBe(false);
    await fleet.createRunning();
    expect(await fleet.services.canaries.run()).toBe(0);
  });

  test('is forgiven by a success in between', async () => {
    const agent = await fleet.newAgent();
    for (let n = 0; n < 3; n++) {
      fail(agent);
      const { id } = await fleet.create();
      await fleet.becomes(id, { status: 'ERROR' });
      expect((await fleet.host(agent.hostId)).createFailures).toBe(1);
      mend(agent);
      await fleet.createRunning();
      await fleet.hostBecomes(agent.hostId, { createFailures: 0 });
    }
    expect(isSchedulable(await fleet.host(agent.hostId))).toBe(true);
  });
});
