import { StartupError } from '@rookery/wire/errors.ts';
import { randomBytes } from 'node:crypto';
import { userInfo } from 'node:os';
import type { AccountsServices } from '../accounts/builder.ts';
import type { UserRow } from '../accounts/tables.ts';
import type { DatabaseConnection } from '../database/database.ts';
import type { AuditLog } from '../kernel/audit/audit-log.ts';
import { KEY_PURPOSES, rotateKey } from '../kernel/key-rotation.ts';
import type { KeyPurpose } from '../kernel/signing-keys.ts';
import { UserError } from '../kernel/user-errors.ts';

export interface CommandDeps {
  readonly database: DatabaseConnection;
  readonly users: AccountsServices['users'];
  readonly audit: AuditLog;
}

export interface CommandOptions {
  readonly name?: string | undefined;
  readonly admin?: boolean | undefined;
  readonly purpose?: string | undefined;
  readonly 'drop-old'?: boolean | undefined;
}

/** What an operator with access to the database may do without signing in. */
export const USAGE = `usage: npm run control -- COMMAND

  user create EMAIL [--name NAME] [--admin]   make an account; prints its password once
  user reset-password EMAIL                   give an account a new password and end its sessions
  admin grant EMAIL                           make somebody a platform admin
  admin revoke EMAIL                          make them an ordinary user again
  keys rotate [--purpose session|host]        sign tokens with a new key; nobody is logged out
              [--drop-old]                    ... and refuse what the old keys signed (for a stolen key)

The database is DATABASE_URL, or else that of ROOKERY_DATA_DIR.`;

/**
 * Carries out one command.
 *
 * @returns what to tell the operator.
 * @throws {StartupError} in one sentence.
 */
export async function runCommand(
  deps: CommandDeps,
  [noun, verb, subject]: readonly string[],
  options: CommandOptions,
): Promise<string> {
  const { users } = deps;
  switch (`${noun} ${verb}`) {
    case 'user create': {
      const email = required(subject);
      const password = newPassword();
      const user = await audited(deps, 'user.create', () =>
        users.create({
          email,
          name: options.name ?? email,
          password,
          isAdmin: options.admin ?? false,
          emailVerified: true,
        }),
      );
      return `${user.email} can sign in with the password ${password} (shown only now).`;
    }
    case 'user reset-password': {
      const password = newPassword();
      const user = await audited(deps, 'user.reset_password', async () =>
        users.setPassword((await find(users, subject)).id, password),
      );
      return `${user.email} can sign in with the password ${password} (shown only now); all their sessions have ended.`;
    }
    case 'admin grant':
    case 'admin revoke': {
      const isAdmin = verb === 'grant';
      const user = await audited(deps, isAdmin ? 'user.grant_admin' : 'user.revoke_admin', async () =>
        users.setAdmin(undefined, (await find(users, subject)).id, isAdmin),
      );
      return `${user.email} is ${isAdmin ? 'a platform admin now' : 'no platform admin any more'}.`;
    }
    case 'keys rotate': {
      const purposes = options.purpose === undefined ? KEY_PURPOSES : [purposeOf(options.purpose)];
      for (const purpose of purposes) await rotateKey(deps.database, purpose, options['drop-old'] ?? false);
      await deps.audit.record({
        action: 'keys.rotate',
        actor: operator(),
        outcome: 'SUCCEEDED',
        detail: { purposes, dropOld: options['drop-old'] ?? false },
      });
      return `A new key signs for ${purposes.join(' and ').toLowerCase()}; running processes use it within a minute.`;
    }
    default:
      throw new StartupError(USAGE);
  }
}

const operator = () => ({ kind: 'CONTROL' as const, id: null, label: `command line (${userInfo().username})` });

/** @throws {StartupError} for what a service refuses. */
async function audited({ audit }: CommandDeps, action: string, work: () => Promise<UserRow>): Promise<UserRow> {
  const actor = operator();
  try {
    const user = await work();
    await audit.record({
      action,
      actor,
      outcome: 'SUCCEEDED',
      subject: { type: 'user', id: user.id, teamId: null },
      detail: { email: user.email },
    });
    return user;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    await audit.record({ action, actor, outcome: 'REFUSED', code: error.code });
    throw new StartupError(error.message, { cause: error });
  }
}

async function find(users: AccountsServices['users'], email: string | undefined): Promise<UserRow> {
  const user = await users.byEmail(required(email));
  if (!user) throw new StartupError(`There is no account with the e-mail address ${email}.`);
  return user;
}

function required(email: string | undefined): string {
  if (!email?.includes('@')) throw new StartupError(`An e-mail address is missing.\n\n${USAGE}`);
  return email;
}

function purposeOf(name: string): KeyPurpose {
  const purpose = KEY_PURPOSES.find((known) => known.toLowerCase() === name);
  if (!purpose) throw new StartupError('--purpose is "session" or "host".');
  return purpose;
}

const newPassword = (): string => randomBytes(12).toString('base64url');
