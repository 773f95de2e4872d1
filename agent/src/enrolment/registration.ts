import { StartupError } from '@rookery/wire/errors.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { Backoff } from '../backoff.ts';
import type { HostSpecs } from '../host/host.ts';
import { ControlApi, ControlCallError, parseControlUrl } from './control-api.ts';
import { toCredentials, type Credentials, type CredentialStore } from './credential.store.ts';
import type { HostKey } from './host-key.ts';

/** How long a first join keeps trying a control plane that does not answer, in ms: a person is waiting. */
const JOIN_PATIENCE_MS = 10_000;
const JOIN_BACKOFF_CAP_MS = 2_000;

export interface JoinOptions {
  readonly controlUrl: string;
  readonly token: string | undefined;
  readonly store: CredentialStore;
  readonly key: () => Promise<HostKey>;
  readonly specs: () => Promise<HostSpecs>;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Default 10 s. */
  readonly patienceMs?: number;
}

/**
 * The credentials to run with: those that are saved, else new ones for the token.
 *
 * Saved ones win, so that a join command in a boot script is harmless. The key is made once and
 * kept, so that a registration whose answer got lost can be repeated with the same token.
 *
 * @throws {StartupError} in one sentence.
 */
export async function join(options: JoinOptions): Promise<{ credentials: Credentials; isNew: boolean }> {
  const controlUrl = parseControlUrl(options.controlUrl);
  const saved = await options.store.load();
  if (saved) {
    if (saved.controlUrl === controlUrl) return { credentials: saved, isNew: false };
    throw new StartupError(
      `This machine is already host ${saved.hostName} (${saved.hostId}) of ${saved.controlUrl}; to join ${controlUrl} as well, use another --state-dir.`,
    );
  }
  if (options.token === undefined) {
    throw new StartupError('A registration token is needed: rookery-agent join <url> <token>.');
  }
  const credentials = await register(controlUrl, options.token, options);
  await options.store.save(credentials);
  return { credentials, isNew: true };
}

async function register(
  controlUrl: string,
  token: string,
  { key, specs, log, signal, patienceMs = JOIN_PATIENCE_MS }: JoinOptions,
): Promise<Credentials> {
  const hostKey = await key();
  const api = new ControlApi(controlUrl);
  const backoff = new Backoff(JOIN_BACKOFF_CAP_MS);
  const giveUpAt = Date.now() + patienceMs;
  for (;;) {
    try {
      const input = {
        token,
        publicKey: hostKey.publicKey,
        proof: hostKey.prove('register', token),
        specs: await specs(),
      };
      return toCredentials(controlUrl, await api.register(input), Date.now());
    } catch (error) {
      if (!(error instanceof ControlCallError)) throw error;
      if (error.kind === 'refused' || error.kind === 'rejected') {
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

const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);
