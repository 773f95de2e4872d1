import { describe, expect, it } from 'vitest';
import { newSocket } from '#lib/live/socket.fixture.ts';
import { LOST, runCommand } from './command-stream.ts';

function start() {
  const socket = newSocket();
  const abort = new AbortController();
  const printed: string[] = [];
  const end = runCommand(
    socket.client,
    { sandboxId: 's', command: ['/bin/sh', '-c', 'ls'] },
    ({ data }) => printed.push(data),
    abort.signal,
  );
  const [stream] = socket.streams;
  const event = (sandboxExec: object) => stream!.sink.next({ data: { sandboxExec } });
  const chunk = (data: string) => event({ __typename: 'ExecOutputChunk', stream: 'STDOUT', data });
  return { ...socket, abort, printed, end, stream: stream!, event, chunk };
}

describe('a streamed command', () => {
  it('hands out what is printed, and then how it ended', async () => {
    const { stream, chunk, event, printed, end } = start();
    expect(stream.payload.variables).toEqual({ input: { sandboxId: 's', command: ['/bin/sh', '-c', 'ls'] } });
    chunk('YQ==');
    chunk('Yg==');
    const exit = { __typename: 'ExecExited', exitCode: 3, signal: null, timedOut: false };
    event(exit);
    stream.sink.complete();
    expect(await end).toEqual({ kind: 'exited', exit });
    expect(printed).toEqual(['YQ==', 'Yg==']);
  });

  it('is left when it is stopped, and hands out nothing after that', async () => {
    const { chunk, abort, printed, end } = start();
    abort.abort();
    chunk('YQ==');
    expect(await end).toEqual({ kind: 'stopped' });
    expect(printed).toEqual([]);
  });

  it('says why it did not run', async () => {
    const { event, stream, end } = start();
    event({ __typename: 'SandboxNotRunning', message: 'It is paused.' });
    stream.sink.complete();
    expect(await end).toEqual({ kind: 'failed', message: 'It is paused.' });
  });

  it.each([
    ['the socket is lost', { code: 1006, reason: '' }, LOST],
    ['the session ends', { code: 4401, reason: 'Unauthorized' }, 'The session is over.'],
    ['the server refuses', [{ message: 'Too many.', extensions: { code: 'CONFLICT' } }], 'Too many.'],
  ])('says what happened when %s', async (_what, reason, message) => {
    const { stream, end } = start();
    stream.sink.error(reason);
    expect(await end).toEqual({ kind: 'failed', message });
  });

  it('does not take a stream that just ends for a command that went well', async () => {
    const { chunk, stream, end } = start();
    chunk('YQ==');
    stream.sink.complete();
    expect(await end).toEqual({ kind: 'failed', message: LOST });
  });
});
