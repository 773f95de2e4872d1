import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { newOciRuntime, newSimulatedRuntime, collect, type RuntimeFixture } from './runtime.fixture.ts';
import type { Runtime } from './runtime.ts';

const spec = (id: string) => ({ id, name: `box ${id}`, template: 'host', vcpus: 1, memoryMb: 128, diskMb: 64 });
const request = (...command: string[]) => ({ command, timeoutMs: 10_000, maxOutputBytes: 100_000 });

const implementations: [string, () => Promise<RuntimeFixture>][] = [
  ['SimulatedRuntime', async () => newSimulatedRuntime()],
  ['OciRuntime over runc', newOciRuntime],
];

describe.each(implementations)('%s', (_name, make) => {
  let fixture: RuntimeFixture;
  let runtime: Runtime;

  beforeAll(async () => {
    fixture = await make();
    runtime = fixture.runtime;
    await runtime.create(spec('shared'));
  });

  afterAll(async () => {
    await fixture[Symbol.asyncDispose]();
  });

  it('creates a container that runs and is listed', async () => {
    await runtime.create(spec('fresh'));
    expect(await runtime.state('fresh')).toBe('running');
    expect((await runtime.list()).get('fresh')).toBe('running');
    await runtime.remove('fresh');
  });

  it('refuses a template it does not have', async () => {
    await expect(runtime.create({ ...spec('odd'), template: 'nope' })).rejects.toThrow('no template "nope"');
    expect(await runtime.state('odd')).toBe('absent');
  });

  it('streams what a command prints and ends with its exit code', async () => {
    const run = await collect(runtime.exec('shared', request('echo', 'hello', 'there')));
    expect(run).toMatchObject({
      stdout: 'hello there\n',
      stderr: '',
      exitCode: 0,
      signal: null,
      timedOut: false,
      truncated: false,
    });
    expect(await collect(runtime.exec('shared', request('sh', '-c', 'exit 7')))).toMatchObject({ exitCode: 7 });
  });

  it('passes standard input', async () => {
    expect(await collect(runtime.exec('shared', { ...request('cat'), stdin: 'given\n' }))).toMatchObject({
      stdout: 'given\n',
    });
  });

  it('reports a command that does not exist like a shell does', async () => {
    expect(await collect(runtime.exec('shared', request('no-such-program')))).toMatchObject({ exitCode: 127 });
  });

  it('starts each of many commands that come and go at the same time', async () => {
    const runs = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const codes: (number | null)[] = [];
        for (let i = 0; i < 12; i++) codes.push((await collect(runtime.exec('shared', request('true')))).exitCode);
        return codes;
      }),
    );
    expect(runs.flat()).toEqual(Array.from({ length: 96 }, () => 0));
  });

  it('cuts output at its limit and says so', async () => {
    const run = await collect(runtime.exec('shared', { ...request('echo', 'x'.repeat(1_000)), maxOutputBytes: 10 }));
    expect(run).toMatchObject({ stdout: 'x'.repeat(10), truncated: true, exitCode: 0 });
  });

  it('kills a command at its timeout', async () => {
    const run = await collect(runtime.exec('shared', { ...request('sleep', '60'), timeoutMs: 200 }));
    expect(run).toMatchObject({ timedOut: true, exitCode: null, signal: 'SIGKILL' });
  });

  it('lets a consumer leave early', async () => {
    const stream = runtime.exec('shared', request('sleep', '60'));
    const pending = stream.next();
    await stream.return?.();
    expect((await pending).done).toBe(true);
  });

  it('pauses and resumes, both idempotently, and refuses commands in between', async () => {
    await runtime.pause('shared');
    await runtime.pause('shared');
    expect(await runtime.state('shared')).toBe('paused');
    await expect(collect(runtime.exec('shared', request('true')))).rejects.toThrow('paused');
    await runtime.resume('shared');
    await runtime.resume('shared');
    expect(await runtime.state('shared')).toBe('running');
    expect(await collect(runtime.exec('shared', request('true')))).toMatchObject({ exitCode: 0 });
  });

  it('removes running and paused containers, and what is not there', async () => {
    await runtime.create(spec('a'));
    await runtime.create(spec('b'));
    await runtime.pause('b');
    await Promise.all([runtime.remove('a'), runtime.remove('b')]);
    await runtime.remove('a');
    await runtime.discard('a');
    expect(await runtime.state('a')).toBe('absent');
    expect(await runtime.state('b')).toBe('absent');
  });

  it('ends what a killed agent was running, and nothing that the next one runs', async () => {
    const request61 = request('sleep', '61');
    const isRunning = await fixture.abandon('shared', { ...request61, timeoutMs: 120_000 });
    expect(await isRunning()).toBe(true);
    const mine = runtime.exec('shared', { ...request('sleep', '62'), timeoutMs: 120_000 });
    const pending = mine.next();
    await runtime.endAbandonedExecs('shared');
    await vi.waitFor(async () => expect(await isRunning()).toBe(false), 5_000);
    expect(await Promise.race([pending, collect(runtime.exec('shared', request('true')))])).toMatchObject({
      exitCode: 0,
      stdout: '',
    });
    await mine.return?.();
    await runtime.endAbandonedExecs('shared');
    await runtime.endAbandonedExecs('absent');
  });

  it('refuses commands in a container that is not there', async () => {
    await expect(collect(runtime.exec('absent', request('true')))).rejects.toThrow('not running');
  });
});

describe('OciRuntime over runc', () => {
  let fixture: RuntimeFixture;
  let runtime: Runtime;
  const sh = (script: string, options = {}) =>
    collect(runtime.exec('box', { ...request('sh', '-c', script), ...options }));

  beforeAll(async () => {
    fixture = await newOciRuntime();
    runtime = fixture.runtime;
    await runtime.create(spec('box'));
  });

  afterAll(async () => {
    await fixture[Symbol.asyncDispose]();
  });

  it('runs the real program and not a builtin of a shell', async () => {
    expect(await collect(runtime.exec('box', request('echo', String.raw`a\nb`)))).toMatchObject({ stdout: 'a\\nb\n' });
  });

  it('knows its own name, as far as it can be a host name', async () => {
    const { stdout } = await sh('hostname; cat /etc/hostname; grep -c "localhost box" /etc/hosts');
    expect(spec('box').name).toBe('box box');
    expect(stdout).toBe('box-box\nbox-box\n2\n');
  });

  it('answers although the command left a process behind that holds its output', async () => {
    const run = await sh('sleep 300 & echo started');
    expect(run).toMatchObject({ stdout: 'started\n', exitCode: 0 });
    expect((await sh('pgrep -x sleep | wc -l')).stdout.trim()).toBe('2');
    await sh('pkill -f "sleep 300"');
  });

  it.each([
    ['no-such-program', 127, 'no-such-program: not found\n'],
    ['/etc/passwd', 126, '/etc/passwd: not executable\n'],
    ['/tmp', 126, '/tmp: not executable\n'],
  ])('says in one line that %s cannot be run', async (program, exitCode, stderr) => {
    expect(await collect(runtime.exec('box', request(program)))).toMatchObject({ exitCode, stdout: '', stderr });
  });

  it.each([
    ['KILL', 137, 'SIGKILL'],
    ['TERM', 143, 'SIGTERM'],
    ['SEGV', 139, 'SIGSEGV'],
  ])('adds no words of its own to what a command killed by %s has printed', async (name, exitCode, signal) => {
    const run = await sh(`echo last words >&2; kill -${name} $$`);
    expect(run).toMatchObject({ exitCode, signal, stdout: '', stderr: 'last words\n' });
  });

  it('refuses what is too long to be started, and gives no output of the runtime for the command’s', async () => {
    const long = collect(runtime.exec('box', request('echo', 'x'.repeat(131_072))));
    await expect(long).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    const nowhere = runtime.exec('box', { ...request('pwd'), cwd: '/nowhere' });
    await expect(nowhere.next()).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
  });

  it('leaves alone what a finished command has left behind when it ends what a killed agent was running', async () => {
    await fixture.abandon('box', { ...request('sh', '-c', 'echo up; sleep 811'), timeoutMs: 120_000 });
    await sh('nohup sleep 812 >/dev/null 2>&1 &');
    expect((await sh('pgrep -f "^sleep 81" | wc -l')).stdout.trim()).toBe('2');
    await runtime.endAbandonedExecs('box');
    expect((await sh('pgrep -fa "^sleep 81"')).stdout).toContain('sleep 812');
    expect((await sh('pgrep -f "^sleep 811" | wc -l')).stdout.trim()).toBe('0');
    expect(await readdir(`${fixture.root}/containers/box`)).not.toContainEqual(expect.stringMatching(/^exec-/));
    await sh('pkill -f "^sleep 812"');
  });

  it('kills everything that a cancelled command has started, however it hid', async () => {
    const stream = runtime.exec(
      'box',
      request('sh', '-c', 'setsid sh -c "sleep 777 & sleep 777" & (sleep 777 &) ; echo up; sleep 777'),
    );
    expect((await stream.next()).value).toMatchObject({ kind: 'STDOUT' });
    await stream.return?.();
    expect((await sh('pgrep -f "^sleep 777" | wc -l')).stdout.trim()).toBe('0');
  });

  it('reaps orphans', async () => {
    await sh('for i in 1 2 3; do (sleep 0.01 &) ; done');
    await vi.waitFor(async () => expect((await sh('ps -eo stat= | grep -c ^Z')).stdout.trim()).toBe('0'));
  });

  it('limits the disk', async () => {
    const run = await sh('head -c 100M /dev/zero > /root/big; echo "exit $?"; rm -f /root/big');
    expect(run.stderr).toContain('No space left');
    expect(run.stdout).toContain('exit 1');
  });

  it('limits memory, and survives its end', async () => {
    const run = await sh('head -c 400M /dev/zero | tail -c 400M | wc -c', { timeoutMs: 20_000 });
    expect(run.stdout.trim()).not.toBe(String(400 * 1024 ** 2));
    expect(await runtime.state('box')).toBe('running');
  });

  it('limits processes', async () => {
    expect((await sh('for i in $(seq 600); do sleep 1 & done; wait')).stderr).toMatch(/cannot fork/i);
    await vi.waitFor(async () => expect((await sh('pgrep -x sleep | wc -l')).stdout.trim()).toBe('1'), 5_000);
  });

  it('has no network but its own loopback', async () => {
    expect((await sh('cat /proc/net/dev | tail -n +3 | cut -d: -f1')).stdout.trim()).toBe('lo');
  });

  it('cannot write to the host, mount, make devices or enter namespaces', async () => {
    expect((await sh('touch /usr/bin/evil')).stderr).toContain('Read-only file system');
    expect((await sh('mount -t tmpfs none /mnt')).exitCode).not.toBe(0);
    expect((await sh('mknod /root/sda b 8 0')).exitCode).not.toBe(0);
    expect((await sh('unshare -Ur true')).exitCode).not.toBe(0);
    expect((await sh('echo 1 > /proc/sys/kernel/panic')).exitCode).not.toBe(0);
    expect((await sh('grep CapEff /proc/self/status')).stdout).toMatch(/0{16}/);
    expect((await sh('grep -E "Seccomp:|NoNewPrivs" /proc/self/status')).stdout).toMatch(/NoNewPrivs:\s1\nSeccomp:\s2/);
  });

  it('writes where a sandbox writes', async () => {
    const run = await sh(
      'cd /root && echo a > b && mkdir -p /opt/x /var/lib/y && cp b /tmp/c && ln -s b d && chmod 700 d && cat d; hostname; whoami; pwd',
    );
    expect(run).toMatchObject({ stdout: 'a\nbox-box\nroot\n/root\n', stderr: '', exitCode: 0 });
  });

  it('sees only its own processes', async () => {
    expect((await sh('ps -eo pid= | wc -l')).stdout.trim()).toMatch(/^[3-9]$/);
  });

  it('holds a command back that prints faster than it is read', async () => {
    const stream = runtime.exec('box', {
      ...request('sh', '-c', 'yes | head -c 50M; echo done > /tmp/done'),
      maxOutputBytes: 1e9,
    });
    await stream.next();
    expect((await sh('cat /tmp/done')).exitCode).toBe(1);
    let bytes = 2;
    for await (const event of stream) if (event.kind === 'STDOUT') bytes += event.data.length;
    expect(bytes).toBeGreaterThan(50 * 1024 ** 2 - 70_000);
  });

  it('leaves nothing of a container that could not be started', async () => {
    await expect(runtime.create({ ...spec('broken'), memoryMb: 1 })).rejects.toThrow('runc');
    expect(await runtime.state('broken')).toBe('absent');
    expect(existsSync(`${fixture.root}/containers/broken`)).toBe(false);
  });

  it('keeps the disk when only the container is discarded', async () => {
    await runtime.create(spec('kept'));
    await collect(runtime.exec('kept', request('sh', '-c', 'echo still here > /root/note')));
    await runtime.discard('kept');
    await runtime.create(spec('kept'));
    expect(await collect(runtime.exec('kept', request('cat', '/root/note')))).toMatchObject({ stdout: 'still here\n' });
    await runtime.remove('kept');
  });
});
