import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Fails when the typed operations are not what codegen makes of the schemas and the operations now. */
const generated = ['web/src/lib/gql/generated', 'agent/src/channel/generated', 'control/src/fleet/tunnels/generated'];

const before = mkdtempSync(join(tmpdir(), 'rookery-generated-'));
try {
  for (const folder of generated) cpSync(folder, join(before, folder), { recursive: true });
  execFileSync('npx', ['graphql-codegen', '--config', 'codegen.ts'], { stdio: ['ignore', 'ignore', 'inherit'] });
  for (const folder of generated) execFileSync('diff', ['-r', join(before, folder), folder], { stdio: 'inherit' });
  console.log('The typed operations are up to date.');
} catch {
  console.error('The typed operations were not up to date; they are now. Commit them.');
  process.exitCode = 1;
} finally {
  rmSync(before, { recursive: true, force: true });
}
