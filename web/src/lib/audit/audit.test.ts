import { describe, expect, it } from 'vitest';
import {
  actionLabel,
  detailPairs,
  detailSummary,
  everything,
  outcomeLook,
  toAuditEvent,
  toAuditFilter,
} from './audit.ts';

const NOW = Date.parse('2026-11-25T12:00:00.000Z');

describe('an audit event', () => {
  it('that is complete is newer than the same one under way', () => {
    const event = { id: 'a', at: '2026-11-25T12:00:00.000Z' } as Parameters<typeof toAuditEvent>[0];
    const underWay = toAuditEvent({ ...event, outcome: null });
    const complete = toAuditEvent({ ...event, outcome: 'SUCCEEDED' });
    expect(complete.revision).toBeGreaterThan(underWay.revision);
    expect(complete.createdAt).toBe(event.at);
  });

  it.each([
    ['createApiKey', 'Create API key'],
    ['addTeamMember', 'Invite member'],
    ['setTeamByoc', 'Switch BYOC of team'],
    ['token.refused', 'Token refused'],
    ['somethingNew', 'Something new'],
  ])('calls %s "%s"', (action, label) => expect(actionLabel(action)).toBe(label));

  it('without an outcome is under way, not failed', () => expect(outcomeLook(null)).toMatchObject({ tone: 'idle' }));

  it('keeps all of a detail’s value', () =>
    expect(detailPairs(['name=a=b', 'force'])).toEqual([
      { name: 'name', value: 'a=b' },
      { name: 'force', value: '' },
    ]));
});

describe('an audit event’s summary', () => {
  it('begins with whom or what it was about', () =>
    expect(detailSummary(['role=MEMBER', 'email=radia@example.test'])).toBe('radia@example.test · member'));

  it('writes lists as people do, and survives what only looks like one', () => {
    expect(detailSummary(['name=ci', 'scopes=["hosts:read","hosts:write"]'])).toBe('ci · hosts:read, hosts:write');
    expect(detailSummary(['name=[draft'])).toBe('[draft');
  });

  it('leaves out what says nothing without its name', () => expect(detailSummary(['isByoc=true'])).toBe(''));
});

describe('the filter', () => {
  it('of no choice is everything of the team', () => {
    expect(toAuditFilter(everything, 'team', NOW)).toEqual({ teamId: 'team' });
    expect(toAuditFilter(everything, null, NOW)).toEqual({});
  });

  it('has what was chosen, and a time reckoned from now', () => {
    const choice = { action: 'signIn', outcome: 'REFUSED', actorKind: 'USER', since: '24' } as const;
    expect(toAuditFilter(choice, null, NOW)).toEqual({
      action: 'signIn',
      outcome: 'REFUSED',
      actorKind: 'USER',
      since: '2026-11-24T12:00:00.000Z',
    });
  });
});
