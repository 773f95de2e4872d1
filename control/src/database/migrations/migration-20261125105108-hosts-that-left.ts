import { Migration } from '@mikro-orm/migrations';

export class Migration20261125105108_hosts_that_left extends Migration {

  override name = 'Migration20261125105108_hosts_that_left';

  override up(): void | Promise<void> {
    this.addSql(`alter table "hosts" add "left_at" timestamptz null;`);
  }

  override down(): void | Promise<void> {
    this.addSql(`alter table "hosts" drop column "left_at";`);
  }

}
