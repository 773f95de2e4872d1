import type { Host } from '#lib/hosts/host.ts';

/** The hosts of one team, in the admin section. */
export interface HostGroup {
  readonly teamId: string;
  /** Null when it could not be read. */
  readonly teamName: string | null;
  readonly hosts: readonly Host[];
}

/** BYOC hosts by team, the teams by name; those whose team's name is unknown come last. */
export function groupByTeam(hosts: readonly Host[]): HostGroup[] {
  const groups = new Map<string, Host[]>();
  for (const host of hosts) {
    if (host.kind !== 'BYOC') continue;
    const teamId = host.team?.id ?? '';
    const group = groups.get(teamId);
    if (group) group.push(host);
    else groups.set(teamId, [host]);
  }
  return [...groups]
    .map(([teamId, of]) => ({ teamId, teamName: of.find((host) => host.teamName)?.teamName ?? null, hosts: of }))
    .sort(byName);
}

function byName(a: HostGroup, b: HostGroup): number {
  if (a.teamName === null || b.teamName === null) return Number(a.teamName === null) - Number(b.teamName === null);
  return a.teamName.localeCompare(b.teamName) || (a.teamId < b.teamId ? -1 : 1);
}
