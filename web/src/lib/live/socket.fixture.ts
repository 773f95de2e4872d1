import type { Client, Sink, SubscribePayload } from 'graphql-ws';

/** Stands for graphql-ws: keeps what was subscribed, so that a test can be the server. */
export function newSocket() {
  const streams: { payload: SubscribePayload; sink: Sink }[] = [];
  const listeners: (() => void)[] = [];
  const client = {
    subscribe(payload: SubscribePayload, sink: Sink) {
      streams.push({ payload, sink });
      return () => sink.complete();
    },
    on(_event: string, listener: () => void) {
      listeners.push(listener);
      return () => listeners.splice(listeners.indexOf(listener), 1);
    },
  } as unknown as Client;
  return { client, streams, reconnected: () => listeners.forEach((listener) => listener()) };
}
