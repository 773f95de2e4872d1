import { Migration } from '@mikro-orm/migrations';

export class Migration20261125102757_replica_addresses extends Migration {

  override name = 'Migration20261125102757_replica_addresses';

  override up(): void | Promise<void> {
    this.addSql(`alter table "replicas" add "address" text null;`);
  }

  override down(): void | Promise<void> {
    this.addSql(`alter table "replicas" drop column "address";`);
  }

}
