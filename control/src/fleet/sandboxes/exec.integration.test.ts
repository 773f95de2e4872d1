import { RookeryError } from '@rookery/wire/errors.ts';
import { PushIterator } from '@rookery/wire/push-iterator.ts';
import { SendWindow, STREAM_MESSAGE_BYTES, windowed } from '@rookery/wire/stream-window.ts';
import { parse } from 'graphql';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { newAdmin, newMember, PASSWORD, startTestControl } from '../../../test/harness.ts';
import { exit, output, ScriptedAgent, type ScriptedExecEvent } from '../../../test/scripted-agent.ts';
import type { Control } from '../../app.ts';
import type { FleetTables } from '../tables.ts';
import type { ExecInput } from '../tunnels/generated/agent-operations.ts';
import type { ExecService, ExecStreamItem } from './exec.service.ts';

describe('commands in sandboxes', () => {
  const admin = newAdmin();
  let control: Control;
  let agent: ScriptedAgent;
  let exec: ExecService;
  let sandboxId: string;
  let teamId: string;

  beforeAll(async () => {
    control = await startTestControl();
    ({ exec } = control.fleet.services);
    const { registrationToken } = await control.fleet.services.hosts.createLocal('scripted');
    agent = await ScriptedAgent.join(control.agentUrl, registrationToken);
    await tunnelIs(expect.any(String));
    const team = await control.database
      .as<FleetTables & { Team: { id: string } }>()
      .query.selectFrom('Team')
      .select('id')
      .executeTakeFirstOrThrow();
    teamId = team.id;
    const { sandbox } = await control.fleet.services.sandboxes.create(admin, { teamId });
    sandboxId = sandbox.id;
  });
  afterAll(async () => {
    await agent[Symbol.asyncDispose]();
    await control[Symbol.asyncDispose]();
  });

  async function tunnelIs(tunnelReplica: unknown): Promise<void> {
    await vi.waitFor(
      async () =>
        expect(await control.fleet.services.hosts.findForControl(agent.hostId)).toMatchObject({ tunnelReplica }),
      10_000,
    );
  }

  /** A command that says what the test pushes, and tells when it is cancelled. */
  function scripted() {
    let cancelled = false;
    const events = new PushIterator<ScriptedExecEvent>(() => void (cancelled = true));
    let input: ExecInput | undefined;
    agent.onExec = (given) => {
      input = given;
      return events;
    };
    return { events, input: () => input as ExecInput, cancelled: () => cancelled };
  }

  const prints = (...events: ScriptedExecEvent[]): void => {
    agent.onExec = () => events.values() as never;
  };
  const run = (input: object = {}) => exec.run(admin, sandboxId, { command: ['it'], ...input });
  const stream = (input: object = {}) => exec.stream(admin, sandboxId, { command: ['it'], ...input });

  it('streams what a command prints, in order, and ends with how it ended', async () => {
    prints(output('one'), output('two', 'STDERR'), output('three'), exit(3));
    const items: ExecStreamItem[] = [];
    for await (const item of await stream()) items.push(item);
    expect(items).toEqual([
      { kind: 'STDOUT', data: Buffer.from('one') },
      { kind: 'STDERR', data: Buffer.from('two') },
      { kind: 'STDOUT', data: Buffer.from('three') },
      { kind: 'EXIT', exitCode: 3, signal: null, timedOut: false, truncated: false },
    ]);
  });

  it('offers the same by the public schema, with failures as events', async () => {
    prints(output('Grüße'), exit(null, { signal: 'SIGKILL', timedOut: true }));
    const document = parse(`subscription ($input: SandboxExecInput!) { sandboxExec(input: $input) {
      __typename
      ... on ExecOutputChunk { stream data }
      ... on ExecExited { exitCode signal timedOut }
      ... on UserError { code message path }
    } }`);
    const { token } = await signIn();
    const ask = async (id: string, command: string[]) => {
      const result = await control.execute(
        'fleet',
        { document, variables: { input: { sandboxId: Buffer.from(`Sandbox:${id}`).toString('base64'), command } } },
        { token },
      );
      if (!(Symbol.asyncIterator in result)) return [result];
      const events: unknown[] = [];
      for await (const { data, errors } of result) events.push(errors ?? data?.['sandboxExec']);
      return events;
    };
    expect(await ask(sandboxId, ['it'])).toEqual([
      { __typename: 'ExecOutputChunk', stream: 'STDOUT', data: Buffer.from('Grüße').toString('base64') },
      { __typename: 'ExecExited', exitCode: 137, signal: 'SIGKILL', timedOut: true },
    ]);
    expect(await ask(sandboxId, [])).toMatchObject([
      { __typename: 'InvalidInput', code: 'INVALID_INPUT', path: ['input', 'command'] },
    ]);
    expect(await ask('00000000-0000-0000-0000-000000000001', ['it'])).toMatchObject([{ __typename: 'NotFound' }]);
  });

  async function signIn(): Promise<{ token: string }> {
    const document = parse(
      'mutation ($input: SignInInput!) { signIn(input: $input) { ... on SignedIn { token } ... on UserError { message } } }',
    );
    const input = { email: 'admin@rookery.local', password: PASSWORD };
    const result = await control.execute('accounts', { document, variables: { input } }, {});
    return (result as { data: { signIn: { token: string } } }).data.signIn;
  }

  it('lets a command run ahead of its reader by a window and no further, and on when it is read', async () => {
    let sent = 0;
    agent.onExec = ({ windowBytes }) => {
      const window = new SendWindow(windowBytes ?? 0);
      const endless: AsyncIterator<ScriptedExecEvent> = {
        next: async () => ({ done: false, value: output(Buffer.alloc(8_192)) }),
        return: async () => ({ done: true, value: undefined }),
      };
      stopAcknowledging = followAcknowledgements(window);
      return windowed(endless, window, ({ data }) => {
        const size = Buffer.from(data ?? '', 'base64').length;
        sent += size;
        return size + STREAM_MESSAGE_BYTES;
      });
    };
    let stopAcknowledging = (): void => {};
    const events = await stream();
    await events.next();
    // Nobody reads: the flow stops.
    await vi.waitFor(() => expect(sent).toBeGreaterThan(200_000), 10_000);
    const stopped = await settled(() => sent);
    expect(stopped).toBeLessThan(300_000);
    for (let read = 0; read < 100; read++) await events.next();
    await vi.waitFor(() => expect(sent).toBeGreaterThan(stopped + 400_000), 10_000);
    await events.return?.();
    stopAcknowledging();
  });

  /** Hands on what control acknowledges, as an agent does. */
  function followAcknowledgements(window: SendWindow): () => void {
    const timer = setInterval(() => {
      for (const { consumedBytes } of agent.acknowledged.splice(0)) window.acknowledge(consumedBytes);
    }, 5);
    return () => clearInterval(timer);
  }

  /** A figure once it has not changed for a while. */
  async function settled(figure: () => number): Promise<number> {
    let last = Number.NaN;
    await vi.waitFor(
      () => {
        const before = last;
        last = figure();
        expect(last).toBe(before);
      },
      { interval: 300, timeout: 10_000 },
    );
    return last;
  }

  it('leaves a host that sends more than it may, instead of taking it all', async () => {
    const { events, cancelled } = scripted();
    const reading = await stream();
    for (let sent = 0; sent < 100; sent++) events.push(output(Buffer.alloc(65_536)));
    await vi.waitFor(() => expect(cancelled()).toBe(true), 10_000);
    const items: ExecStreamItem[] = [];
    for await (const item of reading) items.push(item);
    expect(items.at(-1)).toMatchObject({ code: 'HOST_UNAVAILABLE' });
    expect(items.length).toBeLessThan(100);
  });

  it('hands out large pieces in small ones', async () => {
    const whole = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 251));
    prints(output(whole), exit(0));
    const pieces: Buffer[] = [];
    for await (const item of await stream()) if ('data' in item) pieces.push(item.data);
    expect(Math.max(...pieces.map(({ length }) => length))).toBe(32 * 1024);
    expect(Buffer.concat(pieces).equals(whole)).toBe(true);
  });

  it('kills a command whose reader leaves', async () => {
    const { events, cancelled } = scripted();
    events.push(output('up'));
    const reading = await stream();
    expect(await reading.next()).toMatchObject({ value: { kind: 'STDOUT' } });
    const pending = reading.next();
    await reading.return?.();
    expect(await pending).toEqual({ done: true, value: undefined });
    await vi.waitFor(() => expect(cancelled()).toBe(true), 10_000);
  });

  it('lets a stream go on for as long as its viewer may run commands in the sandbox, whatever else changes', async () => {
    scripted();
    const reading = await stream();
    expect(reading.mayGoOn(admin)).toBe(true);
    expect(reading.mayGoOn(newMember(teamId))).toBe(true);
    expect(reading.mayGoOn(newMember('00000000-0000-0000-0000-000000000001'))).toBe(false);
    expect(reading.mayGoOn(null)).toBe(false);
    await reading.return?.();
  });

  it('collects through the same path, and says 137 for what the host has killed', async () => {
    prints(output('a'), output('b', 'STDERR'), exit(null, { timedOut: true, signal: 'SIGKILL' }));
    expect(await run()).toMatchObject({ stdout: 'a', stderr: 'b', exitCode: 137, signal: 'SIGKILL', timedOut: true });
    const { input, events } = scripted();
    events.push(exit(0));
    await run({ timeoutSeconds: 7 });
    expect(input()).toMatchObject({ timeoutMs: 7_000, maxOutputBytes: 1024 * 1024, windowBytes: expect.any(Number) });
  });

  it.each([
    ['BAD_USER_INPUT', { code: 'INVALID_INPUT', message: 'No such directory.', path: ['input'] }],
    ['CONFLICT', { code: 'SANDBOX_NOT_RUNNING' }],
    ['NOT_FOUND', { code: 'SANDBOX_NOT_RUNNING' }],
    ['UNAVAILABLE', { code: 'HOST_UNAVAILABLE' }],
  ] as const)('tells a host’s %s as what the caller can handle', async (code, expected) => {
    agent.onExec = () => ({ next: () => Promise.reject(new RookeryError(code, 'No such directory.')) });
    await expect(run()).rejects.toMatchObject(expected);
    const items: ExecStreamItem[] = [];
    for await (const item of await stream()) items.push(item);
    expect(items).toMatchObject([expected]);
  });

  it.each([
    ['an argument', { command: ['x', 'ä'.repeat(65_001)] }, ['input', 'command', '1']],
    ['a variable', { env: [{ name: 'X', value: 'ä'.repeat(65_000) }] }, ['input', 'env', '0']],
    ['all arguments together', { command: Array<string>(10).fill('x'.repeat(129_000)) }, ['input', 'command']],
    ['the input', { stdin: 'ä'.repeat(524_289) }, ['input', 'stdin']],
    ['the message to the host', { stdin: '\u0001'.repeat(400_000) }, ['input', 'stdin']],
  ])('counts %s in bytes and refuses what a machine would not take', async (_what, input, path) => {
    prints(exit(0));
    await expect(run(input)).rejects.toMatchObject({ code: 'INVALID_INPUT', path });
  });

  it('passes on what is just short enough', async () => {
    prints(exit(0));
    const command = [...Array<string>(7).fill('x'.repeat(130_000)), '\u0001'.repeat(80_000)];
    expect(await run({ command })).toMatchObject({ exitCode: 0 });
    expect(await run({ stdin: 'ä'.repeat(524_288) })).toMatchObject({ exitCode: 0 });
  });

  it('says that the host was lost when it was, in the middle of a stream, and hangs on nothing', async () => {
    const { events } = scripted();
    events.push(output('up'));
    const reading = await stream();
    await reading.next();
    agent.hangUp();
    expect(await reading.next()).toMatchObject({ value: { code: 'HOST_UNAVAILABLE' } });
    expect(await reading.next()).toEqual({ done: true, value: undefined });
    await tunnelIs(null);
    await expect(run()).rejects.toMatchObject({ code: 'HOST_UNAVAILABLE' });
  });
});
