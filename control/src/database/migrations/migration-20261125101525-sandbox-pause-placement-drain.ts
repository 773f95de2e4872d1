import { Migration } from '@mikro-orm/migrations';

export class Migration20261125101525_sandbox_pause_placement_drain extends Migration {

  override name = 'Migration20261125101525_sandbox_pause_placement_drain';

  override up(): void | Promise<void> {
    this.addSql(`create table "host_drains" ("id" uuid not null, "host_id" uuid not null, "policy" text not null, "state" text not null, "total" int not null default 0, "done" int not null default 0, "failed" int not null default 0, "started_by" text not null, "started_at" timestamptz not null, "deadline_at" timestamptz not null, "finished_at" timestamptz null, primary key ("id"));`);
    this.addSql(`create index "host_drains_host_id_index" on "host_drains" ("host_id");`);
    this.addSql(`create unique index "host_drains_running" on "host_drains" ("host_id") where "state" = 'RUNNING';`);

    this.addSql(`alter table "hosts" add "templates" jsonb not null default '["host"]', add "draining_since" timestamptz null, add "byoc_disabled_at" timestamptz null, add "create_failures" int not null default 0, add "last_create_error" text null, add "creates_failing_since" timestamptz null;`);
    this.addSql(`create index "hosts_placement" on "hosts" (coalesce("team_id", '00000000-0000-0000-0000-000000000000'), uuid_hash("id")) where "deleted_at" is null and "status" = 'ONLINE' and "tunnel_replica" is not null and "cordoned_at" is null and "deleting_at" is null;`);

    this.addSql(`alter table "sandboxes" drop constraint "sandboxes_desired_state_check";`);
    this.addSql(`alter table "sandboxes" add "pause_cause" text null, add "timeout_seconds" int null, add "drain_id" uuid null;`);
    this.addSql(`create index "sandboxes_drain_id_index" on "sandboxes" ("drain_id");`);
    this.addSql(`alter table "sandboxes" add constraint "sandboxes_pause_cause_check" check ("pause_cause" in ('REQUESTED', 'IDLE', 'DRAIN'));`);
    this.addSql(`alter table "sandboxes" add constraint "sandboxes_desired_state_check" check ("desired_state" in ('RUNNING', 'PAUSED', 'DESTROYED'));`);

    this.addSql(`alter table "host_drains" add constraint "host_drains_policy_check" check ("policy" in ('PAUSE', 'DESTROY'));`);
    this.addSql(`alter table "host_drains" add constraint "host_drains_state_check" check ("state" in ('RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED'));`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "host_drains" cascade;`);

    this.addSql(`drop index "hosts_placement";`);
    this.addSql(`alter table "hosts" drop column "templates", drop column "draining_since", drop column "byoc_disabled_at", drop column "create_failures", drop column "last_create_error", drop column "creates_failing_since";`);

    this.addSql(`drop index "sandboxes_drain_id_index";`);
    this.addSql(`alter table "sandboxes" drop constraint "sandboxes_pause_cause_check";`);
    this.addSql(`alter table "sandboxes" drop constraint "sandboxes_desired_state_check";`);
    this.addSql(`alter table "sandboxes" drop column "pause_cause", drop column "timeout_seconds", drop column "drain_id";`);
    this.addSql(`alter table "sandboxes" add constraint "sandboxes_desired_state_check" check ("desired_state" in ('RUNNING', 'DESTROYED'));`);
  }

}
