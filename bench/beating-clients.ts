import { AgentEndpoint } from '@rookery/wire/endpoints.ts';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';

/**
 * Connections that send a heartbeat as soon as the last one was answered; a process of its own, started by `heartbeats.ts`.
 * Reads `{ url, tokens, seconds }` from its parent, sends back how many answers came and how long they took.
 */
interface Order {
  readonly url: string;
  readonly tokens: readonly string[];
  readonly warmUpSeconds: number;
  readonly seconds: number;
}

export interface BeatCount {
  readonly beats: number;
  /** Sorted. */
  readonly latenciesMs: readonly number[];
}

/** How long the last answers may take, in ms. */
const CLOSE_WITHIN_MS = 10_000;

/** Latencies kept; the others are only counted. */
const SAMPLES = 20_000;

const HEARTBEAT = `mutation Heartbeat($input: HeartbeatInput!) {
  heartbeat(input: $input) { controlTime nextHeartbeatMs reconnectSpreadMs wantInventory }
}`;

const beat = {
  type: 'subscribe',
  id: '1',
  payload: {
    query: HEARTBEAT,
    variables: {
      input: {
        instance: 'bench',
        specs: {
          hostname: 'bench',
          arch: 'x86_64',
          os: 'Bench 1',
          kernel: '6.1',
          cpuCores: 8,
          memoryMb: 16_384,
          diskGb: 100,
          agentVersion: '0.1.0',
          bootId: 'boot-1',
          machineId: null,
          runtime: { name: 'runc', version: '1.1.5' },
          conditions: [],
        },
        load1: 0.5,
        memoryUsedMb: 100,
        diskUsedMb: 100,
        inventoryDigest: '',
        sandboxCount: 0,
      },
    },
  },
};

// Whatever goes wrong ends the process with a word, and that the measurement.
process.on('uncaughtException', (error) => {
  console.error(error);
  process.exit(1);
});
process.on('message', (order: Order) => {
  void beatAll(order).then((count) => process.send?.(count, () => process.exit(0)));
});

async function beatAll({ url, tokens, warmUpSeconds, seconds }: Order): Promise<BeatCount> {
  let counts = false;
  let stopped = false;
  let beats = 0;
  const latenciesMs: number[] = [];
  const sockets = await Promise.all(
    tokens.map(async (token) => {
      const socket = new WebSocket(`${url}${AgentEndpoint.channel}`, 'graphql-transport-ws');
      await once(socket, 'open');
      socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${token}` } }));
      await once(socket, 'message');
      return socket;
    }),
  );
  const message = JSON.stringify(beat);
  for (const socket of sockets) {
    let sentAt = performance.now();
    socket.on('message', (data: Buffer) => {
      const text = data.toString();
      if (text.startsWith('{"type":"ping"') || text.includes('"type":"ping"')) return socket.send('{"type":"pong"}');
      if (text.includes('"errors"') || text.includes('"type":"error"')) throw new Error(text);
      // The answer is `next`, and `complete` after it.
      if (!text.includes('"type":"complete"')) return;
      const now = performance.now();
      if (counts) {
        beats += 1;
        if (latenciesMs.length < SAMPLES) latenciesMs.push(now - sentAt);
      }
      sentAt = now;
      if (stopped) socket.close();
      else socket.send(message);
    });
    socket.send(message);
  }
  await sleep(warmUpSeconds * 1_000);
  counts = true;
  await sleep(seconds * 1_000);
  counts = false;
  // Each closes when it has its answer: nobody writes to a socket that is gone.
  const closed = sockets.map((socket) => once(socket, 'close'));
  stopped = true;
  await Promise.race([Promise.all(closed), sleep(CLOSE_WITHIN_MS, undefined, { ref: false })]);
  return { beats, latenciesMs: latenciesMs.sort((a, b) => a - b) };
}
