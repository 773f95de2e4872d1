import { sql } from 'kysely';
import { expect, test } from 'vitest';
import { openTestDatabase } from '../../test/harness.ts';

test('a database closes although connections are being made at that moment', { timeout: 20_000 }, async () => {
  for (let round = 0; round < 5; round++) {
    const database = await openTestDatabase();
    const { query } = database.as();
    // More than there are connections as yet, so that some are being made.
    const asked = Array.from({ length: 4 }, () =>
      sql`select 1`.execute(query).then(
        () => 'answered',
        () => 'refused',
      ),
    );
    await database[Symbol.asyncDispose]();
    expect(['answered', 'refused']).toEqual(expect.arrayContaining([...new Set(await Promise.all(asked))]));
    await expect(sql`select 1`.execute(query)).rejects.toThrow();
  }
});
