import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Fails when the typed operations are not what codegen makes of the schema and the operations now. */
const generated = 'web/src/lib/gql/generated';
const before = mkdtempSync(join(tmpdir(), 'rookery-generated-'));
try {
  cpSync(generated, before, { recursive: true });
  execFileSync('npx', ['graphql-codegen', '--config', 'codegen.ts'], { stdio: ['ignore', 'ignore', 'inherit'] });
  execFileSync('diff', ['-r', before, generated], { stdio: 'inherit' });
  console.log('The typed operations are up to date.');
} catch {
  console.error('The typed operations were not up to date; they are now. Commit them.');
  process.exitCode = 1;
} finally {
  rmSync(before, { recursive: true, force: true });
}
