import { Migration } from '@mikro-orm/migrations';

export class Migration20261125104401_oidc extends Migration {

  override name = 'Migration20261125104401_oidc';

  override up(): void | Promise<void> {
    this.addSql(`create table "oidc_flows" ("secret_hash" text not null, "state" text not null, "nonce" text not null, "code_verifier" text not null, "redirect_uri" text not null, "expires_at" timestamptz not null, primary key ("secret_hash"));`);
    this.addSql(`create index "oidc_flows_expires_at_index" on "oidc_flows" ("expires_at");`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "oidc_flows" cascade;`);
  }

}
