import { RookeryError } from '@rookery/wire/errors.ts';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import type { AuditLog } from '../../kernel/audit/audit-log.ts';
import { ANONYMOUS } from '../../kernel/audit/audit.ts';
import type { FleetDatabase } from '../tables.ts';

/** How often the same refusal of the same host from the same address is written down, a minute: an agent that is refused asks again for ever. */
const SAME_A_MINUTE = 1;

/** How many refusals of one address are, a minute. */
const ADDRESS_A_MINUTE = 20;

/** Puts what happens to hosts' credentials on the audit trail: of the host's team, or of the platform. */
export class EnrolmentAudit {
  readonly #database: FleetDatabase;
  readonly #audit: AuditLog;
  readonly #same = new RateLimiterMemory({ points: SAME_A_MINUTE, duration: 60 });
  readonly #address = new RateLimiterMemory({ points: ADDRESS_A_MINUTE, duration: 60 });

  constructor(database: FleetDatabase, audit: AuditLog) {
    this.#database = database;
    this.#audit = audit;
  }

  async succeeded(action: string, hostId: string, address: string | null): Promise<void> {
    await this.#record(action, hostId, address, undefined);
  }

  /** Only refusals: what could not be told, or was out of turn, says nothing about anybody. */
  async refused(
    action: string,
    whose: () => Promise<string | undefined>,
    address: string | null,
    error: unknown,
  ): Promise<void> {
    if (!(error instanceof RookeryError) || error.reason === undefined || error.reason === 'REQUEST_OUT_OF_TURN')
      return;
    const code = error.reason;
    const hostId = await whose();
    try {
      await this.#same.consume(`${address} ${hostId} ${action} ${code}`);
      await this.#address.consume(String(address));
    } catch {
      return;
    }
    await this.#record(action, hostId, address, code);
  }

  async #record(
    action: string,
    hostId: string | undefined,
    address: string | null,
    code: string | undefined,
  ): Promise<void> {
    const host =
      hostId === undefined
        ? undefined
        : await this.#database.query
            .selectFrom('Host')
            .select(['id', 'name', 'teamId'])
            .where('id', '=', hostId)
            .executeTakeFirst();
    await this.#audit.record({
      action,
      // Whoever is refused has not shown that they are the host.
      actor: host && code === undefined ? { kind: 'HOST', id: host.id, label: host.name } : ANONYMOUS,
      outcome: code === undefined ? 'SUCCEEDED' : 'REFUSED',
      code,
      subject: host && { type: 'host', id: host.id, teamId: host.teamId },
      caller: { address: address ?? undefined },
    });
  }
}
