import { openDatabase } from '@rookery/control/database/database.ts';
import { Leadership } from '@rookery/control/kernel/leadership.ts';
import { createLogger } from '@rookery/wire/log.ts';
import { sql } from 'kysely';
import { once } from 'node:events';

/**
 * A judge as a process of its own, so that a test can stop it in the middle: it leads, makes up its
 * mind, says "judged", and writes its judgement when it gets a line.
 *
 * `node stopped-judge.ts <database url> <replica id> <session timeout in ms>`
 */
const [url = '', replicaId = '', sessionTimeoutMs] = process.argv.slice(2);
const log = createLogger('judge', 'silent');
await using database = await openDatabase(url, log);
await using leadership = new Leadership({ url, replicaId, log, sessionTimeoutMs: Number(sessionTimeoutMs) });
await leadership.start();
const { term } = leadership;
if (!term) throw new Error('somebody else leads');
console.log(`judged in epoch ${term.epoch}`);
await once(process.stdin, 'data');
const outcome = await database
  .as<object>()
  .transaction(async (tx) => {
    await term.fence(tx);
    await sql`update verdicts set judge = 'the stopped one'`.execute(tx);
  })
  .then(
    () => 'written',
    (error: Error) => error.name,
  );
console.log(`outcome: ${outcome}`);
process.stdin.destroy();
