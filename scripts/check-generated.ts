import { spawnSync, type StdioOptions } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Fails when the typed operations are not what codegen makes of the schemas and the operations now. */
const generated = ['web/src/lib/gql/generated', 'agent/src/channel/generated', 'control/src/fleet/tunnels/generated'];

const before = mkdtempSync(join(tmpdir(), 'rookery-generated-'));
try {
  for (const folder of generated) cpSync(folder, join(before, folder), { recursive: true });
  const codegen = run('npx', ['graphql-codegen', '--config', 'codegen.ts'], ['ignore', 'ignore', 'inherit']);
  if (codegen !== 0) fail(`The typed operations could not be checked: codegen failed (${codegen}), see above.`);
  else {
    const compared = generated.map((folder) => run('diff', ['-r', join(before, folder), folder], 'inherit'));
    const broken = compared.find((code) => code !== 0 && code !== 1);
    if (broken !== undefined) fail(`The typed operations could not be compared (${broken}), see above.`);
    // 1 is what diff answers when it finds a difference.
    else if (compared.includes(1)) fail('The typed operations were not up to date; they are now. Commit them.');
    else console.log('The typed operations are up to date.');
  }
} finally {
  rmSync(before, { recursive: true, force: true });
}

/** @returns the exit code, or what kept the program from having one. */
function run(program: string, args: string[], stdio: StdioOptions): number | string {
  const { status, signal, error } = spawnSync(program, args, { stdio });
  return status ?? signal ?? error?.message ?? 'no exit code';
}

function fail(sentence: string): void {
  console.error(sentence);
  process.exitCode = 1;
}
