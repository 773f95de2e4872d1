import { execFile } from 'node:child_process';
import { createPublicKey, verify } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { silentLogger } from '@rookery/wire/log.ts';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { AGENT_PROGRAM, AgentMachine, PATIENCE_MS, type AgentProcess } from './agent-process.fixture.ts';
import { readAgentConfig } from './config.ts';
import { leave } from './host/leave.ts';

const run = promisify(execFile);
const TIMEOUT_MS = 90_000;

/** A machine that joins, leaves and comes back by its command line, with the real runc. */
describe('the command line of an agent', () => {
  let machine: AgentMachine;
  let agent: AgentProcess;

  beforeAll(async () => {
    machine = await AgentMachine.create();
  });
  afterAll(async () => {
    await machine[Symbol.asyncDispose]();
  }, TIMEOUT_MS);

  /** Runs a command to its end, as a person with an empty environment would. */
  async function command(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const env = { PATH: process.env['PATH'] };
    return run(process.execPath, [AGENT_PROGRAM, ...args, '--state-dir', machine.stateDir], {
      cwd: machine.stateDir,
      env,
    })
      .then((out) => ({ code: 0, ...out }))
      .catch((error: unknown) => error as { code: number; stdout: string; stderr: string });
  }
  const containers = async () => Object.fromEntries(await (await machine.runtime()).list());
  const hasSecrets = () => [existsSync(machine.state.credentials), existsSync(machine.state.hostKey)];

  it(
    'joins by what a .env file says, and says what a person wants to know and nothing else',
    async () => {
      const settings = `ROOKERY_CONTROL_URL=${machine.control.url}\nROOKERY_REGISTRATION_TOKEN=good-token\n`;
      await writeFile(join(machine.stateDir, '.env'), settings);
      agent = await machine.start(['join']);
      expect(agent.stdout).toBe('Registered as host nest (host-1).\nConnected. This host is online.\n');
      expect(agent.stderr).toBe('');
      expect(await machine.apply()).toMatchObject({ status: 'RUNNING' });
      expect(agent.stderr).toBe('');
    },
    TIMEOUT_MS,
  );

  it('tells a person of trouble in lines that can be read', async () => {
    machine.control.cutChannels();
    await vi.waitFor(() => expect(agent.stderr).toContain('the agent channel is down'), PATIENCE_MS);
    expect(agent.stderr).not.toContain('{"level"');
  });

  it('says what the machine can do, and whether its control plane answers', async () => {
    const { code, stdout } = await command('doctor');
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('running as root') });
    // This one has no health page: something is there, and is not believed to be it.
    expect(stdout).toContain(`FAIL  ${machine.control.url} answers with HTTP 4`);
    expect(stdout).toMatch(/This machine can run sandboxes with runc/);
  });

  it('does not leave under an agent that runs', async () => {
    const refusal = await command('leave');
    expect(refusal).toMatchObject({ code: 1, stdout: '' });
    expect(refusal.stderr).toMatch(/^Another agent \(pid \d+\) already runs on this state directory; .*\n$/);
    expect(machine.control.heard.goodbyes).toEqual([]);
  });

  it(
    'leaves: says goodbye with the host’s signature, drops the credentials and stops nothing',
    async () => {
      await agent.kill('SIGTERM');
      expect(await command('leave')).toEqual({
        code: 0,
        stdout: 'Host host-1 has left its fleet; its credentials are gone from this machine.\n',
        stderr: '',
      });
      expect(hasSecrets()).toEqual([false, false]);
      expect(await containers()).toEqual({ box: 'running' });
      const { heard } = machine.control;
      expect(heard.goodbyes).toHaveLength(1);
      expect(heard.reports.at(-1)).toMatchObject({ full: true, sandboxes: [{ id: 'box', status: 'RUNNING' }] });
      expect(isSigned(heard.goodbyes[0], heard.registrations[0])).toBe(true);
      expect(await command('status')).toMatchObject({ stdout: expect.stringContaining('not registered') });
      // Whoever is not sure may say it again.
      expect(await command('leave')).toEqual({
        code: 0,
        stdout: `This machine has left its fleet already: Host nest (host-1) of ${machine.control.url} has left.\n`,
        stderr: '',
      });
      expect(heard.goodbyes).toHaveLength(1);
    },
    TIMEOUT_MS,
  );

  it(
    'comes back with a new token, and takes its sandboxes over',
    async () => {
      await rm(join(machine.stateDir, '.env'));
      agent = await machine.start(['join', machine.control.url, 'good-token']);
      await vi.waitFor(
        async () => expect((await machine.inventory()).sandboxes).toMatchObject([{ id: 'box', status: 'RUNNING' }]),
        PATIENCE_MS,
      );
      await agent.kill('SIGTERM');
    },
    TIMEOUT_MS,
  );

  it(
    'changes nothing in a quarantine, not even what it was told to destroy: it could be the copy',
    async () => {
      machine.control.refuseRefresh = { reason: 'CREDENTIALS_CLONED' };
      const goodbyes = machine.control.heard.goodbyes.length;
      expect(await command('leave', '--destroy-sandboxes')).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('neither can leave, and nothing was changed'),
      });
      expect(hasSecrets()).toEqual([true, true]);
      expect(await containers()).toEqual({ box: 'running' });
      expect(machine.control.heard.goodbyes).toHaveLength(goodbyes);
      machine.control.refuseRefresh = undefined;
    },
    TIMEOUT_MS,
  );

  it(
    'pauses nothing when control refuses its credentials and its goodbye',
    async () => {
      machine.control.refuseRefresh = {};
      machine.control.refuseGoodbye = true;
      expect(await command('leave')).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/has not taken the goodbye .*; the credentials are kept/),
      });
      expect(hasSecrets()).toEqual([true, true]);
      expect(await containers()).toEqual({ box: 'running' });
      machine.control.refuseGoodbye = false;
      machine.control.refuseRefresh = undefined;
    },
    TIMEOUT_MS,
  );

  it(
    'changes nothing when control cannot be told, unless it is forced to',
    async () => {
      await machine.control.stop();
      const options = { destroySandboxes: true, force: false, say: () => {}, log: silentLogger(), patienceMs: 1_000 };
      await expect(leave(readAgentConfig({}, machine.stateDir), options)).rejects.toThrow(/nothing was changed/);
      expect(hasSecrets()).toEqual([true, true]);
      expect(await containers()).toEqual({ box: 'running' });
      expect(await command('leave', '--force')).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('could not be told'),
      });
      expect(hasSecrets()).toEqual([false, false]);
      expect(await containers()).toEqual({ box: 'running' });
      await machine.control.start();
    },
    TIMEOUT_MS,
  );

  it(
    'destroys the sandboxes on request, and tells control so before it leaves',
    async () => {
      agent = await machine.start(['join', machine.control.url, 'good-token']);
      await agent.kill('SIGTERM');
      expect(await command('leave', '--destroy-sandboxes')).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/^Destroyed one sandbox\.\nHost host-1 has left its fleet/),
      });
      expect(await containers()).toEqual({});
      expect(machine.control.heard.reports.at(-1)).toMatchObject({ full: true, sandboxes: [] });
      expect(existsSync(`/sys/fs/cgroup/pids/rookery-${machine.state.instance}`)).toBe(false);
    },
    TIMEOUT_MS,
  );

  it('prints a service for this machine, in which sandboxes outlive the agent', async () => {
    const { code, stdout } = await command('systemd-unit');
    expect(code).toBe(0);
    expect(stdout).toContain(`\nExecStart=${process.execPath} ${AGENT_PROGRAM} run --state-dir ${machine.stateDir}\n`);
    expect(stdout).toContain(`\nConditionPathExists=${machine.stateDir}/credentials.json\n`);
    expect(stdout).toContain('\nKillMode=process\n');
    expect(stdout).not.toMatch(/@\w+@/);
  });

  /** Whether a goodbye is signed by the key that was registered. */
  function isSigned(
    goodbye: Record<string, unknown> | undefined,
    registration: Record<string, unknown> | undefined,
  ): boolean {
    const [header = '', payload = '', signature = ''] = String(goodbye?.['proof']).split('.');
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: String(registration?.['publicKey']) };
    const key = createPublicKey({ key: jwk, format: 'jwk' });
    expect(JSON.parse(Buffer.from(payload, 'base64url').toString())).toMatchObject({ purpose: 'leave' });
    return verify(null, Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url'));
  }
});
