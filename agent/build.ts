import { readFile, stat } from 'node:fs/promises';
import { build } from 'esbuild';

/**
 * Bundles the agent into one file that needs nothing but Node 20, so that joining a host is one
 * download and one command. Its argument is where to, by default `dist/rookery-agent.mjs`.
 */
const here = (path: string): string => new URL(path, import.meta.url).pathname;

const { version } = JSON.parse(await readFile(here('package.json'), 'utf8')) as { version: string };
const outfile = process.argv[2] ?? here('dist/rookery-agent.mjs');

await build({
  entryPoints: [here('src/main.ts')],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  define: {
    __ROOKERY_AGENT_EMBEDDED__: JSON.stringify({
      version,
      schema: await readFile(here('schema.graphql'), 'utf8'),
      unit: await readFile(here('systemd/rookery-agent.service'), 'utf8'),
    }),
  },
  // Optional accelerators of ws; it does without them.
  external: ['bufferutil', 'utf-8-validate'],
  banner: {
    // CommonJS packages in the bundle still call `require` for Node's own modules.
    js: "#!/usr/bin/env node\nimport { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
});

const { size } = await stat(outfile);
process.stdout.write(`${outfile}, ${Math.round(size / 1024)} KiB\n`);
