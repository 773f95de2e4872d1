import { NotFound } from '../../kernel/user-errors.ts';
import type { Record as RecordChanges } from '../../kernel/events/event-log.ts';
import type { AccountsDatabase, AccountsTransaction, TeamRow } from '../tables.ts';

/** A team as what an action is done to; undefined when there is none. */
export async function teamResource(
  { query }: AccountsDatabase,
  teamId: string,
): Promise<{ id: string; teamId: string } | undefined> {
  const team = await query.selectFrom('Team').select('id').where('id', '=', teamId).executeTakeFirst();
  return team && { id: team.id, teamId: team.id };
}

/**
 * Locks a team for a change of it or of anything that belongs to it.
 *
 * @throws {NotFound}
 */
export async function lockTeam(tx: AccountsTransaction, teamId: string): Promise<TeamRow> {
  const team = await tx.selectFrom('Team').selectAll().where('id', '=', teamId).forUpdate().executeTakeFirst();
  if (!team) throw new NotFound('team');
  return team;
}

/**
 * Logs that a team has changed: itself, its members, its invitations or its keys.
 *
 * @param type in the field's words: `team.member_added`.
 * @param set  columns of the team that change.
 */
export async function changeTeam(
  tx: AccountsTransaction,
  record: RecordChanges,
  teamId: string,
  type: string,
  set: { name?: string; isByoc?: boolean } = {},
): Promise<TeamRow> {
  const team = await tx
    .updateTable('Team')
    .set((eb) => ({ ...set, revision: eb('revision', '+', 1) }))
    .where('id', '=', teamId)
    .returningAll()
    .executeTakeFirst();
  if (!team) throw new NotFound('team');
  await record([{ subject: 'TEAM', change: 'UPDATED', type, row: { ...team, teamId } }]);
  return team;
}
