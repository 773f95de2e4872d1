import { defineEntity, p } from '@mikro-orm/core';
import { TEAM_ROLES } from '../../kernel/viewer.ts';

export const TeamSchema = defineEntity({
  name: 'Team',
  tableName: 'teams',
  properties: {
    id: p.uuid().primary(),
    name: p.text().unique(),
    /** Whether the team may bring its own hosts. */
    isByoc: p.boolean().default(false),
    createdAt: p.datetime().defaultRaw('now()'),
  },
});

export class Team extends TeamSchema.class {}
TeamSchema.setClass(Team);

export const MembershipSchema = defineEntity({
  name: 'Membership',
  tableName: 'memberships',
  properties: {
    id: p.uuid().primary(),
    teamId: p.uuid(),
    userId: p.uuid().index(),
    role: p.enum(TEAM_ROLES),
    createdAt: p.datetime().defaultRaw('now()'),
  },
  uniques: [{ properties: ['teamId', 'userId'] }],
});

export class Membership extends MembershipSchema.class {}
MembershipSchema.setClass(Membership);
