import { WebSocket, type ClientOptions } from 'ws';

/**
 * A socket for graphql-ws to dial with, by a subclass that knows the options.
 *
 * graphql-ws takes its own listener away when it ends a connection, and `ws` says of one that is ended before it stands
 * that it has failed: an `error` that nobody listens to ends the process. What became of the connection is told by
 * `close` in any case.
 */
export class ClientSocket extends WebSocket {
  constructor(url: string, protocols: string | string[] | undefined, options: ClientOptions) {
    super(url, protocols, options);
    this.on('error', () => {});
  }
}
