import {
  credentialState,
  decideRefresh,
  decideRegistration,
  decideUse,
  standingOf,
  type HostFacts,
  type Identity,
  type RefreshTokenFacts,
  type RegistrationTokenFacts,
} from '@rookery/control/fleet/enrolment/credential.state.ts';
import type { ControlSide, Held, Issued, Proven } from './credential-world.ts';

const NEVER = new Date(8.64e15);
const NOW = new Date(0);
const HOST = 'host';

/** The pure decisions over rows in memory: what the service does with SQL, without the SQL. */
export class CredentialRows implements ControlSide {
  host: HostFacts = { deletedAt: null, quarantinedAt: null };
  identity: Identity | undefined;
  readonly refreshTokens = new Map<string, RefreshTokenFacts>();
  registration: { token: string; facts: RegistrationTokenFacts } | undefined;
  #made = 0;

  async register({ token, claims, key, ...request }: Parameters<ControlSide['register']>[0]): Promise<Issued> {
    const facts = this.registration?.token === token ? this.registration.facts : undefined;
    const jkt = `key-${key}`;
    const decision = decideRegistration(
      { token: facts, host: this.host, identity: this.identity },
      { ...request, jkt, familyId: this.#new('family'), ...(claims ? { claimedId: HOST } : {}) },
      NOW,
    );
    if (decision.kind === 'REFUSE') return { refused: decision.reason };
    if (decision.kind === 'ENROL') {
      this.identity = decision.identity;
      this.host = { ...this.host, quarantinedAt: null };
      const bound = { ...(facts as RegistrationTokenFacts), boundJkt: jkt, familyId: decision.identity.familyId };
      this.registration = { token, facts: bound };
    } else this.identity = { ...(this.identity as Identity), ...decision.changes };
    return this.#issue(decision.parentHash);
  }

  async refresh({ refreshToken, ...request }: Proven & { refreshToken: string }): Promise<Issued> {
    if (this.identity && this.identity.jkt !== `key-${request.key}`) return { refused: 'PROOF_INVALID' };
    const decision = this.#decide(refreshToken, request);
    switch (decision.kind) {
      case 'REFUSE':
        return { refused: decision.reason, lastSequence: decision.lastSequence };
      case 'DELETED':
        return { refused: 'HOST_DELETED' };
      case 'QUARANTINE':
        this.host = { ...this.host, quarantinedAt: NOW };
        this.registration = undefined;
        return { refused: 'CREDENTIALS_CLONED' };
      case 'RENEW':
        this.identity = { ...(this.identity as Identity), ...decision.changes };
        return this.#issue(decision.parentHash);
    }
  }

  async use(accessToken: string): Promise<boolean> {
    const token = this.refreshTokens.get(accessToken);
    if (!token || !this.identity) return false;
    const use = decideUse({ token, host: this.host, identity: this.identity }, this.identity.jkt);
    if (use.kind === 'ACCEPT') this.identity = { ...this.identity, ...use.changes };
    return use.kind === 'ACCEPT';
  }

  async regenerate(options: { resolveQuarantine: boolean; replaceCredentials: boolean }): Promise<string | undefined> {
    const state = await this.state();
    if (state === 'CLONED' && !options.resolveQuarantine) return undefined;
    if (state === 'WORKING' && !options.replaceCredentials) return undefined;
    const token = this.#new('registration');
    const facts = { hostId: HOST, expiresAt: NEVER, boundJkt: null, familyId: null, misusedAt: null };
    this.registration = { token, facts };
    return token;
  }

  async state() {
    const renewableUntil = (await this.live()).length > 0 ? NEVER : null;
    return credentialState({ host: this.host, identity: this.identity, renewableUntil }, NOW);
  }

  async live(): Promise<string[]> {
    const { identity } = this;
    if (!identity) return [];
    return [...this.refreshTokens.values()]
      .filter((token) => ['HEAD', 'NEXT'].includes(standingOf(identity, token)))
      .map(({ hash }) => hash);
  }

  #decide(hash: string, request: Proven) {
    const token = this.refreshTokens.get(hash);
    return decideRefresh({ token, host: this.host, identity: this.identity }, request, NOW);
  }

  #issue(parentHash: string | null): { issued: Held } {
    const hash = this.#new('refresh');
    const { familyId } = this.identity as Identity;
    this.refreshTokens.set(hash, { hash, familyId, parentHash, expiresAt: NEVER });
    // An access token is known by the refresh token that it was issued beside.
    return { issued: { refreshToken: hash, accessToken: hash } };
  }

  #new(kind: string): string {
    return `${kind}-${++this.#made}`;
  }
}
