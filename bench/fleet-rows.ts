import type pg from 'pg';

/** A fleet of platform hosts with their share of running sandboxes. @returns the team that they belong to. */
export async function fillFleet(
  pool: pg.Pool,
  { hosts, sandboxes, replicaId }: { hosts: number; sandboxes: number; replicaId: string },
): Promise<string> {
  const { rows } = await pool.query<{ id: string }>('select id from teams limit 1');
  const teamId = rows[0]?.id ?? '';
  await pool.query(
    `insert into hosts (id, name, kind, status, labels, agent_conditions, arch, cpu_cores, memory_mb, disk_gb,
       runtime_name, tunnel_replica, registered_at)
     select gen_random_uuid(), 'host-' || n, 'PLATFORM', 'ONLINE', '[]', '[]', 'x86_64', 64, 262144, 4096,
       'runc', $2, now() from generate_series(1, $1) as n`,
    [hosts, replicaId],
  );
  await pool.query(
    "insert into host_leases (host_id, seen_at, load1, memory_used_mb, disk_used_mb) select id, now() + interval '1 day', 0, 0, 0 from hosts",
  );
  await pool.query(
    `insert into sandboxes (id, name, team_id, host_id, template, milli_vcpus, memory_mb, disk_mb, labels, desired_state,
       observed_generation, status, started_at, placement, request_hash)
     select gen_random_uuid(), 'sandbox-' || n, $2, h.id, 'host', 1000, 512, 1024, '[]', 'RUNNING', 1, 'RUNNING', now(), '{}', ''
     from generate_series(1, $1::int) as n
     join (select id, row_number() over () - 1 as k from hosts) as h on h.k = n % $3::int`,
    [sandboxes, teamId, hosts],
  );
  await pool.query(
    `update hosts set allocated_sandboxes = s.n, allocated_milli_vcpus = s.n * 1000, allocated_memory_mb = s.n * 512,
       allocated_disk_mb = s.n * 1024
     from (select host_id, count(*)::int as n from sandboxes group by host_id) as s where s.host_id = hosts.id`,
  );
  await pool.query('vacuum analyze');
  return teamId;
}
