import type { TeamRole } from '#lib/gql/generated/graphql.ts';
import { teamRole } from './team.ts';

interface Membership {
  readonly role: TeamRole;
  readonly team: { readonly id: string; readonly name: string };
}

/**
 * What to tell a person about their teams that has become another without their doing, in sentences.
 *
 * Joining is told where it is done; being taken out or given another role happens to people.
 */
export function membershipNews(before: readonly Membership[], after: readonly Membership[]): string[] {
  const now = new Map(after.map((membership) => [membership.team.id, membership]));
  return before.flatMap(({ role, team }) => {
    const present = now.get(team.id);
    if (!present) return [`You are no longer in ${team.name}.`];
    if (present.role === role) return [];
    return [`Your role in ${present.team.name} is ${teamRole[present.role].label.toLowerCase()} now.`];
  });
}
