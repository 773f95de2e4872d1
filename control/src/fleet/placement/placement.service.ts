import { sql } from 'kysely';
import { UserError } from '../../kernel/user-errors.ts';
import type { FleetTransaction, HostRow } from '../tables.ts';
import { PLACEMENT_FILTERS, type Placement, type PlacementFilter, type PlacementRejection } from './placement.ts';

/** What a sandbox needs of a host. */
export interface PlacementRequest {
  readonly teamId: string;
  readonly milliVcpus: number;
  readonly memoryMb: number;
  readonly diskMb: number;
  /** Only this host. */
  readonly hostId: string | null;
}

/** No host takes the sandbox; says which filter turned away how many. */
export class NoHostFits extends UserError {
  readonly candidates: number;
  readonly rejections: PlacementRejection[];
  /** Whether no host could hold it even when empty. */
  readonly never: boolean;

  constructor(hosts: number, rejections: PlacementRejection[], never: boolean) {
    super('NO_HOST_FITS', describeRefusal(hosts, rejections, never));
    this.candidates = hosts;
    this.rejections = rejections;
    this.never = never;
  }
}

/**
 * How often a placement looks again when every host that fits is being placed on by somebody else at
 * that moment. Each of those takes some milliseconds; running out means hundreds won in between.
 */
const TRIES = 100;

/** Longest pause between two looks, in ms; the actual one is random, so that rivals do not stay in step. */
const MAX_PAUSE_MS = 15;

/**
 * Picks a host and reserves what the sandbox needs on it, in one statement inside the caller's
 * transaction. The capacity is checked on the locked row, so no concurrency can overbook a host.
 *
 * Hosts that somebody else is placing on are passed over, never waited for: a transaction that queued
 * for one host while it held another's lock could deadlock with its mirror image.
 *
 * @param cpuOvercommit virtual CPUs that may be promised for each core.
 * @returns the host after the reservation, and why it was chosen.
 * @throws {NoHostFits}
 */
export async function reserve(
  tx: FleetTransaction,
  request: PlacementRequest,
  cpuOvercommit: number,
): Promise<{ host: HostRow; placement: Placement }> {
  for (let attempt = 1; ; attempt++) {
    const host = await tryReserve(tx, request, cpuOvercommit);
    const { fitting, hosts, rejections, never } = await explain(tx, request, cpuOvercommit);
    // Our own reservation may have filled the host that passed a moment ago.
    if (host) return { host, placement: { strategy: 'ROUND_ROBIN', candidates: Math.max(fitting, 1), rejections } };
    if (fitting === 0 || attempt === TRIES) throw new NoHostFits(hosts, rejections, never);
    await new Promise((wake) => setTimeout(wake, 1 + Math.random() * MAX_PAUSE_MS));
  }
}

/** Hosts that the team could ever use: its own, and the platform's. */
const eligible = (request: PlacementRequest) => sql<boolean>`
  host.deleted_at is null and (host.kind = 'PLATFORM' or host.team_id = ${request.teamId}::uuid)`;

/** The filters in the order of {@link PLACEMENT_FILTERS}; each says whether a host passes. */
function filters(
  request: PlacementRequest,
  cpuOvercommit: number,
): Record<PlacementFilter, ReturnType<typeof sql<boolean>>> {
  return {
    REQUESTED_HOST: sql`(${request.hostId}::uuid is null or host.id = ${request.hostId}::uuid)`,
    STATUS: sql`host.status = 'ONLINE'`,
    TUNNEL: sql`host.tunnel_replica is not null`,
    CORDONED: sql`(host.cordoned_at is null and host.deleting_at is null and host.quarantined_at is null)`,
    RUNTIME: sql`(host.runtime_name is not null
      and not host.agent_conditions @> '[{"type":"NO_RUNTIME"}]' and not host.agent_conditions @> '[{"type":"DISK_PRESSURE"}]')`,
    CAPACITY: sql`(host.allocated_milli_vcpus + ${request.milliVcpus} <= host.cpu_cores * 1000 * ${cpuOvercommit}::float8
      and host.allocated_memory_mb + ${request.memoryMb} <= host.memory_mb
      and host.allocated_disk_mb + ${request.diskMb} <= host.disk_gb * 1024)`,
  };
}

async function tryReserve(
  tx: FleetTransaction,
  request: PlacementRequest,
  cpuOvercommit: number,
): Promise<HostRow | undefined> {
  const conditions = sql.join(Object.values(filters(request, cpuOvercommit)), sql` and `);
  const { rows } = await sql<{ id: string }>`
    with chosen as (
      select host.id from hosts as host
      where ${eligible(request)} and ${conditions}
      order by host.last_placement, host.id
      limit 1
      for update skip locked
    )
    update hosts as host set
      allocated_sandboxes = host.allocated_sandboxes + 1,
      allocated_milli_vcpus = host.allocated_milli_vcpus + ${request.milliVcpus},
      allocated_memory_mb = host.allocated_memory_mb + ${request.memoryMb},
      allocated_disk_mb = host.allocated_disk_mb + ${request.diskMb},
      last_placement = (extract(epoch from clock_timestamp()) * 1000000)::bigint,
      revision = host.revision + 1
    from chosen where host.id = chosen.id
    returning host.id`.execute(tx);
  const id = rows[0]?.id;
  return id ? tx.selectFrom('Host').selectAll().where('id', '=', id).executeTakeFirstOrThrow() : undefined;
}

interface Verdict {
  readonly hosts: number;
  readonly fitting: number;
  readonly rejections: PlacementRejection[];
  readonly never: boolean;
}

/** Counts each eligible host under the first filter that it fails. */
async function explain(tx: FleetTransaction, request: PlacementRequest, cpuOvercommit: number): Promise<Verdict> {
  const checks = filters(request, cpuOvercommit);
  const firstFailed = sql.join(
    PLACEMENT_FILTERS.map((name) => sql`when not coalesce(${checks[name]}, false) then ${name}::text`),
    sql` `,
  );
  const { rows } = await sql<{ filter: PlacementFilter | null; hosts: string; couldEver: boolean }>`
    select case ${firstFailed} end as filter, count(*) as hosts,
      bool_or(coalesce(${request.milliVcpus} <= host.cpu_cores * 1000 * ${cpuOvercommit}::float8
        and ${request.memoryMb} <= host.memory_mb and ${request.diskMb} <= host.disk_gb * 1024, true)) as "couldEver"
    from hosts as host where ${eligible(request)} group by 1`.execute(tx);
  const count = (filter: PlacementFilter | null): number =>
    Number(rows.find((row) => row.filter === filter)?.hosts ?? 0);
  return {
    hosts: rows.reduce((sum, row) => sum + Number(row.hosts), 0),
    fitting: count(null),
    rejections: PLACEMENT_FILTERS.map((filter) => ({ filter, hosts: count(filter) })).filter(({ hosts }) => hosts > 0),
    never: rows.length > 0 && !rows.some((row) => row.filter !== 'REQUESTED_HOST' && row.couldEver),
  };
}

const FILTER_WORDS: Record<PlacementFilter, string> = {
  REQUESTED_HOST: 'not the requested host',
  STATUS: 'not online',
  TUNNEL: 'tunnel down',
  CORDONED: 'cordoned, quarantined or being deleted',
  RUNTIME: 'no usable runtime',
  CAPACITY: 'not enough free capacity',
};

function describeRefusal(hosts: number, rejections: PlacementRejection[], never: boolean): string {
  if (hosts === 0) return 'No host takes this sandbox: the team has none, and neither has the platform.';
  const reasons = rejections.map(({ filter, hosts: count }) => `${count} ${FILTER_WORDS[filter]}`).join(', ');
  return never
    ? `No host could ever hold this sandbox, not even an empty one (${reasons}).`
    : `No host can take this sandbox right now (of ${hosts}: ${reasons}).`;
}
