import { ClaimKind, Claims } from '../src/fleet/claims.ts';

/** A process that claims a piece of work, says so and works for ever. Arguments: database URL, id, session timeout in ms. */
const [url = '', id = '', timeoutMs] = process.argv.slice(2);
await new Claims(url, Number(timeoutMs)).exclusively(ClaimKind.deletion, id, async () => {
  process.stdout.write('claimed\n');
  await new Promise(() => {});
});
