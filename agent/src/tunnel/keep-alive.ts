import type { WebSocket } from 'ws';

/** After how much silence the agent pings, in ms: control pings every 15 s, so there is hardly ever need to. */
export const PING_AFTER_MS = 17_000;

/** How long control may take to answer, in ms. */
export const PONG_DEADLINE_MS = 10_000;

/** Pings a control that has said nothing for a while, and drops one that does not answer in time. @returns what stops it. */
export function keepAlive(socket: Pick<WebSocket, 'on' | 'ping' | 'terminate'>): () => void {
  let deadline: NodeJS.Timeout | undefined;
  const silence = setTimeout(() => {
    socket.ping();
    deadline = setTimeout(() => socket.terminate(), PONG_DEADLINE_MS);
  }, PING_AFTER_MS);
  const heard = (): void => {
    clearTimeout(deadline);
    // Begins anew, also when it has run out.
    silence.refresh();
  };
  socket.on('message', heard);
  socket.on('pong', heard);
  return () => {
    clearTimeout(silence);
    clearTimeout(deadline);
  };
}
