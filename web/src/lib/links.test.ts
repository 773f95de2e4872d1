import { describe, expect, it } from 'vitest';
import { isAdminPath, isFleetPath, links, safeTarget } from './links.ts';

describe('links', () => {
  it('keep ids opaque', () => {
    expect(links.host('SG9zdA==/+')).toBe('/hosts/SG9zdA%3D%3D%2F%2B');
  });

  it('carry the page to return to through sign-in', () => {
    expect(links.signIn('/hosts/a?b=c')).toBe('/sign-in?to=%2Fhosts%2Fa%3Fb%3Dc');
    expect(links.signIn()).toBe('/sign-in');
  });

  it.each([null, '', 'hosts', 'https://evil.example', '//evil.example', '/\\evil.example', '/sign-in?to=/sign-in'])(
    'never return to %j',
    (target) => expect(safeTarget(target)).toBe('/'),
  );

  it('return to a page of this site', () => {
    expect(safeTarget('/sandboxes/x')).toBe('/sandboxes/x');
  });

  it('tell the admin section from pages that only begin like it', () => {
    expect(['/admin', '/admin/hosts/x', '/administrators', '/hosts'].map(isAdminPath)).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  it('tell pages about hosts and sandboxes from others', () => {
    expect(['/hosts', '/sandboxes/x', '/hostsworth', '/team'].map(isFleetPath)).toEqual([true, true, false, false]);
  });
});
