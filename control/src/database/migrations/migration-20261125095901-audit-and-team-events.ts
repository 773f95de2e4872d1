import { Migration } from '@mikro-orm/migrations';

export class Migration20261125095901_audit_and_team_events extends Migration {

  override name = 'Migration20261125095901_audit_and_team_events';

  override up(): void | Promise<void> {
    this.addSql(`alter table "events" drop constraint "events_subject_check";`);
    this.addSql(`alter table "events" add constraint "events_subject_check" check ("subject" in ('HOST', 'SANDBOX', 'TEAM', 'AUDIT'));`);
  }

  override down(): void | Promise<void> {
    this.addSql(`alter table "events" drop constraint "events_subject_check";`);
    this.addSql(`alter table "events" add constraint "events_subject_check" check ("subject" in ('HOST', 'SANDBOX'));`);
  }

}
