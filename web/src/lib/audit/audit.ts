import type { AuditActorKind, AuditFieldsFragment, AuditFilter, AuditOutcome } from '#lib/gql/generated/graphql.ts';
import type { LiveNode } from '#lib/live/live-collection.ts';
import type { Tone } from '#lib/ui/tone.ts';

/** An audit event as the dashboard knows it. */
export type AuditEvent = AuditFieldsFragment & LiveNode;

/** Events do not change, except that one under way gets its outcome. */
export function toAuditEvent(event: AuditFieldsFragment): AuditEvent {
  return { ...event, createdAt: event.at, revision: event.outcome === null ? 0 : 1 };
}

const outcomes: Record<AuditOutcome, { label: string; tone: Tone; meaning: string }> = {
  SUCCEEDED: { label: 'Succeeded', tone: 'ok', meaning: 'It was done.' },
  REFUSED: { label: 'Refused', tone: 'warn', meaning: 'It was not allowed, or not possible.' },
  FAILED: { label: 'Failed', tone: 'bad', meaning: 'Something went wrong on the server.' },
};

/** Null while it is under way, and for ever when the server ended in the middle of it: nobody can tell the two apart. */
export function outcomeLook(outcome: AuditOutcome | null): { label: string; tone: Tone; meaning: string } {
  if (outcome === null)
    return {
      label: 'No outcome',
      tone: 'idle',
      meaning: 'It is under way, or the control plane stopped in the middle of it.',
    };
  return outcomes[outcome];
}

export const actorKinds: Record<AuditActorKind, string> = {
  USER: 'Person',
  API_KEY: 'API key',
  HOST: 'Host',
  CONTROL: 'Control plane',
  ANONYMOUS: 'Not signed in',
};

/** Actions that read badly when their name is only taken apart. */
const labels: Readonly<Record<string, string>> = {
  addTeamMember: 'Invite member',
  completeOidcSignIn: 'Sign in with identity provider',
  execInSandbox: 'Run command in sandbox',
  removeTeamMember: 'Remove member',
  setTeamByoc: 'Switch BYOC of team',
  startOidcSignIn: 'Begin sign-in with identity provider',
  updateTeamMemberRole: 'Change role of member',
};

/** An action in words: `createApiKey` is "Create API key", `token.refused` is "Token refused". */
export function actionLabel(action: string): string {
  const known = labels[action];
  if (known) return known;
  const words = action
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replaceAll(/[._-]/g, ' ')
    .toLowerCase()
    .replaceAll(/\bapi\b/g, 'API')
    .replaceAll(/\bbyoc\b/g, 'BYOC')
    .replaceAll(/\boidc\b/g, 'OIDC');
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}

/** Actions to filter by, in the order of their words. Those that this build does not know can still be read. */
export const auditActions: readonly string[] = [
  'acceptInvitation',
  'addTeamMember',
  'cancelInvitation',
  'changePassword',
  'completeOidcSignIn',
  'cordonHost',
  'createApiKey',
  'createHost',
  'createSandbox',
  'createTeam',
  'deleteHost',
  'destroySandbox',
  'drainHost',
  'endSession',
  'execInSandbox',
  'host.refresh',
  'host.register',
  'leaveTeam',
  'pauseSandbox',
  'regenerateHostToken',
  'removeTeamMember',
  'renameTeam',
  'resumeSandbox',
  'revokeApiKey',
  'setPlatformAdmin',
  'setTeamByoc',
  'signIn',
  'signOut',
  'signOutEverywhere',
  'token.refused',
  'uncordonHost',
  'updateHost',
  'updateTeamMemberRole',
].sort((a, b) => actionLabel(a).localeCompare(actionLabel(b)));

/** What a person has chosen; an empty text is "all". */
export interface AuditChoice {
  readonly action: string;
  readonly outcome: AuditOutcome | '';
  readonly actorKind: AuditActorKind | '';
  readonly since: SinceChoice;
}

export const sinceChoices = [
  { value: '', label: 'Any time' },
  { value: '1', label: 'Last hour' },
  { value: '24', label: 'Last 24 hours' },
  { value: '168', label: 'Last 7 days' },
  { value: '720', label: 'Last 30 days' },
] as const;
export type SinceChoice = (typeof sinceChoices)[number]['value'];

export const everything: AuditChoice = { action: '', outcome: '', actorKind: '', since: '' };

/** The filter of a choice. @param now milliseconds. */
export function toAuditFilter(choice: AuditChoice, teamId: string | null, now: number): AuditFilter {
  return {
    ...(teamId && { teamId }),
    ...(choice.action && { action: choice.action }),
    ...(choice.outcome && { outcome: choice.outcome }),
    ...(choice.actorKind && { actorKind: choice.actorKind }),
    ...(choice.since && { since: new Date(now - Number(choice.since) * 3_600_000).toISOString() }),
  };
}

/** `name=value` taken apart; a value may hold more of the sign. Lists are written as people write them. */
export function detailPairs(detail: readonly string[]): { name: string; value: string }[] {
  return detail.map((text) => {
    const at = text.indexOf('=');
    return at < 0 ? { name: text, value: '' } : { name: text.slice(0, at), value: listed(text.slice(at + 1)) };
  });
}

function listed(value: string): string {
  if (!value.startsWith('[')) return value;
  try {
    const items: unknown = JSON.parse(value);
    return Array.isArray(items) ? items.join(', ') : value;
  } catch {
    // Somebody's name may begin like a list.
    return value;
  }
}

/** Names of details whose value alone says nothing in a summary. */
const SAID_BY_NAME = new Set(['force', 'isAdmin', 'isByoc', 'userId', 'template']);

/** What an event was about, in a few words: whom or what first. */
export function detailSummary(detail: readonly string[]): string {
  const rank = (name: string) => (name === 'email' ? 0 : name === 'name' ? 1 : 2);
  return detailPairs(detail)
    .filter(({ name, value }) => value && !SAID_BY_NAME.has(name))
    .sort((a, b) => rank(a.name) - rank(b.name))
    .map(({ name, value }) => (rank(name) === 2 && name !== 'kind' ? value.toLowerCase() : value))
    .join(' · ');
}
