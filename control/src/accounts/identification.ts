import type { Caller } from '@rookery/wire/caller.ts';
import { sha256 } from '@rookery/wire/secrets.ts';
import { decodeJwt } from 'jose';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import type { AuditLog } from '../kernel/audit/audit-log.ts';
import { ANONYMOUS } from '../kernel/audit/audit.ts';
import type { Viewer } from '../kernel/viewer.ts';
import { API_KEY_PREFIX, type ApiKeyService } from './api-keys/api-key.service.ts';
import type { SessionService } from './sessions/session.service.ts';

/** How often the same bad credential is written down, and how many of one address, a minute. */
const SAME_A_MINUTE = 1;
const ADDRESS_A_MINUTE = 20;

export interface IdentificationDeps {
  readonly sessions: SessionService;
  readonly apiKeys: ApiKeyService;
  readonly audit: AuditLog;
}

/** Tells who a caller is, and writes down credentials that are nobody's. */
export class Identification {
  readonly #deps: IdentificationDeps;
  readonly #same = new RateLimiterMemory({ points: SAME_A_MINUTE, duration: 60 });
  readonly #address = new RateLimiterMemory({ points: ADDRESS_A_MINUTE, duration: 60 });

  constructor(deps: IdentificationDeps) {
    this.#deps = deps;
  }

  /** The viewer behind a caller's credentials; null when they are missing, bad, expired or revoked. */
  async viewer(caller: Caller): Promise<Viewer | null> {
    const { token, session } = caller;
    const { sessions, apiKeys } = this.#deps;
    if (token !== undefined) {
      const isKey = token.startsWith(`${API_KEY_PREFIX}_`);
      const viewer = isKey ? await apiKeys.viewerOfSecret(token, caller) : await sessions.viewerOfToken(token);
      if (!viewer && !hasSimplyExpired(token)) await this.#refused(isKey ? 'api-key' : 'access-token', token, caller);
      return viewer;
    }
    // A cookie that is no longer good is what every browser has after a while.
    return session === undefined ? null : sessions.viewerOfSecret(session);
  }

  async #refused(kind: string, token: string, caller: Caller): Promise<void> {
    try {
      await this.#same.consume(`${caller.address}:${sha256(token)}`);
      await this.#address.consume(String(caller.address));
    } catch {
      return;
    }
    await this.#deps.audit.record({
      action: 'token.refused',
      actor: ANONYMOUS,
      outcome: 'REFUSED',
      code: 'UNAUTHENTICATED',
      // Enough to find a leaked key by, and worth nothing.
      detail: { kind, ...(kind === 'api-key' ? { prefix: token.slice(0, 10) } : {}) },
      caller,
    });
  }
}

/** What an access token says about itself is enough to decide that it is not worth a line. */
function hasSimplyExpired(token: string): boolean {
  try {
    const { exp } = decodeJwt(token);
    return exp !== undefined && exp * 1_000 <= Date.now();
  } catch {
    return false;
  }
}
