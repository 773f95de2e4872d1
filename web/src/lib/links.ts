/** Every path of the dashboard is built here, so that moving a page is one edit. */
export const links = {
  home: () => '/hosts',
  signIn: (target?: string) => (target && target !== '/' ? `/sign-in?to=${encodeURIComponent(target)}` : '/sign-in'),
  hosts: () => '/hosts',
  host: (id: string) => `/hosts/${encodeURIComponent(id)}`,
  sandboxes: () => '/sandboxes',
  sandbox: (id: string) => `/sandboxes/${encodeURIComponent(id)}`,
} as const;

/**
 * Where to go after signing in. Only a path of this site is accepted: `//evil.example` and `/\evil.example` are other
 * sites to a browser.
 */
export function safeTarget(target: string | null): string {
  return target && /^\/(?![/\\])/.test(target) && !target.startsWith('/sign-in') ? target : links.home();
}
