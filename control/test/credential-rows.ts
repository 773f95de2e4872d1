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

/** Life of every token, in ms. */
const LIFE_MS = 1_000;
const HOST = 'host';

/** The pure decisions over rows in memory: what the service does with SQL, without the SQL. */
export class CredentialRows implements ControlSide {
  host: HostFacts = { deletedAt: null, quarantinedAt: null };
  identity: Identity | undefined;
  readonly refreshTokens = new Map<string, RefreshTokenFacts>();
  registration: { token: string; facts: RegistrationTokenFacts } | undefined;
  #made = 0;
  #now = new Date(0);

  async register({ token, claims, key, ...request }: Parameters<ControlSide['register']>[0]): Promise<Issued> {
    const facts = this.registration?.token === token ? this.registration.facts : undefined;
    const jkt = `key-${key}`;
    const decision = decideRegistration(
      { token: facts, host: this.host, identity: this.identity, isAllowed: true },
      { ...request, jkt, familyId: this.#new('family'), ...(claims ? { claimedId: HOST } : {}) },
      this.#now,
    );
    if (decision.kind === 'REFUSE') return { refused: decision.reason };
    if (decision.kind === 'OUT_OF_TURN') return { lastSequence: decision.lastSequence };
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
        return { refused: decision.reason };
      case 'OUT_OF_TURN':
        return { lastSequence: decision.lastSequence };
      case 'DELETED':
        return { refused: 'HOST_DELETED' };
      case 'QUARANTINE':
        this.host = { ...this.host, quarantinedAt: this.#now };
        this.registration = undefined;
        return { refused: 'CREDENTIALS_CLONED' };
      case 'RENEW':
        this.identity = { ...(this.identity as Identity), ...decision.changes };
        return this.#issue(decision.parentHash);
    }
  }

  async use(accessToken: string): Promise<boolean> {
    const token = this.refreshTokens.get(accessToken);
    if (!token || !this.identity || token.expiresAt <= this.#now) return false;
    const use = decideUse({ token, host: this.host, identity: this.identity }, this.identity.jkt);
    if (use.kind === 'ACCEPT') this.identity = { ...this.identity, ...use.changes };
    return use.kind === 'ACCEPT';
  }

  async regenerate(options: { resolveQuarantine: boolean; replaceCredentials: boolean }): Promise<string | undefined> {
    if (this.host.deletedAt) return undefined;
    const state = await this.state();
    if (state === 'CLONED' && !options.resolveQuarantine) return undefined;
    if (state === 'WORKING' && !options.replaceCredentials) return undefined;
    const token = this.#new('registration');
    const facts = { hostId: HOST, expiresAt: this.#later(), boundJkt: null, familyId: null, misusedAt: null };
    this.registration = { token, facts };
    return token;
  }

  async state() {
    const dates = (await this.live()).map((hash) => this.refreshTokens.get(hash)?.expiresAt.getTime() ?? 0);
    const renewableUntil = dates.length > 0 ? new Date(Math.max(...dates)) : null;
    return credentialState({ host: this.host, identity: this.identity, renewableUntil }, this.#now);
  }

  async live(): Promise<string[]> {
    const { identity } = this;
    if (!identity || identity.revokedAt || this.host.quarantinedAt) return [];
    return [...this.refreshTokens.values()]
      .filter((token) => ['HEAD', 'NEXT'].includes(standingOf(identity, token)) && token.expiresAt > this.#now)
      .map(({ hash }) => hash);
  }

  async expire(): Promise<void> {
    this.#now = this.#later();
  }

  async deleteHost(): Promise<void> {
    this.host = { ...this.host, deletedAt: this.#now };
    this.identity = this.identity && { ...this.identity, revokedAt: this.#now };
    this.registration = undefined;
  }

  #later(): Date {
    return new Date(this.#now.getTime() + LIFE_MS);
  }

  #decide(hash: string, request: Proven) {
    const token = this.refreshTokens.get(hash);
    return decideRefresh({ token, host: this.host, identity: this.identity }, request, this.#now);
  }

  #issue(parentHash: string | null): { issued: Held } {
    const hash = this.#new('refresh');
    const { familyId } = this.identity as Identity;
    this.refreshTokens.set(hash, { hash, familyId, parentHash, expiresAt: this.#later() });
    // An access token is known by the refresh token that it was issued beside.
    return { issued: { refreshToken: hash, accessToken: hash } };
  }

  #new(kind: string): string {
    return `${kind}-${++this.#made}`;
  }
}
