import { defineEntity, p } from '@mikro-orm/core';
import { TEAM_ROLES } from '../../kernel/viewer.ts';

export const TeamSchema = defineEntity({
  name: 'Team',
  tableName: 'teams',
  properties: {
    id: p.uuid().primary(),
    /** Not unique: that a name is taken would tell one team of another. */
    name: p.text(),
    /** Whether the team may bring its own hosts. */
    isByoc: p.boolean().default(false),
    createdAt: p.datetime().defaultRaw('now()'),
    createdBy: p.uuid().nullable(),
    idempotencyKey: p.text().nullable(),
    /** Hash of the request that the key was first used with. */
    requestHash: p.text().nullable(),
    /** Counts up with every change of the team, its members, invitations and keys. */
    revision: p.integer().default(1),
  },
  uniques: [{ name: 'teams_idempotency_key', properties: ['createdBy', 'idempotencyKey'] }],
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
