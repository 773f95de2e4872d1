import type { ApiKeyFieldsFragment, ApiKeyScope } from '#lib/gql/generated/graphql.ts';

/** An API key as the dashboard knows it; its secret is not a part of it. */
export type ApiKey = ApiKeyFieldsFragment;

export const apiKeyScopes: readonly { value: ApiKeyScope; label: string; meaning: string }[] = [
  { value: 'SANDBOXES_READ', label: 'sandboxes:read', meaning: 'See sandboxes and follow what happens to them' },
  { value: 'SANDBOXES_WRITE', label: 'sandboxes:write', meaning: 'Create and destroy sandboxes, run commands in them' },
  { value: 'HOSTS_READ', label: 'hosts:read', meaning: 'See the team’s hosts and follow what happens to them' },
  { value: 'HOSTS_WRITE', label: 'hosts:write', meaning: 'Register and delete the team’s hosts' },
];

/** "sandboxes:write", as the server writes it in messages. */
export function scopeLabel(scope: ApiKeyScope): string {
  return apiKeyScopes.find(({ value }) => value === scope)?.label ?? scope.toLowerCase().replace('_', ':');
}

/** To write is to read, too: what a key may read because it may write. */
export function impliedScopes(scopes: readonly ApiKeyScope[]): readonly ApiKeyScope[] {
  return scopes
    .filter((scope) => scope.endsWith('_WRITE'))
    .map((scope) => scope.replace('_WRITE', '_READ') as ApiKeyScope);
}

const DAY_MS = 24 * 60 * 60 * 1_000;

export const expiryChoices = [
  { value: '7', label: '7 days' },
  { value: '30', label: '30 days' },
  { value: '90', label: '90 days' },
  { value: '365', label: '1 year' },
  { value: 'never', label: 'Never' },
] as const;
export type ExpiryChoice = (typeof expiryChoices)[number]['value'];

/** @returns null for a key that never expires. */
export function expiryOf(choice: ExpiryChoice, now: number): string | null {
  return choice === 'never' ? null : new Date(now + Number(choice) * DAY_MS).toISOString();
}

export type ExpiryState = 'none' | 'far' | 'soon' | 'expired';

/** Soon: within a week, when it is time to make the next one. */
export function expiryState(expiresAt: string | null | undefined, now: number): ExpiryState {
  if (!expiresAt) return 'none';
  const left = Date.parse(expiresAt) - now;
  if (left <= 0) return 'expired';
  return left < 7 * DAY_MS ? 'soon' : 'far';
}

/** A command that shows that a key works, asking for something that it may see. */
export function curlExample(origin: string, secret: string, scopes: readonly ApiKeyScope[]): string {
  const noun = scopes.some((scope) => scope.startsWith('SANDBOXES')) ? 'sandboxes' : 'hosts';
  const query = `{ ${noun}(first: 5) { edges { node { id name status } } } }`;
  return [
    `curl ${origin}/graphql`,
    `-H 'Authorization: Bearer ${secret}'`,
    `-H 'Content-Type: application/json'`,
    `-d '${JSON.stringify({ query })}'`,
  ].join(' \\\n  ');
}
