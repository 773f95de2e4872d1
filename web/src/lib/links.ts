/** Every path of the dashboard is built here, so that moving a page is one edit. */
export const links = {
  home: () => '/',
  signIn: (target?: string) => (target && target !== '/' ? `/sign-in?to=${encodeURIComponent(target)}` : '/sign-in'),
  /** A plain link, not a page: the gateway sends the browser on to the identity provider. */
  oidc: (target: string) => `/session/oidc?returnTo=${encodeURIComponent(target)}`,
  hosts: () => '/hosts',
  host: (id: string) => `/hosts/${encodeURIComponent(id)}`,
  sandboxes: () => '/sandboxes',
  sandbox: (id: string) => `/sandboxes/${encodeURIComponent(id)}`,
  team: () => '/team',
  apiKeys: () => '/api-keys',
  audit: () => '/audit',
  account: () => '/account',
  admin: () => '/admin',
  adminHosts: () => '/admin/hosts',
  adminHost: (id: string) => `/admin/hosts/${encodeURIComponent(id)}`,
  adminTeams: () => '/admin/teams',
  adminUsers: () => '/admin/users',
  adminAudit: () => '/admin/audit',
  adminHealth: () => '/admin/health',
} as const;

/** Whether a path is of the admin section. */
export function isAdminPath(pathname: string): boolean {
  return pathname === links.admin() || pathname.startsWith(`${links.admin()}/`);
}

/** Whether a path is about hosts or sandboxes, whose statuses depend on how well control hears them. */
export function isFleetPath(pathname: string): boolean {
  return [links.hosts(), links.sandboxes()].some((page) => pathname === page || pathname.startsWith(`${page}/`));
}

/**
 * Where to go after signing in. Only a path of this site is accepted: `//evil.example` and `/\evil.example` are other
 * sites to a browser.
 */
export function safeTarget(target: string | null): string {
  return target && /^\/(?![/\\])/.test(target) && !target.startsWith('/sign-in') ? target : links.home();
}
