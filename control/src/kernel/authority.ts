import { RookeryError } from '@rookery/wire/errors.ts';
import { NotFound, NotPermitted } from './user-errors.ts';
import type { TeamRole, Viewer } from './viewer.ts';

/** What an action is done to: something of a team, or of the platform (`teamId: null`). */
export interface Resource {
  readonly teamId: string | null;
}

type Rule = (viewer: Viewer, resource: Resource) => boolean;

const admin: Rule = (viewer) => viewer.isAdmin;

/** Platform admins, and the given roles of the resource's team. */
const team =
  (...roles: TeamRole[]): Rule =>
  (viewer, { teamId }) => {
    if (viewer.isAdmin) return true;
    const role = teamId === null ? undefined : viewer.roles.get(teamId);
    return role !== undefined && roles.includes(role);
  };

const anyRole = team('OWNER', 'ADMIN', 'MEMBER');
const managers = team('OWNER', 'ADMIN');

/**
 * Who may do what, in one table. The first line of every service method is a look-up here.
 *
 * A host without a team is a platform host, so the team rules leave it to platform admins.
 */
const RULES = {
  'team:read': anyRole,
  'host:read': anyRole,
  'host:create': managers,
  'host:update': managers,
  'host:cordon': managers,
  'host:drain': managers,
  'host:delete': managers,
  'sandbox:read': anyRole,
  'sandbox:create': anyRole,
  'sandbox:destroy': anyRole,
  'sandbox:pause': anyRole,
  'sandbox:resume': anyRole,
  'sandbox:exec': anyRole,
  'platform:read': admin,
} as const satisfies Record<string, Rule>;

export type Action = keyof typeof RULES;

/** What a viewer needs in order to know that a thing exists at all. */
const READ_OF: Record<string, Action> = {
  team: 'team:read',
  host: 'host:read',
  sandbox: 'sandbox:read',
  platform: 'platform:read',
};

export const may = (viewer: Viewer, action: Action, resource: Resource): boolean => RULES[action](viewer, resource);

/** @throws {RookeryError} `UNAUTHENTICATED` without a viewer. */
export function signedIn(viewer: Viewer | null): Viewer {
  if (!viewer) throw new RookeryError('UNAUTHENTICATED', 'Sign in first.');
  return viewer;
}

/**
 * Lets an action pass or refuses it.
 *
 * @param resource undefined when there is no such thing.
 * @param what     how to call it in the message: "host".
 * @throws {RookeryError} `UNAUTHENTICATED` without a viewer.
 * @throws {NotFound} when it does not exist or the viewer may not know that it does: the two look the same.
 * @throws {NotPermitted} when the viewer may see it but not do this.
 */
export function authorize<T extends Resource>(
  viewer: Viewer | null,
  action: Action,
  resource: T | undefined,
  what: string,
): asserts resource is T {
  const someone = signedIn(viewer);
  const read = READ_OF[action.slice(0, action.indexOf(':'))] ?? action;
  if (!resource || !may(someone, read, resource)) throw new NotFound(what);
  if (!may(someone, action, resource)) throw new NotPermitted(action);
}
