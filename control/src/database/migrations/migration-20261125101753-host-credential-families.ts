import { Migration } from '@mikro-orm/migrations';

export class Migration20261125101753_host_credential_families extends Migration {

  override name = 'Migration20261125101753_host_credential_families';

  override up(): void | Promise<void> {
    this.addSql(`alter table "hosts" add "quarantined_at" timestamptz null;`);

    this.addSql(`alter table "host_identities" add "family_id" uuid null, add "head_hash" text null, add "sequence" bigint not null default '0', add "machine_id" text null, add "boot_id" text null, add "address" text null, add "seen_at" timestamptz null, add "quarantine_cause" text null, add "rival_machine_id" text null, add "rival_boot_id" text null, add "rival_address" text null, add "rival_seen_at" timestamptz null;`);
    this.addSql(`alter table "host_identities" add constraint "host_identities_quarantine_cause_check" check ("quarantine_cause" in ('REFRESH_REUSED', 'SECOND_MACHINE'));`);

    // What was replaced is over; of deleted hosts all are kept, so that their agents can be told.
    this.addSql(`delete from "refresh_tokens" as token using "hosts" as host where host.id = token.host_id and token.retired_at is not null and host.deleted_at is null;`);
    this.addSql(`alter table "refresh_tokens" drop column "generation", drop column "used_at", drop column "retired_at";`);
    this.addSql(`alter table "refresh_tokens" add "family_id" uuid null, add "parent_hash" text null;`);

    this.addSql(`alter table "registration_tokens" add "family_id" uuid null, add "misused_at" timestamptz null;`);

    // Hosts that registered before have one family each, of which nothing is known to have been used: whatever their agents hold is good.
    for (const table of ['host_identities', 'refresh_tokens']) {
      this.addSql(`update "${table}" set "family_id" = "host_id";`);
      this.addSql(`alter table "${table}" alter column "family_id" set not null;`);
    }
    this.addSql(`update "registration_tokens" set "family_id" = "host_id" where "bound_jkt" is not null;`);
  }

  override down(): void | Promise<void> {
    this.addSql(`alter table "host_identities" drop constraint "host_identities_quarantine_cause_check";`);
    this.addSql(`alter table "host_identities" drop column "family_id", drop column "head_hash", drop column "sequence", drop column "machine_id", drop column "boot_id", drop column "address", drop column "seen_at", drop column "quarantine_cause", drop column "rival_machine_id", drop column "rival_boot_id", drop column "rival_address", drop column "rival_seen_at";`);

    this.addSql(`alter table "hosts" drop column "quarantined_at";`);

    this.addSql(`alter table "refresh_tokens" drop column "family_id", drop column "parent_hash";`);
    this.addSql(`alter table "refresh_tokens" add "generation" int4 not null default 1, add "used_at" timestamptz(6) null, add "retired_at" timestamptz(6) null;`);

    this.addSql(`alter table "registration_tokens" drop column "family_id", drop column "misused_at";`);
  }

}
