import { StartupError } from '@rookery/wire/errors.ts';
import { randomBytes } from 'node:crypto';
import type { AccountsServices } from './builder.ts';

/** The platform admin that a first start makes. */
export interface FirstAdmin {
  readonly email: string;
  /** Set when it was made up; it is shown once and kept nowhere. */
  readonly generatedPassword: string | undefined;
}

const DEFAULT_EMAIL = 'admin@rookery.local';

/** The team that the first admin owns, so that there is somewhere to put a sandbox. */
const FIRST_TEAM = 'Default';

/**
 * Makes the first platform admin, with a team, when there is no user at all. There are no default
 * credentials: without a password in the configuration one is made up.
 *
 * @returns undefined when somebody was there already.
 */
export async function ensureFirstAdmin(
  { users, teams }: Pick<AccountsServices, 'users' | 'teams'>,
  config: { readonly ROOKERY_ADMIN_EMAIL?: string | undefined; readonly ROOKERY_ADMIN_PASSWORD?: string | undefined },
): Promise<FirstAdmin | undefined> {
  if (await users.anyExists()) return undefined;
  const email = config.ROOKERY_ADMIN_EMAIL ?? DEFAULT_EMAIL;
  const password = config.ROOKERY_ADMIN_PASSWORD ?? randomBytes(12).toString('base64url');
  try {
    const user = await users.create({ email, name: 'Platform admin', password, isAdmin: true, emailVerified: true });
    await teams.createFor('control', { name: FIRST_TEAM, ownerId: user.id, isByoc: true });
  } catch (cause) {
    // Another replica that started at the same moment was first.
    if (await users.anyExists()) return undefined;
    throw new StartupError('The first platform admin could not be created.', { cause });
  }
  return { email, generatedPassword: config.ROOKERY_ADMIN_PASSWORD ? undefined : password };
}
