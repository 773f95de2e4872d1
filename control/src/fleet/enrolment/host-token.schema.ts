import { idArgument } from '../../kernel/connection.ts';
import { NO_SUCH_ROW } from '../../kernel/global-id.ts';
import { NotFound, NotPermitted, UserError } from '../../kernel/user-errors.ts';
import type { FleetBuilder } from '../builder.ts';
import type { CreatedHost } from '../hosts/host.service.ts';
import type { SharedTypes } from '../shared.schema.ts';
import { CREDENTIAL_STATES, QUARANTINE_CAUSES } from './credential.state.ts';
import {
  HostBeingDeleted,
  HostHasCredentials,
  HostQuarantined,
  type CredentialHolder,
  type HostCredentialsView,
} from './host-token.service.ts';

/** `Host.credentials` and `regenerateHostToken`. */
export function addHostTokens(builder: FleetBuilder, { Host, joinWarnings }: SharedTypes): void {
  const CredentialsState = builder.enumType('HostCredentialsState', {
    description:
      'NONE: no machine has registered. UNUSED: issued, and never used. WORKING: the agent can renew them by itself. EXPIRED: it can no longer. CLONED: two machines have used them, and neither can renew them until a new token decides.',
    values: CREDENTIAL_STATES,
  });
  const QuarantineCause = builder.enumType('HostQuarantineCause', {
    description:
      'REFRESH_REUSED: a refresh token was used that a newer one had replaced. SECOND_AGENT: a second agent came while the first was connected and answered. SECOND_MACHINE: the credentials came from another machine than they were given to.',
    values: QUARANTINE_CAUSES,
  });
  const Holder = builder.objectRef<CredentialHolder>('HostCredentialHolder').implement({
    description: 'A machine that has used a host’s credentials, as it describes itself.',
    fields: (t) => ({
      address: t.exposeString('address', {
        nullable: true,
        description: 'Where control saw it; that of the proxy when there is one in between.',
      }),
      bootId: t.exposeString('bootId', { nullable: true, description: 'Changes with every boot of the machine.' }),
      machineId: t.exposeString('machineId', {
        nullable: true,
        description: 'Stays the same across boots; null for a machine that has nothing of the kind.',
      }),
      seenAt: t.expose('seenAt', { type: 'DateTime', nullable: true }),
    }),
  });
  const Credentials = builder.objectRef<HostCredentialsView>('HostCredentials').implement({
    description: 'What a host’s credentials are worth.',
    fields: (t) => ({
      state: t.expose('state', { type: CredentialsState }),
      quarantineCause: t.expose('quarantineCause', { type: QuarantineCause, nullable: true }),
      quarantinedAt: t.expose('quarantinedAt', { type: 'DateTime', nullable: true }),
      holders: t.field({
        type: [Holder],
        description: 'The machine that was granted credentials last; in quarantine also the other one, after it.',
        resolve: ({ holders }) => [...holders],
      }),
    }),
  });
  builder.objectField(Host, 'credentials', (t) =>
    t.field({
      type: Credentials,
      nullable: true,
      description: 'For those who may make registration tokens for the host; null for others.',
      resolve: (host, _args, { loaders }) => loaders.credentials.load(host),
    }),
  );

  builder.objectType(HostHasCredentials, { name: 'HostHasCredentials', interfaces: [UserError] });
  builder.objectType(HostQuarantined, { name: 'HostQuarantined', interfaces: [UserError] });
  builder.objectType(HostBeingDeleted, { name: 'HostBeingDeleted', interfaces: [UserError] });
  const Regenerated = builder.objectRef<CreatedHost>('HostTokenRegenerated').implement({
    fields: (t) => ({
      host: t.expose('host', { type: Host }),
      registrationToken: t.exposeString('registrationToken', {
        description: 'Shown only here. One machine can spend it, once.',
      }),
      registrationTokenExpiresAt: t.expose('registrationTokenExpiresAt', { type: 'DateTime' }),
      joinCommand: t.exposeString('joinCommand', {
        description: 'To be pasted on the machine, as root. A machine that was this host keeps its sandboxes.',
      }),
      warnings: t.field(joinWarnings),
      cursor: t.exposeString('cursor', { description: 'Of the event log, not later than this change.' }),
    }),
  });
  const RegenerateInput = builder.inputType('RegenerateHostTokenInput', {
    fields: (t) => ({
      hostId: t.id({ required: true }),
      replaceCredentials: t.boolean({
        defaultValue: false,
        description:
          'Also when the host has working credentials, for a machine that has lost them. They end when the token is spent.',
      }),
      resolveQuarantine: t.boolean({
        defaultValue: false,
        description:
          'Also when two machines have used the host’s credentials: the one that spends the token is the host, and the other one is shut out.',
      }),
    }),
  });
  builder.mutationField('regenerateHostToken', (t) =>
    t.field({
      type: Regenerated,
      description:
        'Makes a new registration token for a host without working credentials. Any older one dies; the machine that spends the new one is this host, with the sandboxes it has.',
      errors: {
        types: [HostBeingDeleted, HostHasCredentials, HostQuarantined, NotFound, NotPermitted],
        union: { name: 'RegenerateHostTokenResult' },
      },
      args: { input: t.arg({ type: RegenerateInput, required: true }) },
      resolve: (_root, { input }, { viewer, services }) =>
        services.hostTokens.regenerate(viewer, {
          hostId: idArgument('Host', input.hostId) ?? NO_SUCH_ROW,
          replaceCredentials: input.replaceCredentials ?? false,
          resolveQuarantine: input.resolveQuarantine ?? false,
        }),
    }),
  );
}
