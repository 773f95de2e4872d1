import { silentLogger } from '@rookery/wire/log.ts';
import type { DatabaseConnection } from '../../src/database/database.ts';
import { Departures } from '../../src/fleet/agent-channel/departure.service.ts';
import { CredentialIssuer } from '../../src/fleet/enrolment/credential.issuer.ts';
import { EnrolmentAudit } from '../../src/fleet/enrolment/enrolment.audit.ts';
import { Enrolment } from '../../src/fleet/enrolment/enrolment.service.ts';
import { HostTokens } from '../../src/fleet/enrolment/host-token.service.ts';
import { AuditLog } from '../../src/kernel/audit/audit-log.ts';
import { SigningKeys } from '../../src/kernel/signing-keys.ts';
import type { LifecycleWorld } from './lifecycle-world.ts';

/** How machines become hosts, beside everything else that happens to them. */
export interface EnrolmentWorld extends LifecycleWorld {
  readonly enrolment: Enrolment;
  readonly tokens: HostTokens;
  readonly departures: Departures;
}

/** @param keys kept from run to run: making one takes longer than a run. */
export function withEnrolment(
  world: LifecycleWorld,
  connection: DatabaseConnection,
  keys: SigningKeys,
): EnrolmentWorld {
  const log = silentLogger();
  const { database, events, hub, hosts, accounts } = world;
  const registrationTokenSeconds = 3_600;
  const lifetimes = { registrationTokenSeconds, accessTokenSeconds: 3_600, refreshTokenSeconds: 7_200 };
  const disconnect = (): void => {};
  const issuer = new CredentialIssuer(keys, lifetimes);
  const audit = new EnrolmentAudit(database, new AuditLog(connection, events.as(), log));
  const enrolment = new Enrolment({
    database,
    events,
    accounts,
    issuer,
    audit,
    disconnect,
    cutTunnel: () => {},
    log,
  });
  const tokens = new HostTokens({
    database,
    events,
    hub,
    hosts,
    agentUrl: () => 'http://control',
    registrationTokenSeconds,
  });
  const departures = new Departures({ database, events, enrolment, issuer, audit, disconnect });
  return Object.assign(world, { enrolment, tokens, departures });
}
