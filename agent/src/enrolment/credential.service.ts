import type { Logger } from '@rookery/wire/log.ts';
import { Backoff, pause } from '../backoff.ts';
import { ControlApi, ControlCallError } from './control-api.ts';
import { toCredentials, type Credentials, type CredentialStore } from './credential.store.ts';
import type { HostKey } from './host-key.ts';

/** When in the life of an access token it is renewed; early enough to survive an outage of two days of a week. */
const RENEW_AT = 0.67;
/** Spread around that moment, so that hosts registered together do not renew together. */
const RENEW_JITTER = 0.1;

/** Between tries after control has refused the refresh token, in ms: nothing gets better by hurrying. */
const REFUSED_RETRY_MS = 60_000;
const BACKOFF_CAP_MS = 60_000;

/** `setTimeout` takes no more. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export interface CredentialServiceDeps {
  readonly initial: Credentials;
  readonly key: HostKey;
  readonly store: CredentialStore;
  readonly log: Logger;
}

/**
 * Keeps this host's credentials fresh.
 *
 * Credentials are never dropped here, whatever control answers: an operator can mend a refused host
 * by a new token, but not one that has forgotten who it is.
 */
export class CredentialService implements AsyncDisposable {
  #current: Credentials;
  #degraded = false;
  #refreshing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #stop = new AbortController();
  readonly #deps: CredentialServiceDeps;
  readonly #api: ControlApi;

  constructor(deps: CredentialServiceDeps) {
    this.#deps = deps;
    this.#current = deps.initial;
    this.#api = new ControlApi(deps.initial.controlUrl);
    this.#schedule();
  }

  get current(): Credentials {
    return this.#current;
  }

  /** Control has refused our refresh token; only an operator can help. */
  get degraded(): boolean {
    return this.#degraded;
  }

  /** Value for `Authorization`. */
  get authorization(): string {
    return `Bearer ${this.#current.accessToken}`;
  }

  /**
   * Renews after an access token was rejected; resolves when there is another one, or when the
   * signal says to stop waiting. Calls share one attempt, which goes on for ever.
   *
   * @param rejected the `Authorization` that was rejected; if it is no longer the current one, there is nothing to do.
   */
  async refreshAfter(rejected: string, signal: AbortSignal): Promise<void> {
    if (rejected !== this.authorization) return;
    const refreshed = this.#refresh();
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
      if (signal.aborted) resolve();
      refreshed.then(resolve, resolve);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await this.#refreshing;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const { issuedAt, accessTokenExpiresAt } = this.#current;
    const share = RENEW_AT * (1 + RENEW_JITTER * (2 * Math.random() - 1));
    const dueIn = issuedAt + (accessTokenExpiresAt - issuedAt) * share - Date.now();
    this.#timer = setTimeout(() => void this.#refresh(), Math.min(Math.max(dueIn, 0), LONGEST_TIMER_MS));
    this.#timer.unref();
  }

  #refresh(): Promise<void> {
    this.#refreshing ??= this.#refreshForEver().finally(() => (this.#refreshing = undefined));
    return this.#refreshing;
  }

  async #refreshForEver(): Promise<void> {
    const { key, store, log } = this.#deps;
    const { signal } = this.#stop;
    const backoff = new Backoff(BACKOFF_CAP_MS);
    while (!signal.aborted) {
      const { refreshToken, controlUrl } = this.#current;
      try {
        const issued = await this.#api.refresh({ refreshToken, proof: key.prove('refresh', refreshToken) });
        const renewed = toCredentials(controlUrl, issued, Date.now());
        // Durable before use: the first use of the new token kills the old one.
        await store.save(renewed);
        this.#current = renewed;
        this.#degraded = false;
        this.#schedule();
        log.info('credentials renewed');
        return;
      } catch (error) {
        const isRefused = error instanceof ControlCallError && (error.kind === 'refused' || error.kind === 'rejected');
        this.#degraded ||= isRefused;
        const reason = error instanceof Error ? error.message : String(error);
        if (isRefused) log.error({ reason }, 'control refuses to renew the credentials; they are kept and tried again');
        else log.warn({ reason }, 'credentials could not be renewed, trying again');
        await (isRefused ? pause(REFUSED_RETRY_MS, signal) : backoff.wait(signal));
      }
    }
  }
}
