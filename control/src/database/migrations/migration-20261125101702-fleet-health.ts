import { Migration } from '@mikro-orm/migrations';

export class Migration20261125101702_fleet_health extends Migration {

  override name = 'Migration20261125101702_fleet_health';

  override up(): void | Promise<void> {
    this.addSql(`create table "fleet_health" ("id" uuid not null, "epoch" bigint not null, "state" text not null, "reason" text null, "since" timestamptz not null, "checked_at" timestamptz not null, "heard" int not null, "silent" int not null, "lost" int not null, "unreachable" int not null, "revision" int not null default 1, primary key ("id"));`);

    this.addSql(`create table "leadership" ("id" serial primary key, "epoch" bigint not null, "replica_id" uuid not null, "since" timestamptz not null default now());`);

    this.addSql(`create table "orphans" ("host_id" uuid not null, "sandbox_id" uuid not null, "generation" int not null, "first_seen_at" timestamptz not null, "last_seen_at" timestamptz not null, "readings" int not null, primary key ("host_id", "sandbox_id"));`);

    this.addSql(`alter table "events" drop constraint "events_subject_check";`);
    this.addSql(`alter table "events" add constraint "events_subject_check" check ("subject" in ('HOST', 'SANDBOX', 'TEAM', 'AUDIT', 'FLEET'));`);

    this.addSql(`alter table "replicas" add "loops" jsonb not null default '[]';`);

    this.addSql(`alter table "fleet_health" add constraint "fleet_health_state_check" check ("state" in ('NORMAL', 'OBSERVING', 'SLOWED', 'FROZEN'));`);
    this.addSql(`alter table "fleet_health" add constraint "fleet_health_reason_check" check ("reason" in ('CONTROL_STARTED', 'LEADER_CHANGED', 'CONTROL_STALLED', 'CLOCK_JUMPED', 'DATABASE_OUTAGE', 'HOSTS_RETURNING', 'MASS_SILENCE'));`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "fleet_health" cascade;`);
    this.addSql(`drop table if exists "leadership" cascade;`);
    this.addSql(`drop table if exists "orphans" cascade;`);

    this.addSql(`alter table "events" drop constraint "events_subject_check";`);
    this.addSql(`alter table "events" add constraint "events_subject_check" check ("subject" in ('HOST', 'SANDBOX', 'TEAM', 'AUDIT'));`);

    this.addSql(`alter table "replicas" drop column "loops";`);
  }

}
