import { sha256 } from '@rookery/wire/secrets.ts';
import { RateLimiterRes, type RateLimiterAbstract } from 'rate-limiter-flexible';
import type { DatabaseConnection } from '../../database/database.ts';
import { sharedRateLimit } from '../../kernel/limits/rate-limits.ts';
import { UserError } from '../../kernel/user-errors.ts';

/** Too many wrong passwords, for this account or from this address. */
export class TooManyAttempts extends UserError {
  readonly retryAfterSeconds: number;
  constructor(retryAfterSeconds: number) {
    super('TOO_MANY_ATTEMPTS', `Too many attempts to sign in; try again in ${describe(retryAfterSeconds)}.`);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

const describe = (seconds: number): string =>
  seconds < 90 ? `${seconds} seconds` : `${Math.ceil(seconds / 60)} minutes`;

const MINUTE = 60;

/**
 * Wrong passwords allowed in 15 minutes for one account from one address. Fewer locks out slow
 * typists, more gives guessers a better chance; those come from elsewhere, too, so see the other two.
 */
const PER_PAIR = 10;

/** For one account in an hour, from wherever: the bound on a distributed guess, and on locking somebody out on purpose. */
const PER_ACCOUNT = 60;

/** From one address in 15 minutes, for whichever accounts: the bound on trying one password everywhere. */
const PER_ADDRESS = 100;

/** Counts failed sign-ins across all replicas. Accounts that do not exist count like those that do. */
export class SignInThrottle {
  readonly #pair: RateLimiterAbstract;
  readonly #account: RateLimiterAbstract;
  readonly #address: RateLimiterAbstract;

  constructor(connection: DatabaseConnection) {
    this.#pair = sharedRateLimit(connection, { name: 'signin-pair', points: PER_PAIR, perSeconds: 15 * MINUTE });
    this.#account = sharedRateLimit(connection, {
      name: 'signin-account',
      points: PER_ACCOUNT,
      perSeconds: 60 * MINUTE,
    });
    this.#address = sharedRateLimit(connection, {
      name: 'signin-address',
      points: PER_ADDRESS,
      perSeconds: 15 * MINUTE,
    });
  }

  /**
   * Counts an attempt before its password is looked at, so that many at once count, too.
   *
   * @returns to be called when the password was right: the attempt then does not count.
   * @throws {TooManyAttempts}
   */
  async attempt(email: string, address: string | undefined): Promise<() => Promise<void>> {
    const account = sha256(email);
    const from = address ?? 'unknown';
    const pair = `${account}:${from}`;
    try {
      await this.#pair.consume(pair);
      await this.#address.consume(from);
      await this.#account.consume(account);
    } catch (refused) {
      if (!(refused instanceof RateLimiterRes)) throw refused;
      throw new TooManyAttempts(Math.max(1, Math.ceil(refused.msBeforeNext / 1_000)));
    }
    return async () => {
      await Promise.all([this.#pair.delete(pair), this.#address.reward(from), this.#account.reward(account)]);
    };
  }
}
