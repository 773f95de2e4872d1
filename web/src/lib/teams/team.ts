import type { TeamQuery, TeamRole } from '#lib/gql/generated/graphql.ts';
import type { Tone } from '#lib/ui/tone.ts';

/** A team as its page knows it. */
export type Team = NonNullable<TeamQuery['team']>;
export type TeamMember = Team['members'][number];
export type Invitation = Team['invitations'][number];

export const teamRole: Record<TeamRole, { label: string; tone: Tone; meaning: string }> = {
  OWNER: { label: 'Owner', tone: 'info', meaning: 'Does everything in the team, and names other owners.' },
  ADMIN: { label: 'Admin', tone: 'ok', meaning: 'Manages hosts, API keys, members and admins.' },
  MEMBER: { label: 'Member', tone: 'idle', meaning: 'Uses the team’s sandboxes.' },
};

/** From the most to the least. */
export const teamRoles: readonly TeamRole[] = ['OWNER', 'ADMIN', 'MEMBER'];

/** Who looks at a team: their role in it, and whether they administer the whole platform. */
export interface TeamViewer {
  readonly userId: string;
  readonly role: TeamRole | null;
  readonly isAdmin: boolean;
}

/** Whether to offer what owners and admins do. A courtesy, as all here: the server decides. */
export function managesTeam({ role, isAdmin }: Pick<TeamViewer, 'role' | 'isAdmin'>): boolean {
  return isAdmin || role === 'OWNER' || role === 'ADMIN';
}

/** The roles that a viewer may give to others. */
export function assignableRoles(viewer: Pick<TeamViewer, 'role' | 'isAdmin'>): readonly TeamRole[] {
  if (viewer.isAdmin || viewer.role === 'OWNER') return teamRoles;
  return viewer.role === 'ADMIN' ? ['ADMIN', 'MEMBER'] : [];
}

export interface MemberRights {
  /** Roles to choose from, the present one included; empty when it cannot be changed. */
  readonly roles: readonly TeamRole[];
  readonly mayRemove: boolean;
  readonly mayLeave: boolean;
  /** Why the role cannot be changed or the person not removed, when there is more to say than "not yours to do". */
  readonly note: string | null;
}

/** What a viewer may do with one member. */
export function memberRights(viewer: TeamViewer, member: TeamMember, members: readonly TeamMember[]): MemberRights {
  const isSelf = member.user?.id === viewer.userId;
  const isLastOwner = member.role === 'OWNER' && members.filter(({ role }) => role === 'OWNER').length === 1;
  const roles = assignableRoles(viewer);
  const reaches = roles.includes(member.role);
  return {
    roles: reaches && !isLastOwner ? roles : [],
    mayRemove: reaches && !isLastOwner && !isSelf,
    mayLeave: isSelf && !isLastOwner,
    note: isLastOwner
      ? isSelf
        ? 'You are the only owner. Make somebody else an owner before you step down or leave.'
        : 'The only owner. A team always keeps one.'
      : null,
  };
}

/**
 * The team to work in: the one chosen before, as long as the viewer belongs to it, else the first.
 *
 * @param memberships in the order of the server: by name.
 */
export function pickTeam<T extends { readonly team: { readonly id: string } }>(
  memberships: readonly T[],
  chosen: string | null,
): T | null {
  return memberships.find(({ team }) => team.id === chosen) ?? memberships[0] ?? null;
}
