import { Migration } from '@mikro-orm/migrations';

export class Migration20261124082957_initial extends Migration {

  override name = 'Migration20261124082957_initial';

  override up(): void | Promise<void> {
    this.addSql(`create table "events" ("id" bigserial primary key, "position" bigint null, "subject" text not null, "subject_id" uuid not null, "change" text not null, "revision" int not null, "team_id" uuid null, "host_id" uuid null, "state" jsonb not null, "type" text not null, "actor" text not null, "at" timestamptz not null default clock_timestamp());`);
    this.addSql(`alter table "events" add constraint "events_position_unique" unique ("position");`);
    this.addSql(`create index "events_unsequenced" on "events" ("id") where "position" is null;`);
    this.addSql(`create index "events_subject" on "events" ("subject_id", "position");`);

    this.addSql(`create table "event_head" ("id" serial primary key, "position" bigint not null);`);

    this.addSql(`create table "hosts" ("id" uuid not null, "name" text not null, "kind" text not null, "status" text not null, "team_id" uuid null, "provider" text null, "availability_zone" text null, "labels" jsonb not null, "hostname" text null, "arch" text null, "os" text null, "kernel" text null, "cpu_cores" int null, "memory_mb" int null, "disk_gb" int null, "agent_version" text null, "boot_id" text null, "runtime_name" text null, "runtime_version" text null, "agent_conditions" jsonb not null, "allocated_sandboxes" int not null default 0, "allocated_milli_vcpus" int not null default 0, "allocated_memory_mb" int not null default 0, "allocated_disk_mb" int not null default 0, "last_placement" bigint not null default '0', "tunnel_replica" uuid null, "cordoned_at" timestamptz null, "deleting_at" timestamptz null, "deleted_at" timestamptz null, "registered_at" timestamptz null, "created_at" timestamptz not null default now(), "created_by" uuid null, "idempotency_key" text null, "request_hash" text null, "revision" int not null default 1, primary key ("id"));`);
    this.addSql(`create unique index "hosts_name_key" on "hosts" (coalesce("team_id", '00000000-0000-0000-0000-000000000000'), "name") where "deleted_at" is null;`);
    this.addSql(`alter table "hosts" add constraint "hosts_idempotency_key" unique ("created_by", "idempotency_key");`);

    this.addSql(`create table "host_identities" ("host_id" uuid not null, "public_key" text not null, "jkt" text not null, "revoked_at" timestamptz null, "created_at" timestamptz not null default now(), primary key ("host_id"));`);

    this.addSql(`create table "host_leases" ("host_id" uuid not null, "seen_at" timestamptz not null, "load1" real not null, "memory_used_mb" int not null, "disk_used_mb" int not null, "inventory_digest" text null, "inventory_epoch" bigint not null default '0', primary key ("host_id"));`);

    this.addSql(`create table "memberships" ("id" uuid not null, "team_id" uuid not null, "user_id" uuid not null, "role" text not null, "created_at" timestamptz not null default now(), primary key ("id"));`);
    this.addSql(`create index "memberships_user_id_index" on "memberships" ("user_id");`);
    this.addSql(`alter table "memberships" add constraint "memberships_team_id_user_id_unique" unique ("team_id", "user_id");`);

    this.addSql(`create table "refresh_tokens" ("hash" text not null, "host_id" uuid not null, "generation" int not null, "expires_at" timestamptz not null, "used_at" timestamptz null, "retired_at" timestamptz null, "created_at" timestamptz not null default now(), primary key ("hash"));`);
    this.addSql(`create index "refresh_tokens_host_id_index" on "refresh_tokens" ("host_id");`);

    this.addSql(`create table "registration_tokens" ("hash" text not null, "host_id" uuid not null, "expires_at" timestamptz not null, "bound_jkt" text null, "bound_at" timestamptz null, "created_at" timestamptz not null default now(), primary key ("hash"));`);
    this.addSql(`create index "registration_tokens_host_id_index" on "registration_tokens" ("host_id");`);

    this.addSql(`create table "replicas" ("id" uuid not null, "started_at" timestamptz not null default now(), "seen_at" timestamptz not null default now(), primary key ("id"));`);

    this.addSql(`create table "sandboxes" ("id" uuid not null, "name" text not null, "team_id" uuid not null, "host_id" uuid not null, "template" text not null, "milli_vcpus" int not null, "memory_mb" int not null, "disk_mb" int not null, "labels" jsonb not null, "desired_state" text not null, "generation" int not null default 1, "observed_generation" int not null default 0, "observed_epoch" bigint not null default '0', "status" text not null, "status_reason" text null, "status_before_missing" text null, "holds_reservation" boolean not null default true, "placement" jsonb not null, "idempotency_key" text null, "request_hash" text not null, "created_at" timestamptz not null default now(), "created_by" uuid null, "started_at" timestamptz null, "last_active_at" timestamptz null, "deleted_at" timestamptz null, "revision" int not null default 1, primary key ("id"));`);
    this.addSql(`create index "sandboxes_team_id_index" on "sandboxes" ("team_id");`);
    this.addSql(`create index "sandboxes_host_id_index" on "sandboxes" ("host_id");`);
    this.addSql(`alter table "sandboxes" add constraint "sandboxes_idempotency_key" unique ("team_id", "idempotency_key");`);

    this.addSql(`create table "sessions" ("id" uuid not null, "user_id" uuid not null, "created_at" timestamptz not null default now(), "expires_at" timestamptz not null, "revoked_at" timestamptz null, primary key ("id"));`);
    this.addSql(`create index "sessions_user_id_index" on "sessions" ("user_id");`);

    this.addSql(`create table "signing_keys" ("kid" text not null, "purpose" text not null, "private_jwk" jsonb not null, "public_jwk" jsonb not null, "created_at" timestamptz not null default now(), primary key ("kid"));`);

    this.addSql(`create table "teams" ("id" uuid not null, "name" text not null, "is_byoc" boolean not null default false, "created_at" timestamptz not null default now(), primary key ("id"));`);
    this.addSql(`alter table "teams" add constraint "teams_name_unique" unique ("name");`);

    this.addSql(`create table "users" ("id" uuid not null, "email" text not null, "name" text not null, "password_hash" text null, "is_admin" boolean not null default false, "created_at" timestamptz not null default now(), primary key ("id"));`);
    this.addSql(`alter table "users" add constraint "users_email_unique" unique ("email");`);

    this.addSql(`alter table "events" add constraint "events_subject_check" check ("subject" in ('HOST', 'SANDBOX'));`);
    this.addSql(`alter table "events" add constraint "events_change_check" check ("change" in ('CREATED', 'UPDATED', 'DELETED'));`);

    this.addSql(`alter table "hosts" add constraint "hosts_kind_check" check ("kind" in ('PLATFORM', 'BYOC'));`);
    this.addSql(`alter table "hosts" add constraint "hosts_status_check" check ("status" in ('PENDING', 'ONLINE', 'UNREACHABLE'));`);

    this.addSql(`alter table "memberships" add constraint "memberships_role_check" check ("role" in ('OWNER', 'ADMIN', 'MEMBER'));`);

    this.addSql(`alter table "sandboxes" add constraint "sandboxes_desired_state_check" check ("desired_state" in ('RUNNING', 'DESTROYED'));`);
    this.addSql(`alter table "sandboxes" add constraint "sandboxes_status_check" check ("status" in ('PENDING', 'STARTING', 'RUNNING', 'PAUSING', 'PAUSED', 'RESUMING', 'STOPPING', 'STOPPED', 'MISSING', 'ERROR'));`);
    this.addSql(`alter table "sandboxes" add constraint "sandboxes_status_before_missing_check" check ("status_before_missing" in ('PENDING', 'STARTING', 'RUNNING', 'PAUSING', 'PAUSED', 'RESUMING', 'STOPPING', 'STOPPED', 'MISSING', 'ERROR'));`);

    this.addSql(`alter table "signing_keys" add constraint "signing_keys_purpose_check" check ("purpose" in ('SESSION', 'HOST'));`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "events" cascade;`);
    this.addSql(`drop table if exists "event_head" cascade;`);
    this.addSql(`drop table if exists "hosts" cascade;`);
    this.addSql(`drop table if exists "host_identities" cascade;`);
    this.addSql(`drop table if exists "host_leases" cascade;`);
    this.addSql(`drop table if exists "memberships" cascade;`);
    this.addSql(`drop table if exists "refresh_tokens" cascade;`);
    this.addSql(`drop table if exists "registration_tokens" cascade;`);
    this.addSql(`drop table if exists "replicas" cascade;`);
    this.addSql(`drop table if exists "sandboxes" cascade;`);
    this.addSql(`drop table if exists "sessions" cascade;`);
    this.addSql(`drop table if exists "signing_keys" cascade;`);
    this.addSql(`drop table if exists "teams" cascade;`);
    this.addSql(`drop table if exists "users" cascade;`);
  }

}
