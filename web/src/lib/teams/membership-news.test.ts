import { describe, expect, it } from 'vitest';
import type { TeamRole } from '#lib/gql/generated/graphql.ts';
import { membershipNews } from './membership-news.ts';

const of = (id: string, role: TeamRole, name = id) => ({ role, team: { id, name } });

describe('news of memberships', () => {
  it('tells of a team that one is no longer in, and of another role', () =>
    expect(membershipNews([of('a', 'MEMBER'), of('b', 'ADMIN')], [of('b', 'MEMBER')])).toEqual([
      'You are no longer in a.',
      'Your role in b is member now.',
    ]));

  it('is silent about a new team, a new name, and when nothing has changed', () =>
    expect(membershipNews([of('a', 'OWNER')], [of('a', 'OWNER', 'renamed'), of('b', 'MEMBER')])).toEqual([]));
});
