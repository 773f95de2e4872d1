import { existsSync } from 'node:fs';
import { silentLogger } from '@rookery/wire/log.ts';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ask, newDirectory, newTestControl, type TestControl } from '../agent.fixture.ts';
import { createAgent } from '../app.ts';
import { readAgentConfig } from '../config.ts';
import { fixedRuntime } from '../runtime/runtime-finder.ts';
import { SimulatedRuntime } from '../runtime/simulated-runtime.ts';
import { leave } from './leave.ts';

const DEADLINE_MS = 20_000;
const APPLY = `mutation {
  applySandbox(spec: { id: "box", name: "box", template: "host", vcpus: 1, memoryMb: 128, diskMb: 64, desiredState: RUNNING }, generation: 1) { status }
}`;

describe('leaving a control plane that takes no report, for it believes that another agent is connected', () => {
  let control: TestControl;
  let directory: Awaited<ReturnType<typeof newDirectory>>;
  let runtime: SimulatedRuntime;
  let said: string[];

  beforeEach(async () => {
    control = await newTestControl();
    control.nextHeartbeatMs = 250;
    directory = await newDirectory();
    runtime = new SimulatedRuntime();
    said = [];
    const agent = await createAgent({
      config: readAgentConfig({}, directory.path),
      log: silentLogger(),
      say: () => {},
      finder: fixedRuntime(runtime),
      join: { controlUrl: control.url, token: 'good-token' },
    });
    await agent.online;
    await ask(await control.tunnel(), APPLY);
    await agent[Symbol.asyncDispose]();
    control.heard.reports.length = 0;
    control.refuseReports = true;
  });
  afterEach(async () => {
    await control[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  const leaveFleet = (options: { force?: boolean; patienceMs?: number } = {}) =>
    leave(readAgentConfig({}, directory.path), {
      destroySandboxes: true,
      force: false,
      say: (sentence) => said.push(sentence),
      log: silentLogger(),
      finder: fixedRuntime(runtime),
      patienceMs: DEADLINE_MS,
      ...options,
    });
  const hasCredentials = () => existsSync(`${directory.path}/credentials.json`);
  const fullReports = () => control.heard.reports.filter(({ full }) => full);

  it('says goodbye when control has heard what was destroyed, and not before', async () => {
    const leaving = leaveFleet();
    await vi.waitFor(() => expect(fullReports().length).toBeGreaterThan(1), DEADLINE_MS);
    expect(control.heard.goodbyes).toEqual([]);
    control.refuseReports = false;
    expect(await leaving).toBe(0);
    expect(control.heard.reports.at(-1)).toMatchObject({ full: true, sandboxes: [] });
    expect(control.heard.goodbyes).toHaveLength(1);
    expect(said.at(-1)).toMatch(/has left its fleet/);
  });

  it('keeps the credentials when it does not come to that, so that it can be said again', async () => {
    await expect(leaveFleet({ patienceMs: 4_000 })).rejects.toThrow(
      /has not taken the last report \(.*Another agent.*\); the credentials are kept, try again/,
    );
    expect(control.heard.goodbyes).toEqual([]);
    expect(hasCredentials()).toBe(true);
    control.refuseReports = false;
    expect(await leaveFleet()).toBe(0);
    expect(control.heard.reports.at(-1)).toMatchObject({ full: true, sandboxes: [] });
    expect(hasCredentials()).toBe(false);
  });

  it('leaves all the same when it is forced to', async () => {
    expect(await leaveFleet({ force: true, patienceMs: 4_000 })).toBe(0);
    expect(fullReports().length).toBeGreaterThan(0);
    expect(control.heard.goodbyes).toHaveLength(1);
    expect(hasCredentials()).toBe(false);
  });
});
