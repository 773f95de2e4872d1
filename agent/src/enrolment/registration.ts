import { ControlApi } from './control-api.ts';
import { toCredentials, type Credentials, type CredentialStore } from './credential.store.ts';
import type { HostKey } from './host-key.ts';
import type { HostSpecs } from '../host/host.ts';
import type { RequestSequence } from './request-sequence.ts';

/** What it takes to ask control for credentials. */
export interface Registrant {
  readonly key: HostKey;
  readonly sequence: RequestSequence;
  readonly bootId: string;
  /** Null for a machine without a lasting identity. */
  readonly machineId: string | null;
  readonly specs: () => Promise<HostSpecs>;
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
  const api = new ControlApi(controlUrl);
  const machine = { publicKey: key.publicKey, specs: await specs(), ...(hostId === undefined ? {} : { hostId }) };
  const issued = await sequence.inTurn((number) =>
    api.register({ ...machine, token, proof: key.prove('register', token, number) }),
  );
  const credentials = toCredentials(controlUrl, issued, Date.now());
  await store.save(credentials);
  await sequence.save();
  await store.saveStatus({ state: 'ACTIVE', reason: null, since: new Date().toISOString() }).catch(() => {});
  return credentials;
}

/**
 * Renews credentials once. They are saved when this resolves, and used by nobody before: the first use
 * of new ones ends the old ones.
 *
 * @param from.controlUrl where to ask, which is where they will be good.
 * @throws {ControlCallError} also when control cannot be reached; what is saved stays as it is.
 */
export async function renew(
  from: Pick<Credentials, 'controlUrl' | 'refreshToken'>,
  { key, sequence, bootId, machineId }: Registrant,
  store: CredentialStore,
): Promise<Credentials> {
  const { controlUrl, refreshToken } = from;
  const api = new ControlApi(controlUrl);
  const issued = await sequence.inTurn((number) =>
    api.refresh({ refreshToken, proof: key.prove('refresh', refreshToken, number), bootId, machineId }),
  );
  const credentials = toCredentials(controlUrl, issued, Date.now());
  await store.save(credentials);
  await sequence.save();
  return credentials;
}
