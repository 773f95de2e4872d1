import { StartupError } from '@rookery/wire/errors.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { Backoff } from '../backoff.ts';
import type { HostSpecs } from '../host/host.ts';
import { ControlApi, ControlCallError, parseControlUrl } from './control-api.ts';
import { toCredentials, type Credentials, type CredentialStore } from './credential.store.ts';
import type { HostKey } from './host-key.ts';
import type { RequestSequence } from './request-sequence.ts';

/** How long a first join keeps trying a control plane that does not answer, in ms: a person is waiting. */
const JOIN_PATIENCE_MS = 10_000;
const JOIN_BACKOFF_CAP_MS = 2_000;

/** What it takes to register. */
export interface Registrant {
  readonly key: HostKey;
  readonly sequence: RequestSequence;
  readonly specs: () => Promise<HostSpecs>;
}

export interface JoinOptions {
  readonly controlUrl: string;
  readonly token: string | undefined;
  readonly store: CredentialStore;
  /** Made only when it is needed: a machine that cannot register writes nothing. */
  readonly registrant: () => Promise<Registrant>;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Default 10 s. */
  readonly patienceMs?: number;
}

export interface Joined {
  readonly credentials: Credentials;
  /** `recovered`: the same host again, after control had refused its credentials. */
  readonly how: 'saved' | 'registered' | 'recovered';
  /** What came of the token, where saved credentials are gone on with. */
  readonly problem?: string;
  /** Control has refused the token: it is no use to try it again. */
  readonly isOver?: boolean;
}

/**
 * The credentials to run with: those that are saved, else new ones for the token.
 *
 * Saved ones win, so that a join command in a boot script is harmless; unless control is known to
 * refuse them, when the token is what the operator has made to mend that. The key is made once and
 * kept, so that a registration whose answer got lost can be repeated with the same token.
 *
 * @throws {StartupError} in one sentence.
 */
export async function join(options: JoinOptions): Promise<Joined> {
  const controlUrl = parseControlUrl(options.controlUrl);
  const { store, token } = options;
  const saved = await store.load();
  if (saved && saved.controlUrl !== controlUrl) {
    throw new StartupError(
      `This machine is already host ${saved.hostName} (${saved.hostId}) of ${saved.controlUrl}; to join ${controlUrl} as well, use another --state-dir.`,
    );
  }
  if (!saved) {
    if (token === undefined) {
      throw new StartupError('A registration token is needed: rookery-agent join <url> <token>.');
    }
    const credentials = await registerPatiently(controlUrl, token, options);
    return { credentials, how: 'registered' };
  }
  const { state } = await store.loadStatus();
  if (token === undefined || state === 'ACTIVE') return { credentials: saved, how: 'saved' };
  try {
    // The host that it was: the token of another one is refused and not spent.
    const credentials = await registerPatiently(controlUrl, token, options, saved.hostId);
    return { credentials, how: 'recovered' };
  } catch (error) {
    // Whoever has sandboxes goes on; the token is tried again when the credentials are refused again.
    if (!(error instanceof StartupError)) throw error;
    return { credentials: saved, how: 'saved', problem: error.message, isOver: isRefusal(error.cause) };
  }
}

/**
 * Spends a token once. The credentials are saved when this resolves.
 *
 * @param hostId the host that this machine is; the token of another one is refused.
 * @throws {ControlCallError} also when control cannot be reached; the same token may be tried again.
 */
export async function register(
  { controlUrl, token, hostId }: { controlUrl: string; token: string; hostId: string | undefined },
  { key, sequence, specs }: Registrant,
  store: CredentialStore,
): Promise<Credentials> {
  const issued = await new ControlApi(controlUrl).register({
    token,
    publicKey: key.publicKey,
    proof: key.prove('register', token, await sequence.next()),
    specs: await specs(),
    ...(hostId === undefined ? {} : { hostId }),
  });
  const credentials = toCredentials(controlUrl, issued, Date.now());
  await store.save(credentials);
  await store.saveStatus({ state: 'ACTIVE', reason: null, since: new Date().toISOString() }).catch(() => {});
  return credentials;
}

async function registerPatiently(
  controlUrl: string,
  token: string,
  { registrant, store, log, signal, patienceMs = JOIN_PATIENCE_MS }: JoinOptions,
  hostId?: string,
): Promise<Credentials> {
  const backoff = new Backoff(JOIN_BACKOFF_CAP_MS);
  const giveUpAt = Date.now() + patienceMs;
  const who = await registrant();
  for (;;) {
    try {
      return await register({ controlUrl, token, hostId }, who, store);
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

const isRefusal = (error: unknown): boolean =>
  error instanceof ControlCallError && (error.kind === 'refused' || error.kind === 'rejected');

const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);
