import { Migration } from '@mikro-orm/migrations';

export class Migration20261127212118_tunnel_admission extends Migration {

  override name = 'Migration20261127212118_tunnel_admission';

  override up(): void | Promise<void> {
    this.addSql(`alter table "hosts" add "tunnel_generation" int not null default 0, add "tunnel_holder" uuid null, add "tunnel_instance" text null, add "tunnel_address" text null;`);

    this.addSql(`alter table "host_identities" drop constraint "host_identities_quarantine_cause_check";`);
    this.addSql(`alter table "host_identities" add constraint "host_identities_quarantine_cause_check" check ("quarantine_cause" in ('REFRESH_REUSED', 'SECOND_AGENT', 'SECOND_MACHINE'));`);
  }

  override down(): void | Promise<void> {
    this.addSql(`alter table "host_identities" drop constraint "host_identities_quarantine_cause_check";`);
    this.addSql(`alter table "host_identities" add constraint "host_identities_quarantine_cause_check" check ("quarantine_cause" in ('REFRESH_REUSED', 'SECOND_MACHINE'));`);

    this.addSql(`alter table "hosts" drop column "tunnel_generation", drop column "tunnel_holder", drop column "tunnel_instance", drop column "tunnel_address";`);
  }

}
