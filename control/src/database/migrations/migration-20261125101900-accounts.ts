import { Migration } from '@mikro-orm/migrations';

export class Migration20261125101900_accounts extends Migration {

  override name = 'Migration20261125101900_accounts';

  override up(): void | Promise<void> {
    this.addSql(`create table "api_keys" ("id" uuid not null, "team_id" uuid not null, "name" text not null, "prefix" text not null, "hash" text not null, "scopes" jsonb not null, "expires_at" timestamptz null, "last_used_at" timestamptz null, "last_used_address" text null, "created_by" uuid not null, "created_at" timestamptz not null default now(), "revoked_at" timestamptz null, "idempotency_key" text null, "request_hash" text null, primary key ("id"));`);
    this.addSql(`create index "api_keys_team_id_index" on "api_keys" ("team_id");`);
    this.addSql(`alter table "api_keys" add constraint "api_keys_hash_unique" unique ("hash");`);
    this.addSql(`create unique index "api_keys_name_key" on "api_keys" ("team_id", "name") where "revoked_at" is null;`);
    this.addSql(`alter table "api_keys" add constraint "api_keys_idempotency_key" unique ("created_by", "idempotency_key");`);

    this.addSql(`create table "audit_events" ("id" uuid not null, "at" timestamptz not null default clock_timestamp(), "actor_kind" text not null, "actor_id" uuid null, "actor_label" text null, "action" text not null, "resource_type" text null, "resource_id" uuid null, "team_id" uuid null, "outcome" text null, "code" text null, "detail" jsonb not null, "address" text null, "user_agent" text null, "completed_at" timestamptz null, "revision" int not null default 1, primary key ("id"));`);
    this.addSql(`create index "audit_events_team" on "audit_events" ("team_id", "id");`);
    this.addSql(`create index "audit_events_actor" on "audit_events" ("actor_id", "id");`);
    this.addSql(`create index "audit_events_resource" on "audit_events" ("resource_id", "id");`);

    this.addSql(`create table "invitations" ("id" uuid not null, "team_id" uuid not null, "email" text not null, "role" text not null, "token_hash" text not null, "invited_by" uuid not null, "created_at" timestamptz not null default now(), "expires_at" timestamptz not null, "accepted_at" timestamptz null, "canceled_at" timestamptz null, primary key ("id"));`);
    this.addSql(`create index "invitations_email_index" on "invitations" ("email");`);
    this.addSql(`alter table "invitations" add constraint "invitations_token_hash_unique" unique ("token_hash");`);
    this.addSql(`create unique index "invitations_open_key" on "invitations" ("team_id", "email") where "accepted_at" is null and "canceled_at" is null;`);

    this.addSql(`create table "rate_limits" ("key" varchar(255) not null, "points" int not null default 0, "expire" bigint null, primary key ("key"));`);

    this.addSql(`create table "user_identities" ("id" uuid not null, "user_id" uuid not null, "issuer" text not null, "subject" text not null, "created_at" timestamptz not null default now(), primary key ("id"));`);
    this.addSql(`create index "user_identities_user_id_index" on "user_identities" ("user_id");`);
    this.addSql(`alter table "user_identities" add constraint "user_identities_subject" unique ("issuer", "subject");`);

    this.addSql(`alter table "sessions" add "secret_hash" text null, add "method" text not null default 'PASSWORD', add "address" text null, add "user_agent" text null, add "last_used_at" timestamptz null;`);
    this.addSql(`alter table "sessions" add constraint "sessions_secret_hash_unique" unique ("secret_hash");`);
    this.addSql(`alter table "sessions" add constraint "sessions_method_check" check ("method" in ('PASSWORD', 'OIDC', 'INVITATION'));`);

    this.addSql(`alter table "teams" drop constraint "teams_name_unique";`);
    this.addSql(`alter table "teams" add "created_by" uuid null, add "idempotency_key" text null, add "request_hash" text null, add "revision" int not null default 1;`);
    this.addSql(`alter table "teams" add constraint "teams_idempotency_key" unique ("created_by", "idempotency_key");`);

    this.addSql(`alter table "users" add "email_verified_at" timestamptz null;`);
    // The operator named them.
    this.addSql(`update "users" set "email_verified_at" = "created_at" where "is_admin";`);

    this.addSql(`alter table "audit_events" add constraint "audit_events_actor_kind_check" check ("actor_kind" in ('USER', 'API_KEY', 'HOST', 'CONTROL', 'ANONYMOUS'));`);
    this.addSql(`alter table "audit_events" add constraint "audit_events_outcome_check" check ("outcome" in ('SUCCEEDED', 'REFUSED', 'FAILED'));`);

    this.addSql(`alter table "invitations" add constraint "invitations_role_check" check ("role" in ('OWNER', 'ADMIN', 'MEMBER'));`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "api_keys" cascade;`);
    this.addSql(`drop table if exists "audit_events" cascade;`);
    this.addSql(`drop table if exists "invitations" cascade;`);
    this.addSql(`drop table if exists "rate_limits" cascade;`);
    this.addSql(`drop table if exists "user_identities" cascade;`);

    this.addSql(`alter table "sessions" drop constraint "sessions_secret_hash_unique";`);
    this.addSql(`alter table "sessions" drop constraint "sessions_method_check";`);
    this.addSql(`alter table "sessions" drop column "secret_hash", drop column "method", drop column "address", drop column "user_agent", drop column "last_used_at";`);

    this.addSql(`alter table "teams" drop constraint "teams_idempotency_key";`);
    this.addSql(`alter table "teams" drop column "created_by", drop column "idempotency_key", drop column "request_hash", drop column "revision";`);
    this.addSql(`alter table "teams" add constraint "teams_name_unique" unique ("name");`);

    this.addSql(`alter table "users" drop column "email_verified_at";`);
  }

}
