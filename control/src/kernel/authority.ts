import { RookeryError } from '@rookery/wire/errors.ts';
import { noteAuditSubject } from './audit/audit.ts';
import { NotFound, NotPermitted } from './user-errors.ts';
import type { ApiKeyScope, TeamRole, UserViewer, Viewer } from './viewer.ts';

/** What an action is done to: something of a team, or of the platform (`teamId: null`). */
export interface Resource {
  readonly teamId: string | null;
  /** Row id, for the audit trail; absent for what is yet to be made. */
  readonly id?: string;
}

/** Who may do an action: platform admins always, and the given roles and API key scopes of the resource's team. */
interface Rule {
  readonly roles: readonly TeamRole[];
  /** The scope with which an API key of the team may; without one, no key may. */
  readonly scope?: ApiKeyScope;
}

const EVERYONE: readonly TeamRole[] = ['OWNER', 'ADMIN', 'MEMBER'];
const MANAGERS: readonly TeamRole[] = ['OWNER', 'ADMIN'];
const OWNERS: readonly TeamRole[] = ['OWNER'];
const NOBODY: readonly TeamRole[] = [];

/**
 * Who may do what, in one table. The first line of every service method is a look-up here.
 *
 * A host without a team is a platform host, so the rules leave it to platform admins.
 */
const RULES = {
  'team:read': { roles: EVERYONE },
  'team:rename': { roles: MANAGERS },
  'team:leave': { roles: EVERYONE },
  'team:set-byoc': { roles: NOBODY },
  'member:invite': { roles: MANAGERS },
  'member:invite-owner': { roles: OWNERS },
  'member:update': { roles: MANAGERS },
  'member:update-owner': { roles: OWNERS },
  'member:remove': { roles: MANAGERS },
  'member:remove-owner': { roles: OWNERS },
  'invitation:read': { roles: MANAGERS },
  'invitation:cancel': { roles: MANAGERS },
  'api-key:read': { roles: MANAGERS },
  'api-key:create': { roles: MANAGERS },
  'api-key:revoke': { roles: MANAGERS },
  'audit:read': { roles: MANAGERS },
  'host:read': { roles: EVERYONE, scope: 'hosts:read' },
  'host:create': { roles: MANAGERS, scope: 'hosts:write' },
  'host:update': { roles: MANAGERS, scope: 'hosts:write' },
  'host:cordon': { roles: MANAGERS, scope: 'hosts:write' },
  'host:drain': { roles: MANAGERS, scope: 'hosts:write' },
  'host:enrol': { roles: MANAGERS, scope: 'hosts:write' },
  'host:delete': { roles: MANAGERS, scope: 'hosts:write' },
  'sandbox:read': { roles: EVERYONE, scope: 'sandboxes:read' },
  'sandbox:create': { roles: EVERYONE, scope: 'sandboxes:write' },
  'sandbox:destroy': { roles: EVERYONE, scope: 'sandboxes:write' },
  'sandbox:pause': { roles: EVERYONE, scope: 'sandboxes:write' },
  'sandbox:resume': { roles: EVERYONE, scope: 'sandboxes:write' },
  'sandbox:exec': { roles: EVERYONE, scope: 'sandboxes:write' },
  'user:read': { roles: NOBODY },
  'user:set-admin': { roles: NOBODY },
  'platform:read': { roles: NOBODY },
} as const satisfies Record<string, Rule>;

export type Action = keyof typeof RULES;
export const ACTIONS = Object.keys(RULES) as readonly Action[];

/** What a viewer needs in order to know that a thing exists at all. */
function readOf(action: Action): Action {
  const [noun, verb] = action.split(':', 2);
  // What is yet to be made belongs to a team, and so do its members.
  return verb === 'create' || noun === 'member' ? 'team:read' : (`${noun}:read` as Action);
}

/** What an action is done to, for the audit trail: who a team's members are is the team's. */
function subjectOf(action: Action): string {
  const noun = action.slice(0, action.indexOf(':'));
  return noun === 'member' ? 'team' : noun;
}

/** Whether a viewer may do something to a resource. */
export function may(viewer: Viewer, action: Action, { teamId }: Resource): boolean {
  if (viewer.isAdmin) return true;
  if (teamId === null) return false;
  const rule: Rule = RULES[action];
  if (viewer.kind === 'API_KEY') return viewer.teamId === teamId && keyMay(viewer.scopes, action);
  const role = viewer.roles.get(teamId);
  return role !== undefined && rule.roles.includes(role);
}

/** A key knows its own team; a scope to change things is one to see them. */
function keyMay(scopes: ReadonlySet<ApiKeyScope>, action: Action): boolean {
  if (action === 'team:read') return true;
  const { scope }: Rule = RULES[action];
  if (scope === undefined) return false;
  return scopes.has(scope) || (scope.endsWith(':read') && scopes.has(scope.replace(':read', ':write') as ApiKeyScope));
}

/**
 * The teams whose things a viewer may list, or `ALL` for a platform admin.
 *
 * @throws {RookeryError} `FORBIDDEN` for an API key without the scope: an empty list would say that there is nothing.
 */
export function teamsWhere(viewer: Viewer, action: Action): 'ALL' | string[] {
  if (viewer.isAdmin) return 'ALL';
  if (viewer.kind === 'USER') return [...viewer.roles.keys()].filter((teamId) => may(viewer, action, { teamId }));
  if (!keyMay(viewer.scopes, action)) {
    throw new RookeryError('FORBIDDEN', `This API key may not do that: ${action} needs another scope.`);
  }
  return [viewer.teamId];
}

/** @throws {RookeryError} `UNAUTHENTICATED` without a viewer. */
export function signedIn(viewer: Viewer | null): Viewer {
  if (!viewer) throw new RookeryError('UNAUTHENTICATED', 'Sign in first.');
  return viewer;
}

/**
 * For what only a person can do: their own sessions, password and teams.
 *
 * @throws {RookeryError} `UNAUTHENTICATED` without a viewer, `FORBIDDEN` for an API key.
 */
export function person(viewer: Viewer | null): UserViewer {
  const someone = signedIn(viewer);
  if (someone.kind !== 'USER') throw new RookeryError('FORBIDDEN', 'An API key cannot do this; a person has to.');
  return someone;
}

/**
 * Lets an action pass or refuses it, and tells the audit trail what it was done to.
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
  if (!resource || !may(someone, readOf(action), resource)) throw new NotFound(what);
  noteAuditSubject({ type: subjectOf(action), id: resource.id ?? null, teamId: resource.teamId });
  if (!may(someone, action, resource)) throw new NotPermitted(action);
}

/**
 * For what only platform admins do, and nobody else needs to know of.
 *
 * @throws {RookeryError} `UNAUTHENTICATED` or `FORBIDDEN`.
 */
export function authorizeAdmin(viewer: Viewer | null): Viewer {
  const someone = signedIn(viewer);
  if (!someone.isAdmin) throw new RookeryError('FORBIDDEN', 'Only platform admins can do this.');
  return someone;
}
