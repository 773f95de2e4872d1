import { defineEntity, p } from '@mikro-orm/core';
import { TEAM_ROLES } from '../../kernel/viewer.ts';

/** An offer to join a team, to whoever holds its token or signs in with its address. */
export const InvitationSchema = defineEntity({
  name: 'Invitation',
  tableName: 'invitations',
  properties: {
    id: p.uuid().primary(),
    teamId: p.uuid(),
    /** Lower case. */
    email: p.text().index(),
    role: p.enum(TEAM_ROLES),
    tokenHash: p.text().unique(),
    invitedBy: p.uuid(),
    createdAt: p.datetime().defaultRaw('now()'),
    expiresAt: p.datetime(),
    acceptedAt: p.datetime().nullable(),
    canceledAt: p.datetime().nullable(),
  },
  indexes: [
    {
      name: 'invitations_open_key',
      expression:
        'create unique index "invitations_open_key" on "invitations" ("team_id", "email") where "accepted_at" is null and "canceled_at" is null',
    },
  ],
});

export class Invitation extends InvitationSchema.class {}
InvitationSchema.setClass(Invitation);
