import { createControl, type Control } from '@rookery/control/app.ts';
import { controlConfigSchema, type ControlConfig } from '@rookery/control/config.ts';
import { openDatabase, type DatabaseConnection } from '@rookery/control/database/database.ts';
import type { TeamRow, UserRow } from '@rookery/control/accounts/tables.ts';
import type { NewUser } from '@rookery/control/accounts/users/user.service.ts';
import type { FleetTables, HostRow } from '@rookery/control/fleet/tables.ts';
import type { UserViewer } from '@rookery/control/kernel/viewer.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';

/** A fresh, migrated database on the run's PostgreSQL server. */
export async function openTestDatabase(): Promise<DatabaseConnection> {
  return openDatabase(await createTestDatabase(), silentLogger());
}

export async function createTestDatabase(): Promise<string> {
  const url = new URL(inject('postgresUrl'));
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  await client.query(`create database ${name}`);
  await client.end();
  url.pathname = `/${name}`;
  return url.href;
}

/** A whole control process in this one, on a database of its own and free ports. */
export async function startTestControl(
  config: Partial<ControlConfig> = {},
  databaseUrl?: string,
  serveSubgraphs = false,
): Promise<Control> {
  return createControl({
    config: {
      ...controlConfigSchema.parse({
        ROOKERY_AGENT_PORT: '0',
        ROOKERY_SUBGRAPH_PORT: '0',
        ROOKERY_ADMIN_PASSWORD: PASSWORD,
        ROOKERY_GATEWAY_SECRET: 'what control and gateways share',
      }),
      ...config,
    },
    databaseUrl: databaseUrl ?? (await createTestDatabase()),
    serveSubgraphs,
    log: silentLogger(),
  });
}

/** A team that may bring its own hosts, with an owner who signs in with `correct horse`. */
export async function newTeam(
  { accounts }: Pick<Control, 'accounts'>,
  { name = 'Team', email = `${randomUUID()}@example.com`, isByoc = true } = {},
): Promise<{ team: TeamRow; owner: UserRow }> {
  const owner = await newUser({ accounts }, { email });
  return { team: await accounts.services.teams.createFor('control', { name, ownerId: owner.id, isByoc }), owner };
}

/** Someone who signs in with `correct horse`. */
export async function newUser({ accounts }: Pick<Control, 'accounts'>, user: Partial<NewUser> = {}): Promise<UserRow> {
  const email = user.email ?? `${randomUUID()}@example.com`;
  return accounts.services.users.create({
    name: email,
    password: PASSWORD,
    isAdmin: false,
    emailVerified: false,
    ...user,
    email,
  });
}

/** An access token for someone. */
export async function signIn({ accounts }: Pick<Control, 'accounts'>, email: string): Promise<string> {
  return (await accounts.services.sessions.signIn({ email, password: PASSWORD }, {})).token;
}

/** Of everyone that the harness makes. */
export const PASSWORD = 'correct horse';

/** Someone who may do everything. */
export const newAdmin = (viewer: Partial<UserViewer> = {}): UserViewer => ({
  kind: 'USER',
  id: randomUUID(),
  label: 'someone@example.com',
  sessionId: randomUUID(),
  isAdmin: true,
  roles: new Map(),
  ...viewer,
});

/** A member of one team. */
export const newMember = (teamId: string, role: 'OWNER' | 'ADMIN' | 'MEMBER' = 'MEMBER'): UserViewer =>
  newAdmin({ isAdmin: false, roles: new Map([[teamId, role]]) });

/** An online host that can be placed on, with room for everything. */
export async function insertHost(database: DatabaseConnection, host: Partial<HostRow> = {}): Promise<HostRow> {
  const id = host.id ?? randomUUID();
  return database
    .as<FleetTables>()
    .query.insertInto('Host')
    .values({
      id,
      name: `host-${id}`,
      kind: 'PLATFORM',
      status: 'ONLINE',
      teamId: null,
      labels: [],
      agentConditions: [],
      cpuCores: 64,
      memoryMb: 262_144,
      diskGb: 1_024,
      runtimeName: 'runc',
      runtimeVersion: '1.1.5',
      tunnelReplica: randomUUID(),
      registeredAt: new Date(),
      createdAt: new Date(),
      ...host,
    } as never)
    .returningAll()
    .executeTakeFirstOrThrow();
}

/** Credentials of a host that are good, as far as rows go. @returns their family. */
export async function insertIdentity(database: DatabaseConnection, hostId: string): Promise<string> {
  const familyId = randomUUID();
  await database
    .as<FleetTables>()
    .query.insertInto('HostIdentity')
    .values({
      hostId,
      familyId,
      jkt: 'jkt',
      publicKey: 'key',
      sequence: 0,
      bootId: 'boot',
      createdAt: new Date(),
    } as never)
    .execute();
  return familyId;
}
