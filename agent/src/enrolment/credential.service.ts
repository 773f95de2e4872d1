import type { Logger } from '@rookery/wire/log.ts';
import { Backoff } from '../backoff.ts';
import { ControlApi, ControlCallError } from './control-api.ts';
import type { Credentials, CredentialStatus, CredentialStore } from './credential.store.ts';
import { provesDeletion } from './deletion-statement.ts';
import { register, renew, type Registrant } from './registration.ts';

/** When in the life of an access token it is renewed; early enough to survive an outage of two days of a week. */
const RENEW_AT = 0.67;
/** Spread around that moment, so that hosts registered together do not renew together. */
const RENEW_JITTER = 0.1;

/** `setTimeout` takes no more. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export interface CredentialServiceDeps {
  readonly initial: Credentials;
  /** What control said of them before this process. */
  readonly initialStatus: CredentialStatus;
  readonly registrant: Registrant;
  /** Longest wait between two tries, in ms. */
  readonly retryCapMs: number;
  readonly store: CredentialStore;
  /** From the command line: spent when control refuses the saved credentials, and not before. */
  readonly spareToken?: string | undefined;
  readonly log: Logger;
}

/**
 * Keeps this host's credentials fresh.
 *
 * They are never dropped here, whatever control answers: an operator can mend a refused host by a new
 * token, but not one that has forgotten who it is. Only of `DELETED`, which is signed, may the caller
 * draw that conclusion.
 */
export class CredentialService implements AsyncDisposable {
  #current: Credentials;
  #status: CredentialStatus;
  #spareToken: string | undefined;
  #refreshing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #onStatus: (status: CredentialStatus) => void = () => {};
  /** Those that wait for other credentials, or for news of them. */
  #waiting: (() => void)[] = [];
  readonly #stop = new AbortController();
  readonly #deps: CredentialServiceDeps;
  readonly #api: ControlApi;

  constructor(deps: CredentialServiceDeps) {
    this.#deps = deps;
    this.#current = deps.initial;
    this.#status = deps.initialStatus;
    this.#spareToken = deps.spareToken;
    this.#api = new ControlApi(deps.initial.controlUrl);
    // What was refused may have been mended meanwhile, and a recovery should not wait for the next rotation.
    if (this.#status.state === 'ACTIVE') this.#schedule();
    else void this.#refresh();
  }

  get current(): Credentials {
    return this.#current;
  }

  get status(): CredentialStatus {
    return this.#status;
  }

  /** Value for `Authorization`. */
  get authorization(): string {
    return `Bearer ${this.#current.accessToken}`;
  }

  /**
   * Waits while control is known to refuse the credentials: a connection on what is left of an access
   * token would let control undo what the refusal is answered with.
   *
   * @returns what to authorize the next connection with.
   */
  async usable(signal: AbortSignal): Promise<string> {
    while ((this.#status.state === 'REFUSED' || this.#status.state === 'DELETED') && !signal.aborted)
      await this.#change(signal);
    return this.authorization;
  }

  /** Calls `listener` with what is known now, and with every change. There is one listener. */
  onStatus(listener: (status: CredentialStatus) => void): void {
    this.#onStatus = listener;
    listener(this.#status);
  }

  /**
   * Renews after an access token was rejected. Resolves when there is another one, when control has said
   * why there is none, or when the signal says to stop waiting. Calls share one attempt, which goes on
   * for ever.
   *
   * @param rejected the `Authorization` that was rejected; if it is no longer the current one, there is nothing to do.
   */
  async refreshAfter(rejected: string, signal: AbortSignal): Promise<void> {
    if (rejected !== this.authorization) return;
    void this.#refresh();
    if (this.#status.state === 'CLONED') return;
    await this.#change(signal);
  }

  /** Waits for a time, or until there are other credentials than these. */
  async otherThan(authorization: string, ms: number, signal: AbortSignal): Promise<void> {
    const enough = AbortSignal.any([signal, AbortSignal.timeout(ms)]);
    while (this.authorization === authorization && !enough.aborted) await this.#change(enough);
  }

  /**
   * Asks control at once whether the credentials are good.
   *
   * @returns what it has said; undefined when it said nothing before the signal.
   */
  async ask(signal: AbortSignal): Promise<CredentialStatus | undefined> {
    void this.#refresh();
    await this.#change(signal);
    return signal.aborted ? undefined : this.#status;
  }

  /** Gives the credentials up. @throws {ControlCallError} */
  async leave(): Promise<void> {
    const { accessToken } = this.#current;
    await this.#api.leave({ accessToken, proof: this.#deps.registrant.key.signGoodbye(accessToken) });
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
    const now = Date.now();
    // A clock that was set back says nothing about how old they are.
    const dueIn = now < issuedAt ? 0 : issuedAt + (accessTokenExpiresAt - issuedAt) * share - now;
    this.#timer = setTimeout(() => void this.#refresh(), Math.min(Math.max(dueIn, 0), LONGEST_TIMER_MS));
    this.#timer.unref();
  }

  #refresh(): Promise<void> {
    this.#refreshing ??= this.#refreshForEver().finally(() => {
      this.#refreshing = undefined;
      this.#letGo();
    });
    return this.#refreshing;
  }

  async #refreshForEver(): Promise<void> {
    const { signal } = this.#stop;
    const backoff = new Backoff(this.#deps.retryCapMs);
    while (!signal.aborted && this.#status.state !== 'DELETED') {
      try {
        const { registrant, store } = this.#deps;
        return await this.#adopt(await renew(this.#current, registrant, store));
      } catch (error) {
        if (await this.#learnFrom(error)) await backoff.wait(signal);
      }
    }
  }

  async #adopt(credentials: Credentials): Promise<void> {
    this.#current = credentials;
    this.#spareToken = undefined;
    this.#schedule();
    this.#deps.log.info('credentials renewed');
    await this.#setStatus('ACTIVE', null);
    // The sockets may stay as they are for days; control should not wait that long to hear that these arrived.
    await this.#api
      .confirm(credentials.accessToken)
      .catch((err: unknown) =>
        this.#deps.log.debug({ err }, 'new credentials could not be confirmed; their next use will'),
      );
  }

  /** @returns whether to wait before the next try. */
  async #learnFrom(error: unknown): Promise<boolean> {
    const { log } = this.#deps;
    const reason = error instanceof Error ? error.message : String(error);
    if (!(error instanceof ControlCallError) || error.kind !== 'refused') {
      // Also what control rejects without saying that it does not know us: nothing is proven by it.
      log.warn({ reason }, 'credentials could not be renewed, trying again');
      return true;
    }
    const { hostId, controlKeys } = this.#current;
    if (error.reason === 'HOST_DELETED' && provesDeletion(error.extensions['statements'], hostId, controlKeys)) {
      log.error('control has signed that this host was deleted');
      await this.#setStatus('DELETED', reason);
      return false;
    }
    if (this.#spareToken !== undefined && (await this.#trySpareToken(this.#spareToken))) return false;
    // Once, and not with every try for days.
    if (this.#status.reason !== reason)
      log.error(
        { reason },
        'control refuses to renew the credentials; they are kept and tried again, and a new token would help: rookery-agent join <url> <token>',
      );
    await this.#setStatus(error.reason === 'CREDENTIALS_CLONED' ? 'CLONED' : 'REFUSED', reason);
    return true;
  }

  /** @returns whether it has brought new credentials, with which the loop goes on. */
  async #trySpareToken(token: string): Promise<boolean> {
    const { registrant, store, log } = this.#deps;
    const { controlUrl, hostId } = this.#current;
    try {
      this.#current = await register({ controlUrl, token, hostId }, registrant, store);
      this.#spareToken = undefined;
      log.info('registered again with the token of the command line');
      return true;
    } catch (error) {
      const isOver = error instanceof ControlCallError && (error.kind === 'refused' || error.kind === 'rejected');
      if (isOver) this.#spareToken = undefined;
      log.warn({ reason: (error as Error).message }, 'the token of the command line does not help');
      return false;
    }
  }

  async #setStatus(state: CredentialStatus['state'], reason: string | null): Promise<void> {
    const { state: before } = this.#status;
    const isNews = before !== state || this.#status.reason !== reason;
    if (isNews)
      this.#status = { state, reason, since: before === state ? this.#status.since : new Date().toISOString() };
    this.#letGo();
    if (!isNews) return;
    this.#onStatus(this.#status);
    await this.#deps.store
      .saveStatus(this.#status)
      .catch((err: unknown) => this.#deps.log.warn({ err }, 'the state of the credentials could not be written down'));
  }

  /** Waits for other credentials, or for news of them. */
  async #change(signal: AbortSignal): Promise<void> {
    const done = new AbortController();
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { signal: done.signal });
      if (signal.aborted) resolve();
      this.#waiting.push(resolve);
    });
    done.abort();
  }

  #letGo(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
