import { sql, type RawBuilder } from 'kysely';
import { SUPPORTED_AGENT_VERSIONS } from '../hosts/agent-version.ts';
import { POOL, REACHABLE } from '../hosts/host.entity.ts';
import type { PlacementFilter, PlacementRequest } from './placement.ts';

/**
 * The filters over a row of `hosts` called `host`; each says whether the host passes. Together the
 * first ones say what the index `hosts_placement` holds.
 *
 * @param cpuOvercommit virtual CPUs that may be promised for each core.
 */
export function placementFilters(
  request: PlacementRequest,
  cpuOvercommit: number,
): Readonly<Record<PlacementFilter, RawBuilder<boolean>>> {
  const { hostId, arch, labels } = request.constraints;
  const wanted = JSON.stringify(labels.map(({ key, value }) => ({ key, value })));
  return {
    REQUESTED_HOST: hostId === null ? PASS : sql`host.id = ${hostId}::uuid`,
    STATUS: sql`host.status = 'ONLINE'`,
    TUNNEL: sql`host.tunnel_replica is not null`,
    CORDONED: sql`(host.cordoned_at is null and host.deleting_at is null and host.quarantined_at is null)`,
    BYOC_DISABLED: sql`host.byoc_disabled_at is null`,
    RUNTIME: sql`(host.runtime_name is not null
      and ${COMPATIBLE} and not host.agent_conditions @> '[{"type":"NO_RUNTIME"}]' and not host.agent_conditions @> '[{"type":"DISK_PRESSURE"}]')`,
    CREATES_FAILING: sql`host.creates_failing_since is null`,
    FAILED_BEFORE: request.failedHostIds.length === 0 ? PASS : sql`host.id <> all(${request.failedHostIds}::uuid[])`,
    ARCH: arch === null ? PASS : sql`host.arch = ${arch}`,
    LABELS: labels.length === 0 ? PASS : sql`host.labels @> ${wanted}::jsonb`,
    TEMPLATE: sql`host.templates @> ${JSON.stringify([request.template])}::jsonb`,
    CAPACITY: sql`(host.allocated_milli_vcpus + ${request.milliVcpus}::int <= host.cpu_cores * 1000 * ${cpuOvercommit}::float8
      and host.allocated_memory_mb + ${request.memoryMb}::int <= host.memory_mb
      and host.allocated_disk_mb + ${request.diskMb}::int <= host.disk_gb * 1024)`,
  };
}

const PASS = sql<boolean>`true`;

/** As `versionSkew` has it: development builds are not judged. */
const COMPATIBLE = sql<boolean>`(case when host.agent_version ~ '^[0-9]{1,6}[.][0-9]{1,6}[.][0-9]{1,6}$'
  then string_to_array(host.agent_version, '.')::int[] >= ${sql.lit(`{${SUPPORTED_AGENT_VERSIONS.oldest.join(',')}}`)}::int[]
    and split_part(host.agent_version, '.', 1)::int <= ${sql.lit(SUPPORTED_AGENT_VERSIONS.newest[0])}
  else true end)`;

/** How many such sandboxes a host has room for. */
export const roomFor = (request: PlacementRequest, cpuOvercommit: number): RawBuilder<number> => sql`
  floor(least((host.cpu_cores * 1000 * ${cpuOvercommit}::float8 - host.allocated_milli_vcpus) / ${request.milliVcpus}::int,
    (host.memory_mb - host.allocated_memory_mb) / ${request.memoryMb}::int,
    (host.disk_gb * 1024 - host.allocated_disk_mb) / ${request.diskMb}::int))::int`;

/** Whether a host could hold the sandbox if it were empty; null when it has not told its size. */
export const couldEverHold = (request: PlacementRequest, cpuOvercommit: number): RawBuilder<boolean> => sql`
  (${request.milliVcpus}::int <= host.cpu_cores * 1000 * ${cpuOvercommit}::float8
    and ${request.memoryMb}::int <= host.memory_mb and ${request.diskMb}::int <= host.disk_gb * 1024)`;

/** Hosts that the team could ever use: its own, and the platform's. */
export const eligible = (teamId: string): RawBuilder<boolean> => sql`
  (host.deleted_at is null and (host.team_id is null or host.team_id = ${teamId}::uuid))`;

/** As in the index `hosts_placement`, to the letter. */
export const inPool = (poolId: string): RawBuilder<boolean> =>
  sql`${sql.raw(POOL)} = ${poolId}::uuid and ${sql.raw(REACHABLE)}`;

/** The pool of the hosts of no team: the platform's. */
export const PLATFORM_POOL = '00000000-0000-0000-0000-000000000000';
