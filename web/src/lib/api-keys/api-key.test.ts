import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { curlExample, expiryOf, expiryState, impliedScopes, scopeLabel } from './api-key.ts';

const NOW = Date.parse('2026-11-25T12:00:00.000Z');
const inDays = (days: number) => new Date(NOW + days * 86_400_000).toISOString();

describe('an API key’s expiry', () => {
  it('is the chosen number of days from now, or never', () => {
    expect(expiryOf('30', NOW)).toBe('2026-12-25T12:00:00.000Z');
    expect(expiryOf('never', NOW)).toBeNull();
  });

  it.each([
    [null, 'none'],
    [inDays(-1), 'expired'],
    [inDays(0), 'expired'],
    [inDays(6.9), 'soon'],
    [inDays(7), 'far'],
  ] as const)('%j is %s', (expiresAt, state) => expect(expiryState(expiresAt, NOW)).toBe(state));
});

describe('an API key’s scopes', () => {
  it('are called as the server calls them', () => expect(scopeLabel('HOSTS_WRITE')).toBe('hosts:write'));
  it('include reading what may be written', () =>
    expect(impliedScopes(['HOSTS_WRITE', 'SANDBOXES_READ'])).toEqual(['HOSTS_READ']));
});

describe('the example', () => {
  /** What a shell makes of it: the arguments, each on a line of its own between brackets. */
  const parsed = (command: string) =>
    execFileSync('bash', ['-c', command.replace(/^curl/, `printf '[%s]\\n'`)], { encoding: 'utf8' });

  it('is one command to a shell, with the key in the header and a body that is JSON', () => {
    const lines = parsed(curlExample('https://rookery.test', 'rk_secret', ['SANDBOXES_READ'])).split('\n');
    expect(lines).toContain('[https://rookery.test/graphql]');
    expect(lines).toContain('[Authorization: Bearer rk_secret]');
    const body = JSON.parse(lines.find((line) => line.startsWith('[{'))!.slice(1, -1)) as { query: string };
    expect(body.query).toContain('sandboxes(first: 5)');
  });

  it('asks for hosts when the key may not see sandboxes', () =>
    expect(curlExample('', 'rk_secret', ['HOSTS_READ'])).toContain('hosts(first: 5)'));
});
