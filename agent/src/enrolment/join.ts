import { StartupError } from '@rookery/wire/errors.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { Backoff } from '../backoff.ts';
import { ControlCallError, parseControlUrl } from './control-api.ts';
import type { Credentials, CredentialStore } from './credential.store.ts';
import { provesDeletion } from './deletion-statement.ts';
import { register, renew, type Registrant } from './registration.ts';

/** How long a join keeps trying a control plane that does not answer, in ms: a person is waiting. */
const JOIN_PATIENCE_MS = 10_000;
const JOIN_BACKOFF_CAP_MS = 2_000;

export interface JoinOptions {
  readonly controlUrl: string;
  readonly token: string | undefined;
  readonly store: CredentialStore;
  /** Made only when it is needed: a machine that cannot register writes nothing. */
  readonly registrant: () => Promise<Registrant>;
  /** How many sandboxes this machine has, those with damaged records included. */
  readonly sandboxes: () => Promise<number>;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Default 10 s. */
  readonly patienceMs?: number;
}

export interface Joined {
  readonly credentials: Credentials;
  /**
   * `recovered`: the same host again, after control had refused its credentials. `moved`: with the same
   * credentials, at another address.
   */
  readonly how: 'saved' | 'registered' | 'recovered' | 'moved';
  /** What came of the token, where saved credentials are gone on with. */
  readonly problem?: string;
  /** Control has refused the token: it is no use to try it again. */
  readonly isOver?: boolean;
}

/**
 * The credentials to run with: those that are saved, else new ones for the token.
 *
 * Saved ones win, so that a join command in a boot script is harmless. Control is asked at once whether
 * they are good, by renewing them, which is the only thing that it refuses also in a quarantine; if it
 * refuses, proven, the token is what the operator has made to mend that. Whatever goes wrong, what is
 * saved stays as it is.
 *
 * @throws {StartupError} in one sentence.
 */
export async function join(options: JoinOptions): Promise<Joined> {
  const controlUrl = parseControlUrl(options.controlUrl);
  const { store, token } = options;
  const saved = await store.load();
  if (!saved) {
    if (token === undefined)
      throw new StartupError('A registration token is needed: rookery-agent join <url> <token>.');
    return joinAnew(controlUrl, token, options);
  }
  if (saved.controlUrl !== controlUrl) return follow(saved, controlUrl, options);
  return token === undefined ? { credentials: saved, how: 'saved' } : confirm(saved, token, options);
}

/**
 * Registers a machine without credentials; while it has sandboxes, only as the host that they are of. As
 * another one's they would be nobody's, and control would have them removed.
 *
 * @throws {StartupError} with nothing changed.
 */
async function joinAnew(controlUrl: string, token: string, options: JoinOptions): Promise<Joined> {
  const { store, sandboxes } = options;
  const count = await sandboxes();
  if (count === 0) return { credentials: await registerPatiently(controlUrl, token, options), how: 'registered' };
  const host = await store.lastHost();
  if (!host) {
    throw new StartupError(
      `This machine has ${counted(count)}, and nothing says any more of which host; restore credentials.json, destroy them (rookery-agent leave --destroy-sandboxes), or use another --state-dir.`,
    );
  }
  try {
    return { credentials: await registerPatiently(controlUrl, token, options, host.hostId), how: 'recovered' };
  } catch (error) {
    if (!isOtherHost(error)) throw error;
    const { hostName, hostId, controlUrl: ofUrl } = host;
    throw new StartupError(
      `This machine has ${counted(count)} of host ${hostName} (${hostId}) of ${ofUrl}, and the token is another host’s; make a token for that host, destroy them first (rookery-agent leave --destroy-sandboxes), or use another --state-dir.`,
      { cause: error },
    );
  }
}

/** Goes on with what is saved, unless control refuses it. */
async function confirm(saved: Credentials, token: string, options: JoinOptions): Promise<Joined> {
  const { store } = options;
  try {
    const credentials = await renew(saved, await options.registrant(), store);
    await note(store, 'ACTIVE', null);
    return { credentials, how: 'saved' };
  } catch (error) {
    if (!(error instanceof ControlCallError)) throw error;
    // Nothing is known, and a host with sandboxes does not wait for it. The token is spent when control refuses.
    if (error.kind !== 'refused') return { credentials: saved, how: 'saved' };
    await noteRefusal(store, error);
    if (isDeletion(error, saved)) return { credentials: saved, how: 'saved', isOver: true };
  }
  try {
    // The host that it was: the token of another one is refused and not spent.
    return {
      credentials: await registerPatiently(saved.controlUrl, token, options, saved.hostId),
      how: 'recovered',
    };
  } catch (error) {
    // Whoever has sandboxes goes on; the token is tried again when the credentials are refused again.
    if (!(error instanceof StartupError)) throw error;
    return { credentials: saved, how: 'saved', problem: error.message, isOver: isRefusal(error.cause) };
  }
}

/**
 * Follows the control plane to another address; with a token also to another control plane.
 *
 * @throws {StartupError} with nothing changed.
 */
async function follow(saved: Credentials, controlUrl: string, options: JoinOptions): Promise<Joined> {
  const { token, store, sandboxes } = options;
  const refusal = await patiently(controlUrl, options, async (who) => renew({ ...saved, controlUrl }, who, store)).then(
    (credentials) => ({ credentials }),
    (error: unknown) => {
      if (error instanceof StartupError && isRefusal(error.cause)) return error.cause as ControlCallError;
      throw error;
    },
  );
  if ('credentials' in refusal) {
    await note(store, 'ACTIVE', null);
    return { credentials: refusal.credentials, how: 'moved' };
  }
  if (isDeletion(refusal, saved)) {
    await noteRefusal(store, refusal);
    return { credentials: { ...saved, controlUrl }, how: 'saved', isOver: true };
  }
  const who = `host ${saved.hostName} (${saved.hostId}) of ${saved.controlUrl}`;
  if (token === undefined) {
    throw new StartupError(
      `This machine is ${who}, and ${controlUrl} refuses its credentials: ${sentence(refusal.message)} Nothing was changed; with a registration token it can join there.`,
    );
  }
  try {
    return { credentials: await registerPatiently(controlUrl, token, options, saved.hostId), how: 'recovered' };
  } catch (error) {
    if (!isOtherHost(error)) throw error;
    // To the other control plane they would be nobody's, and be removed.
    const count = await sandboxes();
    if (count > 0 || refusal.reason !== 'TOKEN_UNKNOWN') {
      throw new StartupError(
        `This machine is ${who} with ${counted(count)}, and the token is another host’s; leave that fleet first (rookery-agent leave --destroy-sandboxes), or use another --state-dir.`,
        { cause: error },
      );
    }
    return { credentials: await registerPatiently(controlUrl, token, options), how: 'registered' };
  }
}

/** With a refusal written down the agent asks again as soon as it runs, and acts upon what it hears. */
const noteRefusal = (store: CredentialStore, { reason, message }: ControlCallError): Promise<void> =>
  note(store, reason === 'CREDENTIALS_CLONED' ? 'CLONED' : 'REFUSED', message);

const note = (store: CredentialStore, state: 'ACTIVE' | 'CLONED' | 'REFUSED', reason: string | null): Promise<void> =>
  store.saveStatus({ state, reason, since: new Date().toISOString() }).catch(() => {});

const registerPatiently = (
  controlUrl: string,
  token: string,
  options: JoinOptions,
  hostId?: string,
): Promise<Credentials> =>
  patiently(controlUrl, options, (who) => register({ controlUrl, token, hostId }, who, options.store));

/** @throws {StartupError} caused by the last {@link ControlCallError}. */
async function patiently(
  controlUrl: string,
  { registrant, log, signal, patienceMs = JOIN_PATIENCE_MS }: JoinOptions,
  ask: (who: Registrant) => Promise<Credentials>,
): Promise<Credentials> {
  const backoff = new Backoff(JOIN_BACKOFF_CAP_MS);
  const giveUpAt = Date.now() + patienceMs;
  const who = await registrant();
  for (;;) {
    try {
      return await ask(who);
    } catch (error) {
      if (!(error instanceof ControlCallError)) throw error;
      if (isRefusal(error)) {
        throw new StartupError(`The control plane refused to register this host: ${sentence(error.message)}`, {
          cause: error,
        });
      }
      if (Date.now() >= giveUpAt || signal.aborted) throw noAnswer(controlUrl, error);
      log.warn({ reason: error.message }, 'registration failed, trying again');
      await backoff.wait(signal);
    }
  }
}

function noAnswer(controlUrl: string, error: ControlCallError): StartupError {
  const what = error.kind === 'not-control' ? 'does not look like a control plane' : 'cannot be reached';
  return new StartupError(`${controlUrl} ${what}: ${sentence(error.message)}`, { cause: error });
}

const isDeletion = (error: ControlCallError, { hostId, controlKeys }: Credentials): boolean =>
  error.reason === 'HOST_DELETED' && provesDeletion(error.extensions['statements'], hostId, controlKeys);

const isRefusal = (error: unknown): boolean =>
  error instanceof ControlCallError && (error.kind === 'refused' || error.kind === 'rejected');

const isOtherHost = (error: unknown): boolean =>
  (error as { cause?: ControlCallError }).cause?.reason === 'TOKEN_OTHER_HOST';

const counted = (sandboxes: number): string => `${sandboxes} sandbox${sandboxes === 1 ? '' : 'es'}`;

const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);
