import { ApiKeySchema } from './accounts/api-keys/api-key.entity.ts';
import { InvitationSchema } from './accounts/invitations/invitation.entity.ts';
import { OidcFlowSchema } from './accounts/oidc/oidc-flow.entity.ts';
import { SessionSchema } from './accounts/sessions/session.entity.ts';
import { MembershipSchema, TeamSchema } from './accounts/teams/team.entity.ts';
import { UserIdentitySchema, UserSchema } from './accounts/users/user.entity.ts';
import { HostIdentitySchema, RefreshTokenSchema, RegistrationTokenSchema } from './fleet/enrolment/enrolment.entity.ts';
import { AuditEventSchema } from './kernel/audit/audit.entity.ts';
import { EventHeadSchema, EventSchema } from './kernel/events/event.entity.ts';
import { HostDrainSchema } from './fleet/hosts/host-drain.entity.ts';
import { HostLeaseSchema, HostSchema } from './fleet/hosts/host.entity.ts';
import { FleetHealthSchema } from './fleet/monitor/fleet-health.entity.ts';
import { OrphanSchema } from './fleet/sandboxes/orphan.entity.ts';
import { SandboxSchema } from './fleet/sandboxes/sandbox.entity.ts';
import { LeadershipSchema } from './kernel/leadership.entity.ts';
import { RateLimitSchema } from './kernel/limits/rate-limit.entity.ts';
import { ReplicaSchema } from './kernel/replica.entity.ts';
import { SigningKeySchema } from './kernel/signing-key.entity.ts';

/** Every entity of this process, for the ORM. */
export const entities = [
  UserSchema,
  UserIdentitySchema,
  TeamSchema,
  MembershipSchema,
  SessionSchema,
  OidcFlowSchema,
  InvitationSchema,
  ApiKeySchema,
  AuditEventSchema,
  RateLimitSchema,
  SigningKeySchema,
  ReplicaSchema,
  LeadershipSchema,
  HostSchema,
  HostLeaseSchema,
  HostDrainSchema,
  SandboxSchema,
  OrphanSchema,
  FleetHealthSchema,
  EventSchema,
  EventHeadSchema,
  RegistrationTokenSchema,
  HostIdentitySchema,
  RefreshTokenSchema,
] as const;
