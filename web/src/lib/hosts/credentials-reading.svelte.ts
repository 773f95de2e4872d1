import { query } from '#lib/gql/client.ts';
import type { HostCredentials } from './host-credentials.ts';
import { HostCredentialsQuery } from './host.operations.ts';

/** Milliseconds between readings: that credentials were used or ran out is no event. */
const READ_EVERY_MS = 5_000;

/** The credentials of one host: read with every change of the host, and now and then. */
export class CredentialsReading {
  /** Null until it was read, and for who does not manage the host. */
  value = $state.raw<HostCredentials | null>(null);
  problem = $state.raw<Error | null>(null);
  #reading = 0;

  /**
   * Made while a component is; ends with it.
   *
   * @param host null where there is nothing to be read.
   */
  constructor(host: () => { readonly id: string; readonly revision: number } | null) {
    const id = $derived(host()?.id ?? null);
    const revision = $derived(host()?.revision);
    $effect(() => {
      const hostId = id;
      this.value = null;
      if (hostId === null) return;
      const timer = setInterval(() => document.hidden || void this.#load(hostId), READ_EVERY_MS);
      return () => {
        clearInterval(timer);
        this.#reading++;
      };
    });
    $effect(() => {
      void revision;
      if (id !== null) void this.#load(id);
    });
  }

  async #load(id: string): Promise<void> {
    const reading = ++this.#reading;
    try {
      const { host } = await query(HostCredentialsQuery, { id });
      if (reading !== this.#reading) return;
      this.value = host?.credentials ?? null;
      this.problem = null;
    } catch (error) {
      if (reading === this.#reading) this.problem = error instanceof Error ? error : new Error(String(error));
    }
  }
}
