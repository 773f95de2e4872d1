import type { TeamRole } from '#lib/gql/generated/graphql.ts';
import { session, type Viewer } from '#lib/session/session.svelte.ts';
import { managesTeam, pickTeam, type TeamViewer } from './team.ts';

const KEY = 'rookery.team';

function stored(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

let chosen = $state<string | null>(stored());

const membership = $derived(pickTeam(session.viewer?.memberships ?? [], chosen));
// By value: the viewer is read again often, and that alone is no reason to read a team's pages again.
const id = $derived(membership?.team.id ?? null);

/** The team that the pages are about. Which it is belongs to this browser; what it is, to the server. */
export const currentTeam = {
  /** Null for someone without a team. */
  get team(): Viewer['memberships'][number]['team'] | null {
    return membership?.team ?? null;
  },
  get id(): string | null {
    return id;
  },
  get role(): TeamRole | null {
    return membership?.role ?? null;
  },
  /** Who looks at it. */
  get viewer(): TeamViewer {
    const { viewer } = session;
    return { userId: viewer?.user?.id ?? '', role: membership?.role ?? null, isAdmin: viewer?.isAdmin ?? false };
  },
  /** Whether the viewer does what owners and admins do. */
  get isManaged(): boolean {
    return managesTeam(this.viewer);
  },
  choose(teamId: string): void {
    chosen = teamId;
    try {
      localStorage.setItem(KEY, teamId);
    } catch {
      // It still holds for this page.
    }
  },
};
