import { describe, expect, it, vi } from 'vitest';
import { ApiError } from '#lib/gql/errors.ts';
import { newSocket } from '#lib/live/socket.fixture.ts';
import { watchTeams } from './team-watch.ts';

function newWatch({ readCursor = vi.fn(async () => 'c0'), onRightsChanged = vi.fn(async () => {}) } = {}) {
  const socket = newSocket();
  const onTeam = vi.fn();
  const onUnauthorized = vi.fn();
  const abort = new AbortController();
  const ended = watchTeams(
    { socket: socket.client, readCursor, onTeam, onRightsChanged, onUnauthorized },
    abort.signal,
  );
  const subscribed = (times: number) =>
    vi.waitFor(() => expect(socket.streams).toHaveLength(times), { timeout: 3_000 });
  return { socket, readCursor, onRightsChanged, onTeam, onUnauthorized, abort, ended, subscribed };
}

describe('watching the viewer’s teams', () => {
  it('takes the cursor before it reads the rights, so that no change falls in between', async () => {
    const { readCursor, onRightsChanged, socket, subscribed, abort, ended } = newWatch();
    await subscribed(1);
    expect(readCursor.mock.invocationCallOrder[0]).toBeLessThan(onRightsChanged.mock.invocationCallOrder[0]!);
    expect(socket.streams[0]!.payload.variables).toEqual({ after: 'c0' });
    abort.abort();
    await ended;
  });

  it('tells of each team that changes, and goes on from there after a reconnect', async () => {
    const { socket, onTeam, subscribed, abort, ended } = newWatch();
    await subscribed(1);
    const { payload, sink } = socket.streams[0]!;
    sink.next({ data: { teamChanged: { kind: 'UPDATED', cursor: 'c1', teamId: 'team' } } });
    expect(onTeam).toHaveBeenLastCalledWith('team');
    expect(payload.variables).toEqual({ after: 'c1' });
    abort.abort();
    await ended;
  });

  it('reads the rights again when the server ends the stream, and says that any team may have changed', async () => {
    const { socket, onRightsChanged, onTeam, subscribed, abort, ended } = newWatch();
    await subscribed(1);
    socket.streams[0]!.sink.complete();
    await subscribed(2);
    expect(onRightsChanged).toHaveBeenCalledTimes(2);
    expect(onTeam).toHaveBeenLastCalledWith(null);
    abort.abort();
    await ended;
  });

  it('keeps trying while the server is away', async () => {
    const readCursor = vi
      .fn<() => Promise<string>>()
      .mockRejectedValueOnce(new ApiError('UNAVAILABLE', 'away'))
      .mockResolvedValue('c7');
    const { socket, subscribed, onUnauthorized, abort, ended } = newWatch({ readCursor });
    await subscribed(1);
    expect(socket.streams[0]!.payload.variables).toEqual({ after: 'c7' });
    expect(onUnauthorized).not.toHaveBeenCalled();
    abort.abort();
    await ended;
  });

  it('ends when the session is over', async () => {
    const readCursor = vi.fn(async () => {
      throw new ApiError('UNAUTHENTICATED', 'Please sign in.');
    });
    const { ended, onUnauthorized } = newWatch({ readCursor });
    await ended;
    expect(onUnauthorized).toHaveBeenCalledOnce();
  });
});
