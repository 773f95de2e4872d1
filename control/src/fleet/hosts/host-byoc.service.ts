import type { AccountsPort, FleetPort } from '../../kernel/ports.ts';
import type { FleetDatabase } from '../tables.ts';
import type { HostOperations } from './host-operations.service.ts';

export interface HostByocDeps {
  readonly database: FleetDatabase;
  readonly accounts: AccountsPort;
  readonly operations: HostOperations;
}

/**
 * Keeps BYOC hosts in step with whether their teams may bring any. Accounts says when that changes; a
 * periodic pass makes right what a process that died in between has left.
 */
export class HostByoc implements FleetPort {
  readonly #deps: HostByocDeps;

  constructor(deps: HostByocDeps) {
    this.#deps = deps;
  }

  async teamByocChanged(teamId: string): Promise<void> {
    const team = await this.#deps.accounts.team(teamId);
    if (team) await this.#deps.operations.setTeamByoc('control', teamId, team.isByoc);
  }

  /** Every team that has hosts. Returns how many hosts changed. */
  async followTeams(): Promise<number> {
    const { database, accounts, operations } = this.#deps;
    const owners = await database.query
      .selectFrom('Host')
      .select(['teamId', 'byocDisabledAt'])
      .where('kind', '=', 'BYOC')
      .where('deletedAt', 'is', null)
      .execute();
    const allowed = new Set(await accounts.byocTeamIds());
    const behind = new Set(
      owners.flatMap(({ teamId, byocDisabledAt }) =>
        teamId !== null && allowed.has(teamId) !== (byocDisabledAt === null) ? [teamId] : [],
      ),
    );
    let changed = 0;
    for (const teamId of behind) changed += await operations.setTeamByoc('control', teamId, allowed.has(teamId));
    return changed;
  }
}
