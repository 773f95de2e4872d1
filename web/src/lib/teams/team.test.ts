import { describe, expect, it } from 'vitest';
import type { TeamRole } from '#lib/gql/generated/graphql.ts';
import { assignableRoles, memberRights, pickTeam, teamRoles, type TeamMember, type TeamViewer } from './team.ts';

const newMember = (id: string, role: TeamRole): TeamMember => ({
  role,
  joinedAt: '2026-01-01T00:00:00.000Z',
  user: { id, name: id, email: `${id}@example.test` },
});
const newViewer = (role: TeamRole | null, overrides: Partial<TeamViewer> = {}): TeamViewer => ({
  userId: 'me',
  role,
  isAdmin: false,
  ...overrides,
});

describe('what a viewer may do with a member', () => {
  const rightsOf = (mine: TeamRole | null, theirs: TeamRole, isAdmin = false) => {
    const member = newMember('other', theirs);
    const others = [newMember('someone', 'OWNER'), member];
    const { roles, mayRemove } = memberRights(newViewer(mine, { isAdmin }), member, others);
    return { roles: roles.length, mayRemove };
  };

  it.each([
    ['OWNER', 'OWNER', { roles: 3, mayRemove: true }],
    ['OWNER', 'ADMIN', { roles: 3, mayRemove: true }],
    ['OWNER', 'MEMBER', { roles: 3, mayRemove: true }],
    ['ADMIN', 'OWNER', { roles: 0, mayRemove: false }],
    ['ADMIN', 'ADMIN', { roles: 2, mayRemove: true }],
    ['ADMIN', 'MEMBER', { roles: 2, mayRemove: true }],
    ['MEMBER', 'OWNER', { roles: 0, mayRemove: false }],
    ['MEMBER', 'ADMIN', { roles: 0, mayRemove: false }],
    ['MEMBER', 'MEMBER', { roles: 0, mayRemove: false }],
  ] as const)('as %s with an %s', (mine, theirs, expected) => expect(rightsOf(mine, theirs)).toEqual(expected));

  it.each(teamRoles)('as a platform admin who is no member, everything with an %s', (theirs) =>
    expect(rightsOf(null, theirs, true)).toEqual({ roles: 3, mayRemove: true }),
  );

  it('keeps the last owner, and says why', () => {
    const me = newMember('me', 'OWNER');
    const rights = memberRights(newViewer('OWNER'), me, [me, newMember('other', 'ADMIN')]);
    expect(rights).toEqual({
      roles: [],
      mayRemove: false,
      mayLeave: false,
      note: expect.stringContaining('only owner'),
    });
  });

  it('lets anyone else leave, but not remove themselves', () => {
    const me = newMember('me', 'MEMBER');
    const { mayLeave, mayRemove } = memberRights(newViewer('MEMBER'), me, [newMember('other', 'OWNER'), me]);
    expect({ mayLeave, mayRemove }).toEqual({ mayLeave: true, mayRemove: false });
  });

  it('never offers a role above one’s own', () => {
    expect(assignableRoles(newViewer('ADMIN'))).toEqual(['ADMIN', 'MEMBER']);
    expect(assignableRoles(newViewer('MEMBER'))).toEqual([]);
  });
});

describe('the current team', () => {
  const memberships = [{ team: { id: 'a' } }, { team: { id: 'b' } }];

  it('is the chosen one', () => expect(pickTeam(memberships, 'b')?.team.id).toBe('b'));
  it('is the first one when nothing was chosen', () => expect(pickTeam(memberships, null)?.team.id).toBe('a'));
  it('is another one when the viewer has left the chosen one', () =>
    expect(pickTeam(memberships, 'gone')?.team.id).toBe('a'));
  it('is none for someone without a team', () => expect(pickTeam([], 'b')).toBeNull());
});
